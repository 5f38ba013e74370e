"""The loan module from nothing to served predictions: the requests of its guide, and rows with missing values."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import httpx
import pytest

from tests.e2e.served import serve
from tests.e2e.workspace import PROJECT, Workspace, make_workspace

pytestmark = pytest.mark.slow
REAL_DATA = os.environ.get("SLIPWAY_REAL_DATA")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A home of its own: a model of the sample in production would be compared with one of real rows."""
    return make_workspace(tmp_path, "loan")


def test_a_run_from_nothing_serves_the_requests_of_the_guide(workspace: Workspace) -> None:
    workspace.slipway("run", "loan")
    run = workspace.last_run()
    assert run["verdict"] == "pushed", run["reasons"]
    assert run["metrics"]["auc"] > 0.7
    (body,) = re.findall(r"-d '(\{.*?\})' ", (PROJECT / "docs" / "loan.md").read_text(), flags=re.DOTALL)
    with serve(workspace) as served:
        url = f"http://{served.rest}/v1/models/loan:predict"
        asked = json.loads(body)
        good = httpx.post(url, content=body).json()["predictions"][0]
        asked["instances"][0]["Credit_History"] = 0
        bad = httpx.post(url, json=asked).json()["predictions"][0]
        del asked["instances"][0]["Credit_History"]
        unknown = httpx.post(url, json=asked).json()["predictions"][0]
        assert bad < 0.3 < good
        assert bad < unknown
        printed = workspace.slipway("predict", "loan", "--address", served.grpc, "--json").stdout
        assert all(row["class"] in ("N", "Y") for row in json.loads(printed))


@pytest.mark.skipif(REAL_DATA is None, reason="SLIPWAY_REAL_DATA names no folder with loan/loans.csv")
def test_a_run_on_the_public_rows_pushes_a_model(workspace: Workspace) -> None:
    workspace.slipway("run", "loan", "--data", str(Path(str(REAL_DATA)) / "loan" / "loans.csv"))
    run = workspace.last_run()
    assert run["verdict"] == "pushed", run["reasons"]
    assert run["rows"]["read"] == 494
    assert run["metrics"]["auc"] > 0.68
