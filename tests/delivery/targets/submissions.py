"""Real submissions: the taxi module's arguments and the golden packages."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from delivery.launch import Locations, Platform, RunRequest, request_run
from delivery.package import Package, read_package
from delivery.targets.base import Submission
from settings.load import PROJECT
from slipway.module_kit.check import check_module
from slipway.runs.naming import new_run_name
from slipway.runs.record import Target

COMPILED = PROJECT / "tests" / "compiled"
DATA = "gs://bucket/trips/span-{SPAN}/*.parquet"


@cache
def golden(target: Target) -> Package:
    """The compiled training pipeline."""
    return read_package(COMPILED / f"training-{target}.yaml")


def submission(target: Target, *, package: Path | None = None) -> Submission:
    """A new run of the taxi module."""
    found, request = read_package(package) if package else golden(target), _request(target, recurring=False)
    lineage = request.lineage.model_copy(update={"run": new_run_name("taxi")})
    arguments = {"run_uri": f"gs://bucket/runs/{lineage.run}", "lineage": lineage.model_dump(mode="json")}
    return Submission(found, request.arguments | arguments, lineage)


def recurring_submission(target: Target) -> Submission:
    """What a recurring run of the taxi module is given."""
    request = _request(target, recurring=True)
    return Submission(golden(target), request.arguments, request.lineage)


@cache
def _request(target: Target, *, recurring: bool) -> RunRequest:
    module = PROJECT / "modules" / "taxi"
    locations = Locations(*(f"gs://bucket/{name}" for name in ("modules", "models", "runs", "checkpoints")))
    platform = Platform(target, golden(target).image, ("--runner=FnApiRunner",), "one_device", "vectorised")
    config = check_module(module)
    return request_run(module, config, DATA, locations, platform, recurring=recurring, publish=False)
