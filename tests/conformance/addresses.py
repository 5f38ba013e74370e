"""Addresses of the server under test."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from serving.manifests import object_name

_MODEL = "{model}"


@dataclass(frozen=True)
class Addresses:
    """HOST:PORT by protocol, empty where the environment names only the other one; the models, if they are at hand."""

    grpc: str
    rest: str
    models: Path | None = None

    def of(self, model: str) -> Addresses:
        """Those of one model: `{model}` in an address stands for the beginning of the names of its objects."""
        if _MODEL not in self.grpc + self.rest:
            return self
        name = object_name(model)
        return replace(self, grpc=self.grpc.replace(_MODEL, name), rest=self.rest.replace(_MODEL, name))
