"""Submissions of the golden packages."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from delivery.package import Package, read_package
from delivery.targets.base import Recurring, Submission
from slipway.targets import RemoteTarget
from tests.compiled.specs import GOLDEN, golden_spec


@cache
def golden(target: RemoteTarget) -> Package:
    """The compiled training pipeline."""
    return replace(read_package(GOLDEN), spec=golden_spec(target))


def submission(target: RemoteTarget, *, package: Path | None = None) -> Submission:
    """A new run of the taxi module."""
    found = read_package(package) if package else golden(target)
    return Submission(found, found.fields, found.run.lineage)


def recurring(target: RemoteTarget, name: str = "nightly", cron: str = "0 3 * * *", **changes: Any) -> Recurring:
    """A schedule of such runs."""
    wanted = Recurring(name, cron, 1, False, submission(target), {"service_account": "trainer"})
    return replace(wanted, **changes)
