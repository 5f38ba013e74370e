"""Runs `slipway` in this process."""

from __future__ import annotations

from typer.testing import CliRunner, Result

from cli.main import app

DATA = "gs://bucket/trips.csv"


def slipway(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments, catch_exceptions=False)


def rollout(*arguments: str) -> Result:
    return slipway("rollout", *arguments, "--env", "staging")
