"""`slipway loop demo`: the whole loop, from a first model to a bad one that is refused, with nobody at the wheel."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

import psutil
import pytest

from slipway.monitoring.history import read_windows
from slipway.monitoring.state import read_state
from slipway.stores.model_store import open_store
from tests.e2e.workspace import SLIPWAY, Workspace


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_the_loop_replaces_the_model_once_and_refuses_the_bad_one(workspace: Workspace, tmp_path: Path) -> None:
    home = tmp_path / "demo"
    done = subprocess.run(
        [SLIPWAY, "loop", "demo", "--home", str(home)],
        env=workspace.environment, capture_output=True, text=True, check=False, timeout=1400,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    store = open_store(str(home / "models"))
    first, second = (version.number for version in store.versions("taxi"))
    windows = read_windows(str(home / "monitoring" / "taxi"))
    assert [one.verdict for one in windows] == [
        "stable", "stable", "stable", "drift", "retrained", "stable", "stable", "stable",
    ]  # fmt: skip

    decided = windows[4]
    assert decided.decision
    assert "drift" in decided.decision.causes
    moved = {one.name: one.baseline for one in decided.moved if one.decides}
    assert {"fare", "payment_type"} <= moved.keys()
    assert all(one.distance > max(one.noise, one.threshold) and one.noise > 0 for one in moved.values())
    assert not any(one.broken for one in windows)

    state = read_state(str(home / "monitoring" / "taxi"))
    assert (len(state.trainings), len(state.keys), state.pending) == (1, 1, "")
    runs = [json.loads(path.read_text()) for path in sorted(home.glob("runs/*/summary.json"))]
    trained = [one for one in runs if one["lineage"]["pipeline"] == "training"]
    assert sorted(one["verdict"] for one in trained) == ["pushed", "pushed", "refused"]
    assert [one["lineage"]["run"].endswith(state.keys[0][:12]) for one in trained].count(True) == 1

    _check_versions(windows, first, second)
    assert [one.action for one in store.history("taxi")] == ["push", "promote", "push", "canary", "promote"]
    production = store.production("taxi")
    assert production
    assert production.number == second
    assert not (workspace.home / "models").exists(), "the user's own models are not touched"
    page = home / "loop.html"
    assert done.stdout.rstrip().endswith(str(page))
    _check_page(page.read_text(), len(windows))


def _check_versions(windows: list[Any], first: int, second: int) -> None:
    """Who answered in which week, and whose labels were scored: those of a week come after its window."""
    answered = [set(one.versions) for one in windows]
    assert answered == [{str(first)}] * 5 + [{str(first), str(second)}] + [{str(second)}] * 2
    assert not windows[0].performance
    scored = [(one.performance[0].until, one.performance[0].version) for one in windows[1:5]]
    assert scored == [(one.start, first) for one in windows[:4]]
    assert all(300 < one.performance[0].labels < 900 for one in windows[1:5])
    assert {one.version for one in windows[6].performance} == {first, second}
    assert windows[7].performance[0].version == second


def _check_page(page: str, weeks: int) -> None:
    """The page needs nothing from elsewhere, and has its pictures."""
    assert not re.search('(src|href)="(?!#|data:)', page)
    assert page.count('class="band"') == weeks
    titles = re.findall(r"<figcaption><span>(.*?)</span>", page)
    assert {"auc", "log loss", "fare", "payment_type", "Latency of answers", "auc in the evaluation"} <= set(titles)
    assert titles.count("fare") == 2, "its distance by week, and its two distributions"
    assert page.count('class="interval s1"') >= 5
    assert page.count('class="interval s2"') >= 3
    assert "is below 0.8" in page


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_an_interrupted_demo_leaves_no_server(workspace: Workspace, tmp_path: Path) -> None:
    with subprocess.Popen(
        [SLIPWAY, "loop", "demo", "--home", str(tmp_path / "demo")],
        env=workspace.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        # A shell's background jobs ignore Ctrl-C, and so would what they start.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:  # fmt: skip
        try:
            assert process.stdout
            served = next(
                found for line in process.stdout if (found := re.search(r"served at http://127\.0\.0\.1:(\d+)", line))
            )
            children = psutil.Process(process.pid).children(recursive=True)
            process.send_signal(signal.SIGINT)
            rest, _ = process.communicate(timeout=200)
        finally:
            process.kill()
    assert process.returncode == 130, rest
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", int(served[1]))) != 0
    assert not psutil.wait_procs(children, timeout=10)[1]


def test_a_folder_with_something_in_it_is_refused(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("kept")
    said = workspace.slipway("loop", "demo", "--home", str(tmp_path), code=1).stderr
    assert str(tmp_path) in said
    assert "not empty" in said
    assert "mine.txt" in {path.name for path in tmp_path.iterdir()}
