"""Evidently's page: what is refused before it is made, and in CI the page of Evidently itself."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tensorflow_metadata.proto.v0 import schema_pb2

from slipway.data.schema import write_schema
from slipway.errors import ConfigError, DataError, StoreError
from slipway.stores.model_store import open_store
from tests.cli.commands import slipway
from tests.watched_model import FIRST, MODEL, Watched, draw

WINDOW = f"{FIRST:%Y-%m-%d}"


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Watched:
    """A window in which features are missing, infinite, gone and new; the training rows are there."""
    monkeypatch.delenv("SLIPWAY_ENV", raising=False)
    monkeypatch.setenv("SLIPWAY_HOME", str(tmp_path))
    watched = Watched(tmp_path)
    version = watched.push()
    requests, scores, _ = draw(1)
    asked: list[dict[str, Any]] = [
        {"fare": row["fare"], "payment": None if number % 3 == 0 else row["payment"], "app": 1.0}
        for number, row in enumerate(requests)
    ]
    asked[1]["payment"] = "</script><script>document.title = 'taken'</script>"
    watched.ask(version, 0, asked, scores)
    watched.run(0)
    return watched


def keep_training(watched: Watched) -> None:
    """The artifacts of the run that trained the version, as its manifest names them."""
    schema, rows = schema_pb2.Schema(), draw(1001, 6000)[0]
    rows[0]["fare"] = math.inf
    for name, kind in (("fare", schema_pb2.FLOAT), ("payment", schema_pb2.BYTES), ("trip_hour", schema_pb2.INT)):
        schema.feature.add(name=name, type=kind)
    places = {name: watched.folder / "artifacts" / name for name in ("schema", "examples")}
    (places["examples"] / "split=train").mkdir(parents=True)
    places["schema"].mkdir()
    write_schema(schema, places["schema"])
    pq.write_table(pa.Table.from_pylist(rows), places["examples"] / "split=train" / "a.parquet")
    (places["examples"] / "manifest.json").write_text(json.dumps({"rows": {}, "digest": "ab"}))
    [manifest] = (watched.folder / "models" / MODEL / ".manifests").glob("*.json")
    known = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(known | {"artifacts": {name: str(path) for name, path in places.items()}}))


def test_without_the_extra_the_command_says_how_to_install_it(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_training(watched)
    monkeypatch.setitem(sys.modules, "evidently", None)
    with pytest.raises(ConfigError, match=r"pip install --editable '\.\[evidently\]'"):
        slipway("monitor", "evidently", MODEL, "--log", watched.log)


def test_training_rows_that_are_gone_are_named(watched: Watched) -> None:
    with pytest.raises(StoreError, match=r"training rows of version .* are gone"):
        slipway("monitor", "evidently", MODEL, "--log", watched.log)


def test_requests_that_are_gone_are_named(watched: Watched, tmp_path: Path) -> None:
    keep_training(watched)
    with pytest.raises(StoreError, match=r"empty.*has no requests.*--log"):
        slipway("monitor", "evidently", MODEL)
    with pytest.raises(StoreError, match=r"elsewhere has no requests"):
        slipway("monitor", "evidently", MODEL, "--log", str(tmp_path / "elsewhere"))


def test_too_few_requests_are_refused(watched: Watched) -> None:
    requests, scores, _ = draw(2, 50)
    version = open_store(watched.store).versions(MODEL)[0].number
    watched.ask(version, 1, requests, scores)
    watched.run(1)
    with pytest.raises(DataError, match=r"50 requests, fewer than monitoring\.min_rows"):
        slipway("monitor", "evidently", MODEL, "--log", watched.log)


@pytest.mark.slow
@pytest.mark.skipif(not find_spec("evidently"), reason="the extra `evidently` is not installed; .ci/run installs it")
def test_page_is_evidently_s_and_says_what_it_cannot_show(watched: Watched) -> None:
    keep_training(watched)
    # A process of its own: Evidently changes NumPy when it is imported.
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "cli.main", "monitor", "evidently", MODEL, "--log", watched.log],
        env={**os.environ, "SLIPWAY_HOME": str(watched.folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    path, *said = done.stdout.splitlines()
    for told in ("trip_hour has no number", "app is in requests", "payment is missing in 33", "fare is infinite in 1"):
        assert any(told in line for line in said), (told, said)
    page = Path(path).read_text()
    assert path.endswith(f"{WINDOW}T00:00:00Z/evidently.html")
    assert "trip_hour has no number" in page
    assert "Wasserstein" in page
    assert "<script>document.title" not in page
