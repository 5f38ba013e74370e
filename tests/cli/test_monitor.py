"""`slipway monitor` and `slipway explain` on windows that were watched."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from slipway.errors import StoreError
from tests.cli.commands import slipway
from tests.watched_model import MODEL, Watched, draw


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Watched:
    """Two windows below the home; in the second, fares rose."""
    monkeypatch.delenv("SLIPWAY_ENV", raising=False)
    monkeypatch.setenv("SLIPWAY_HOME", str(tmp_path))
    watched = Watched(tmp_path)
    version = watched.push()
    for day, factor in enumerate((1, 3)):
        requests, scores, _ = draw(day)
        watched.ask(version, day, [row | {"fare": row["fare"] * factor} for row in requests], scores)
        watched.run(day)
    return watched


def test_show_and_explain_say_what_moved_since_when_and_what_was_done(watched: Watched) -> None:
    shown = slipway("monitor", "show", MODEL).stdout
    assert shown == slipway("explain", f"{MODEL}/2026-03-02").stdout
    assert f"{MODEL}, window 2026-03-02T00:00:00Z: drift" in shown
    assert "drift in 1 of 2 windows" in shown
    assert "fare drifted from training" in shown
    assert "since 2026-03-02" in shown
    earlier = json.loads(slipway("monitor", "show", MODEL, "2026-03-01", "--json").stdout)
    assert (earlier["verdict"], earlier["requests"]) == ("stable", 600)
    assert earlier["said"]


def test_history_lists_the_newest_first(watched: Watched) -> None:
    lines = slipway("monitor", "history", MODEL).stdout.splitlines()
    assert [line.split()[1] for line in lines[1:]] == ["drift", "stable"]
    listed = json.loads(slipway("monitor", "history", MODEL, "--json").stdout)
    assert [one["start"][:10] for one in listed] == ["2026-03-02", "2026-03-01"]


def test_a_window_that_is_not_there_is_refused_with_those_that_are(watched: Watched) -> None:
    with pytest.raises(StoreError, match=r"2026-05.*2026-03-02T00:00:00Z"):
        slipway("monitor", "show", MODEL, "2026-05")
    with pytest.raises(StoreError, match="more than one"):
        slipway("explain", f"{MODEL}/2026-03-0")
    with pytest.raises(StoreError, match=r"'2027'.*2026-03-02T00:00:00Z"):
        slipway("explain", f"{MODEL}/2027")
    with pytest.raises(StoreError, match="monitor run nothing"):
        slipway("monitor", "history", "nothing")


def test_metrics_of_a_name_that_nobody_watched_are_refused_with_those_that_are(watched: Watched) -> None:
    assert f'slipway_monitor_requests{{model="{MODEL}"}} 600.0' in slipway("monitor", "metrics", MODEL).stdout
    with pytest.raises(StoreError, match=f"no window of trisp was watched.*watched are {MODEL}"):
        slipway("monitor", "metrics", "trisp")
