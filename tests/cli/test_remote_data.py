"""Commands whose data lies in a bucket that does not answer, or refuses: an error that names the fix, no traceback."""

from pathlib import Path

import pytest

from cli import main
from tests.fakes.fault_proxy import FaultProxy

REFUSED = "gs://anonymous@bucket/{}?scheme=http&endpoint_override=localhost:1&retry_limit_seconds=0.2"


def error_of(arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    monkeypatch.setattr("sys.argv", ["slipway", *arguments])
    with pytest.raises(SystemExit) as ended:
        main.run()
    assert ended.value.code == 1
    told = capsys.readouterr().err
    assert told.startswith("error: ")
    assert "Traceback" not in told
    return told


@pytest.fixture(params=[["schema", "infer"], ["module", "new", "trips"]], ids=["schema infer", "module new"])
def command(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("SLIPWAY_MODULES", str(tmp_path))
    arguments: list[str] = request.param
    return [*arguments, "--data"]


@pytest.mark.parametrize("data", ["trips.csv", "day=*/trips.csv", "{SPAN}/trips.csv", "folder"])
def test_bucket_that_does_not_answer_is_named(
    command: list[str], data: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = error_of([*command, REFUSED.format(data)], monkeypatch, capsys)
    assert "gs://bucket" in told
    assert "tried for 0.2 s" in told
    assert "Connection refused" in told
    assert "check the network and the URI" in told


@pytest.mark.parametrize(("status", "fix"), [(403, "roles/storage.objectUser"), (401, "gcloud auth"), (404, "no ")])
def test_bucket_that_refuses_names_the_fix(
    command: list[str],
    status: int,
    fix: str,
    fault_proxy: FaultProxy,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fault_proxy.inject("status", status=status)
    told = error_of([*command, fault_proxy.uri("trips.csv")], monkeypatch, capsys)
    assert "trips.csv" in told
    assert fix in told
