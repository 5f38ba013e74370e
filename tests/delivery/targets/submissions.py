"""Real submissions: the taxi module's arguments and the golden packages."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from delivery.launch import Locations, Platform, RunRequest, request_run
from delivery.package import Package, read_package
from delivery.targets.base import Submission
from settings.load import PROJECT
from slipway.module_kit.check import check_module
from slipway.targets import Target

COMPILED = PROJECT / "tests" / "compiled"
DATA = "gs://bucket/trips/span-{SPAN}/*.parquet"


@cache
def golden(target: Target) -> Package:
    """The compiled training pipeline."""
    return read_package(COMPILED / f"training-{target}.yaml")


def submission(target: Target, *, package: Path | None = None) -> Submission:
    """A new run of the taxi module."""
    request = _request(target)
    return Submission(read_package(package) if package else golden(target), request.arguments, request.lineage)


@cache
def _request(target: Target) -> RunRequest:
    module = PROJECT / "modules" / "taxi"
    locations = Locations(*(f"gs://bucket/{name}" for name in ("modules", "models", "runs", "checkpoints")))
    platform = Platform(target, golden(target).image, ("--runner=FnApiRunner",), "one_device", "vectorised")
    config = check_module(module)
    return request_run(module, config, DATA, locations, platform, publish=False)
