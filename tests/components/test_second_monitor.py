"""The monitor's steps, each started twice on the same window; killed in between: test_monitor_steps.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.resolve_window.component import resolve_window
from slipway.monitoring.config import MonitorConfig
from tests.watched_model import CONFIG, MODEL, Watched, draw


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    """A window that drifted, after another one that did, with labels."""
    watched = Watched(tmp_path)
    version = watched.push()
    for day in range(2):
        requests, scores, labels = draw(day)
        ids = watched.ask(version, day, [row | {"fare": row["fare"] * 3} for row in requests], scores)
        watched.tell(ids, labels)
    watched.run(0)
    watched.run(1)
    return watched


def made(watched: Watched, artifact: str) -> str:
    return (watched.folder / "artifacts-1" / artifact / "window.json").read_text()


def test_resolve_window_finds_the_same(watched: Watched) -> None:
    text = MonitorConfig.model_validate(CONFIG).model_dump_json()
    asked = (MODEL, watched.store, watched.log, watched.windows, text, "")
    assert resolve_window.python_func(*asked) == resolve_window.python_func(*asked)


def test_compare_requests_finds_the_same(watched: Watched) -> None:
    first = made(watched, "compared")
    watched.run(1)
    assert made(watched, "compared") == first


def test_score_predictions_finds_the_same(watched: Watched) -> None:
    first = made(watched, "scored")
    assert '"metric": "auc"' in first
    watched.run(1)
    assert made(watched, "scored") == first


def test_decide_retraining_decides_once(watched: Watched) -> None:
    first, state = watched.result(1).decision, watched.state()
    assert first is not None
    assert first.action == "train"
    assert watched.run(1).decision == first
    assert watched.state() == state
