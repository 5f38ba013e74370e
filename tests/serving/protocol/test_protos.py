"""The installed wheel's messages mean the same to the release that serves, whose wheel tfx-bsl does not allow.

`protos.json` holds the facts of the released wheel's descriptors. To write it again, where VERSION is that of
`serving/release.py`:

```
pip download --no-deps -d FOLDER tensorflow-serving-api==VERSION && (cd FOLDER && unzip -q *.whl)
python -m tests.serving.protocol.test_protos FOLDER
```
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from serving.release import VERSION

GOLDEN = Path(__file__).with_name("protos.json")


def facts() -> dict[str, list[str]]:
    """Fields by message, values by enum, and paths by service, of the modules in use."""
    from serving.protocol import protos

    found: dict[str, list[str]] = {}
    for module in vars(protos).values():
        file = getattr(module, "DESCRIPTOR", None)
        if file is not None and file.package == "tensorflow.serving":
            for message in file.message_types_by_name.values():
                found |= dict(_of_message(message))
            found |= {each.full_name: _values(each) for each in file.enum_types_by_name.values()}
    for stub in (
        protos.model_service_pb2_grpc.ModelServiceStub,
        protos.prediction_service_pb2_grpc.PredictionServiceStub,
    ):
        channel = _Channel()
        stub(channel)
        found[stub.__name__] = sorted(channel.methods)
    return dict(sorted(found.items()))


class _Channel:
    def __init__(self) -> None:
        self.methods: list[str] = []

    def unary_unary(self, path: str, **options: Any) -> None:
        self.methods.append(path)


def _of_message(message: Any) -> Iterator[tuple[str, list[str]]]:
    yield message.full_name, [_field(each) for each in sorted(message.fields, key=lambda field: field.number)]
    for enum in message.enum_types:
        yield enum.full_name, _values(enum)
    for nested in message.nested_types:
        yield from _of_message(nested)


def _field(field: Any) -> str:
    kind = field.message_type or field.enum_type
    parts = [field.number, field.name, "repeated" if field.is_repeated else "", field.type, kind and kind.full_name]
    parts += [field.containing_oneof and f"in {field.containing_oneof.name}"]
    return " ".join(str(part) for part in parts if part)


def _values(enum: Any) -> list[str]:
    return [f"{value.number} {value.name}" for value in enum.values]


def test_messages_in_use_mean_the_same_to_the_release_that_serves() -> None:
    golden, ours = json.loads(GOLDEN.read_text()), facts()

    assert golden["release"] == VERSION
    assert len(ours) > 40
    for name, lines in ours.items():
        # A release may add: what is not known is passed over on both sides.
        assert set(lines) <= set(golden["facts"].get(name, [])), name


if __name__ == "__main__":
    sys.path.insert(0, sys.argv[1])
    GOLDEN.write_text(json.dumps({"release": VERSION, "facts": facts()}, indent=1) + "\n")
