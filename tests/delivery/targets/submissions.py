"""Real submissions: the taxi module's arguments and the golden packages."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from delivery.launch import RunRequest, request_run
from delivery.package import Package, read_package
from delivery.targets.base import Recurring, Submission
from pipelines.registry import Locations, Platform
from settings.load import PROJECT
from slipway.module_kit.check import check_module
from slipway.targets import RemoteTarget
from tests.compiled.specs import GOLDEN, golden_spec

DATA = "gs://bucket/trips/span-{SPAN}/*.parquet"


@cache
def golden(target: RemoteTarget) -> Package:
    """The compiled training pipeline."""
    return replace(read_package(GOLDEN), spec=golden_spec(target))


def submission(target: RemoteTarget, *, package: Path | None = None) -> Submission:
    """A new run of the taxi module."""
    request = _request(target)
    return Submission(read_package(package) if package else golden(target), request.arguments, request.lineage)


def recurring(target: RemoteTarget, name: str = "nightly", cron: str = "0 3 * * *", **changes: Any) -> Recurring:
    """A schedule of such runs."""
    wanted = Recurring(name, cron, 1, False, submission(target), {"service_account": "trainer"})
    return replace(wanted, **changes)


@cache
def _request(target: RemoteTarget) -> RunRequest:
    module = PROJECT / "modules" / "taxi"
    platform = Platform(target, golden(target).image)
    config = check_module(module)
    return request_run(module, config, DATA, Locations.under("gs://bucket"), platform, publish=False)
