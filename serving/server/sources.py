"""Which versions of which models should be served: asked again at every poll."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

_INT64_MAX = 2**63 - 1


@dataclass(frozen=True)
class Wanted:
    """What should be served of one model.

    Attributes:
        versions: SavedModel directory by version.
        labels: Version by label. A label moves once its version is loaded; until then it stays where it was.
        default: Version for requests that name none; the newest loaded one if None.
    """

    versions: Mapping[int, Path]
    labels: Mapping[str, int] = field(default_factory=dict)
    default: int | None = None


class Source(Protocol):
    """Where the versions of models are."""

    def poll(self) -> Mapping[str, Wanted | None]:
        """What should be served, by model; None where that cannot be told now, and nothing shall change."""

    def describe(self, model: str) -> str:
        """Why there is nothing to serve of a model, and what to do about it."""


class BasePaths:
    """Models in directories that hold one directory per version, named by an integer.

    The rules are those of TensorFlow Serving's `file_system_storage_path_source.cc`: other names are ignored, an empty
    directory means that nothing is to be served, a missing one that nothing is known.

    Args:
        models: `ModelConfig` protos, checked by `serving.server.config`.
    """

    def __init__(self, models: Sequence[Any]) -> None:
        self._models = models

    def poll(self) -> Mapping[str, Wanted | None]:
        """What the directories hold now."""
        return {model.name: _wanted(model) for model in self._models}

    def describe(self, model: str) -> str:
        """Why there is nothing to serve of a model, and what to do about it."""
        base = Path(next(each.base_path for each in self._models if each.name == model))
        if not base.is_dir():
            return f"its base path {base} is no directory; give the one that holds the versions"
        return (
            f"its base path {base} holds no version that its policy asks for; a version is a directory named by an "
            f"integer. There are: {', '.join(sorted(path.name for path in base.iterdir())[:5]) or 'none'}"
        )


def _wanted(model: Any) -> Wanted | None:
    base = Path(model.base_path)
    try:
        found = {int(path.name): path for path in base.iterdir() if re.fullmatch("[0-9]{1,19}", path.name)}
    except OSError:
        return None
    numbers = sorted(number for number in found if number <= _INT64_MAX)
    policy = model.model_version_policy
    choice = policy.WhichOneof("policy_choice")
    if choice == "specific":
        numbers = [number for number in numbers if number in policy.specific.versions]
    elif choice != "all":
        numbers = numbers[-max(policy.latest.num_versions, 1) :]
    return Wanted({number: found[number] for number in numbers}, dict(model.version_labels))
