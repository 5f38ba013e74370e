"""What resolve_source hands to the steps that follow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipelines.training import TRAINING
from slipway.data.examples.dataset import Manifest, RowCounts
from slipway.data.examples.source import read_source
from slipway.errors import DataError
from slipway.lineage import Lineage
from slipway.runs.record import RunState, Summary
from slipway.stores import storage
from tests.fakes.fault_proxy import FaultProxy
from tests.steps import resolve


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "trips.csv"
    path.write_text("a,y\n1,1\n")
    return path


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return tmp_path / "runs"


def _record(
    runs: Path, name: str, digest: str, state: RunState = "succeeded", module: str = "taxi", finished: float = 0.0
) -> str:
    """Leaves a run behind as the exit handler does; answers the URI of its statistics."""
    folder = runs / name
    statistics, examples = folder / "statistics", folder / "examples"
    statistics.mkdir(parents=True)
    examples.mkdir()
    manifest = Manifest(
        source={"digest": digest}, rows=RowCounts(read=1, quarantined=0, train=1, eval=0), files=[], columns={},
        label="y", digest="of the examples",
    )  # fmt: skip
    (examples / "manifest.json").write_text(manifest.model_dump_json())
    summary = Summary(
        lineage=Lineage(run=name, module=module, module_digest="m", data_uri="d", shows=TRAINING.shows),
        state=state,
        statistics=str(statistics),
        artifacts={"examples": str(examples)},
        finished=finished,
    )
    (folder / "summary.json").write_text(summary.model_dump_json())
    return str(statistics)


def _digest(data: Path) -> str:
    return read_source(resolve(str(data), 1, "taxi", "", str(data.parent / "sources"))[0]).digest


def test_resolve_source_uri_changes_with_the_content_only(data: Path, runs: Path) -> None:
    asked = (str(data), 1, "taxi", str(runs), str(runs.parent / "sources"))
    first, previous = resolve(*asked)
    assert read_source(first).format == "csv"
    assert previous == ""
    data.touch()
    assert resolve(*asked)[0] == first
    data.write_text("a,y\n1,0\n")
    second = resolve(*asked)[0]
    assert second != first
    assert read_source(second).digest != read_source(first).digest


def test_resolve_many_files_hands_over_one_short_uri(tmp_path: Path) -> None:
    for number in range(900):
        (tmp_path / f"part-{number:05d}-2f0c9a7e-5b1d-4c1e-9d53-8d1f6d1c0a11-c000.csv").write_text("x,y\n1,1\n")
    uri, _ = resolve(str(tmp_path), 1, "taxi", "", str(tmp_path / "sources"))
    assert len(uri) < 500
    assert len(read_source(uri).files) == 900


def test_read_source_that_was_changed_is_refused(data: Path, tmp_path: Path) -> None:
    uri, _ = resolve(str(data), 1, "taxi", "", str(tmp_path / "sources"))
    Path(uri).write_text(Path(uri).read_text().replace("trips.csv", "other.csv"))
    with pytest.raises(DataError, match="was changed"):
        read_source(uri)


def test_resolve_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.csv: there is no such file"):
        resolve(str(tmp_path / "gone.csv"), 1, "taxi", "", "")


def test_resolve_previous_statistics_are_those_of_the_newest_run_on_other_data(data: Path, runs: Path) -> None:
    _record(runs, "taxi-20260101-000000-aaaa", "older")
    newest = _record(runs, "taxi-20260102-000000-aaaa", "other")
    _record(runs, "taxi-20260103-000000-aaaa", _digest(data))
    _record(runs, "taxi-20260104-000000-aaaa", "failed", state="failed")
    _record(runs, "house-20260105-000000-aaaa", "another module", module="house")
    (runs / "taxi-20260106-000000-aaaa").mkdir()
    (runs / "taxi-20260107-000000-aaaa").mkdir()
    (runs / "taxi-20260107-000000-aaaa" / "summary.json").write_text("{ cut")
    assert resolve(str(data), 1, "taxi", str(runs), str(runs.parent / "sources"))[1] == newest


def test_resolve_previous_statistics_go_by_the_time_of_the_end_where_names_are_the_ids_of_jobs(
    data: Path, runs: Path
) -> None:
    _record(runs, "taxi-f0d63664-0f4f-41ec-91be-9419156db005", "older", finished=1.0)
    newest = _record(runs, "taxi-00d63664-0f4f-41ec-91be-9419156db005", "newest", finished=2.0)
    _record(runs, "slipway-training-20260104000000", "another module", module="house", finished=3.0)
    _record(runs, "taxi-10d63664-0f4f-41ec-91be-9419156db005", "nobody knows", state="unknown", finished=4.0)
    assert resolve(str(data), 1, "taxi", str(runs), str(runs.parent / "sources"))[1] == newest
    on_vertex = _record(runs, "slipway-training-20260105000000", "Vertex's own name", finished=5.0)
    assert resolve(str(data), 1, "taxi", str(runs), str(runs.parent / "sources"))[1] == on_vertex


def test_resolve_statistics_that_were_deleted_are_passed_over(data: Path, runs: Path) -> None:
    kept = _record(runs, "taxi-20260101-000000-aaaa", "kept")
    Path(_record(runs, "taxi-20260102-000000-aaaa", "deleted")).rmdir()
    assert resolve(str(data), 1, "taxi", str(runs), str(runs.parent / "sources"))[1] == kept


def test_resolve_local_files_needs_nothing_heavy(data: Path) -> None:
    """The step runs each time: it has to stay cheap."""
    import subprocess
    import sys

    program = (
        "import sys, types; sys.modules['kfp'] = types.ModuleType('kfp')\n"
        "from slipway.data.examples.source import locate; from slipway.runs.record import Summary\n"
        f"locate({str(data)!r}, 1)\n"
        "print([name for name in ('pyarrow', 'duckdb', 'ibis', 'numpy', 'tensorflow') if name in sys.modules])"
    )
    answer: Any = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


UNREACHABLE = "gs://anonymous@bucket/{}?scheme=http&endpoint_override=localhost:1&retry_limit_seconds=0.2"


@pytest.mark.parametrize("status", [0, 403], ids=["unreachable", "forbidden"])
@pytest.mark.parametrize("part", ["statistics", "examples"])
def test_resolve_earlier_run_out_of_reach_is_passed_over(
    data: Path, runs: Path, fault_proxy: FaultProxy, status: int, part: str
) -> None:
    expected = _record(runs, "run-1", "older", finished=1.0)
    _record(runs, "run-2", "other", finished=2.0)
    record = runs / "run-2" / "summary.json"
    summary = Summary.model_validate_json(record.read_bytes())
    fault_proxy.inject("status", status=status)
    gone = fault_proxy.uri(part) if status else UNREACHABLE.format(part)
    if part == "statistics":
        summary.statistics = gone
    else:
        summary.artifacts["examples"] = gone
        expected = summary.statistics or ""
    record.write_text(summary.model_dump_json())
    assert resolve(str(data), 1, "taxi", str(runs), str(runs.with_name("sources")))[1] == expected


# google-cloud-storage leaves the connection of a refused download to the collector.
@pytest.mark.filterwarnings("ignore:Exception ignored in. <socket.socket:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("status", [503, 403])
def test_resolve_earlier_summary_that_cannot_be_read_is_skipped(
    data: Path, fault_proxy: FaultProxy, status: int
) -> None:
    for name in ("run-1", "run-2"):
        summary = Summary(lineage=Lineage(run=name, module="taxi", module_digest="m", data_uri="d"), state="succeeded")
        storage.write_text(fault_proxy.uri(f"runs/{name}/summary.json"), summary.model_dump_json())
    fault_proxy.inject("status", status=status, on="GET runs/run-2/summary.json")
    assert resolve(str(data), 1, "taxi", fault_proxy.uri("runs", retry_seconds=0.2), str(data.parent))[1] == ""
