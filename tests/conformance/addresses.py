"""Addresses of the server under test."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Addresses:
    """HOST:PORT by protocol, empty where the environment names only the other one; the models, if they are at hand."""

    grpc: str
    rest: str
    models: Path | None = None
