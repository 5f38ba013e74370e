"""Real submissions: the taxi module's arguments and the golden packages."""

from __future__ import annotations

from pathlib import Path

from delivery.launch import Locations, Platform, request_run
from delivery.package import read_package
from delivery.targets.base import Submission
from settings.load import PROJECT
from slipway.module_store import check_module
from slipway.runs.record import Target

COMPILED = PROJECT / "tests" / "compiled"
DATA = "gs://bucket/trips/span-{SPAN}/*.parquet"


def submission(target: Target, home: Path, *, package: Path | None = None) -> Submission:
    """A run of the taxi module, published under `home`."""
    module = PROJECT / "modules" / "taxi"
    found = read_package(package or COMPILED / f"training-{target}.yaml")
    locations = Locations(*(str(home / name) for name in ("modules", "models", "runs", "checkpoints")))
    platform = Platform(target, found.image, ("--runner=FnApiRunner",), "one_device", "vectorised")
    request = request_run(module, check_module(module), DATA, locations, platform)
    return Submission(found, request.arguments, request.lineage)
