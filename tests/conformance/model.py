"""The model that the conformance suite asks for: `python -m tests.conformance.model FOLDER` writes it.

It has two versions, and a `models.config` that labels them, so that any server can be asked the same:

```
python -m tests.conformance.model /tmp/conformance
tensorflow_model_server --port=8500 --rest_api_port=8501 --model_config_file=/tmp/conformance/models.config \
    --allow_version_labels_for_unavailable_models
SLIPWAY_CONFORMANCE_GRPC=localhost:8500 SLIPWAY_CONFORMANCE_REST=localhost:8501 pytest tests/conformance
```
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

NAME = "conformance"
VERSIONS = (1, 2)
LABELS = {"stable": 1, "canary": 2}
# Inputs and outputs of the signature `echo`, by name.
ECHOED = ("float", "double", "int32", "int64", "uint8", "bool", "string")


def write_models(folder: Path) -> Path:
    """Writes `<folder>/conformance/{1,2}` and answers `<folder>/models.config`.

    | Signature         | Takes                                    | Answers                                        |
    |-------------------|------------------------------------------|------------------------------------------------|
    | `serving_default` | `examples`: serialized tf.Examples       | `predictions`                                  |
    | `raw`             | `size`, `rooms`, `town`; all have defaults | `predictions`                                |
    | `classify`        | `inputs`: serialized tf.Examples         | `classes` ("no", "yes"), `scores`              |
    | `regress`         | the same tensor as `classify`            | `outputs`: the score of "yes"                  |
    | `classes_only`, `scores_only` | the same                     | one of the two                                 |
    | `echo`            | one vector of each type, by its name     | the same, and `string_bytes`                   |
    | `matrix`          | `x`: float [n, 2]                        | `y`: float [n, 1], the sum of a row            |
    | `version`         | `x`: float [n]                           | `version`: float [n]                           |
    """
    from tests.served_models import write_saved_model

    model = _model()
    signatures = model.signatures()
    model.signatures = lambda: signatures  # traced once, saved twice
    for version in VERSIONS:
        model.version.assign(float(version))
        write_saved_model(folder / NAME / str(version), model)
        _split_signatures(folder / NAME / str(version))
    config = folder / "models.config"
    labels = " ".join(f'version_labels {{ key: "{label}" value: {number} }}' for label, number in LABELS.items())
    config.write_text(
        f'model_config_list {{ config {{ name: "{NAME}" base_path: "{(folder / NAME).absolute()}" '
        f'model_platform: "tensorflow" model_version_policy {{ all {{}} }} {labels} }} }}\n'
    )
    (folder / "monitoring.config").write_text("prometheus_config { enable: true }\n")
    return config


def _model() -> Any:
    import tensorflow as tf

    from tests.served_models import TinyModel

    class ConformanceModel(TinyModel):
        def __init__(self) -> None:
            super().__init__()
            self.version = tf.Variable(0.0)

        def signatures(self) -> dict[str, Any]:
            def both(inputs: Any) -> dict[str, Any]:
                yes = self.answer(**self.parse(inputs))
                classes = tf.tile([["no", "yes"]], [tf.size(yes), 1])
                return {"classes": classes, "scores": tf.stack([1 - yes, yes], 1), "outputs": yes}

            def echo(**tensors: Any) -> dict[str, Any]:
                named = {name: tf.identity(tensors[f"{name}_"]) for name in ECHOED}
                return {**named, "string_bytes": named["string"]}

            def matrix(x: Any) -> dict[str, Any]:
                return {"y": tf.matmul(x, [[1.0], [1.0]])}

            def version(x: Any) -> dict[str, Any]:
                return {"version": tf.zeros_like(x) + self.version}

            def concrete(function: Any, **specs: Any) -> Any:
                return tf.function(function, autograph=False).get_concrete_function(**specs)

            def spec(*shape: int | None, dtype: Any, name: str) -> Any:
                return tf.TensorSpec(shape, dtype, name=name)

            signatures = super().signatures()
            del signatures["classify"]
            return signatures | {
                "both": concrete(both, inputs=spec(None, dtype=tf.string, name="inputs")),
                "echo": concrete(
                    echo, **{f"{name}_": spec(None, dtype=tf.as_dtype(name), name=f"{name}_") for name in ECHOED}
                ),
                "matrix": concrete(matrix, x=spec(None, 2, dtype=tf.float32, name="x")),
                "version": concrete(version, x=spec(None, dtype=tf.float32, name="x")),
            }

    return ConformanceModel()


def _split_signatures(path: Path) -> None:
    """Makes signatures of one input tensor out of `both`: MultiInference asks for that, and TensorFlow saves none."""
    from tests.served_models import edit_signatures

    def edit(signatures: Any) -> None:
        both = signatures["both"]
        for name, method, outputs in (
            ("classify", "classify", ("classes", "scores")),
            ("classes_only", "classify", ("classes",)),
            ("scores_only", "classify", ("scores",)),
            ("regress", "regress", ("outputs",)),
        ):
            signatures[name].CopyFrom(both)
            signatures[name].method_name = f"tensorflow/serving/{method}"
            for output in both.outputs.keys() - set(outputs):
                del signatures[name].outputs[output]
        del signatures["both"]
        for name in ECHOED:
            signatures["echo"].inputs[name].CopyFrom(signatures["echo"].inputs[f"{name}_"])
            del signatures["echo"].inputs[f"{name}_"]

    edit_signatures(path, edit)


if __name__ == "__main__":
    print(write_models(Path(sys.argv[1])))
