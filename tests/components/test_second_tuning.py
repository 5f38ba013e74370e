"""A search that is killed and started again."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from slipway.tuning.page import render_tuning
from tests.searches import search
from tests.shapes import Artifacts, make_transformed


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Artifacts:
    return make_transformed(tmp_path_factory)


def files(folder: Path) -> dict[str, bytes]:
    """The trials and confirmations, without what the clock measured."""
    found = sorted((folder / "tuning").rglob("*.json"))
    return {path.name: path.read_bytes() for path in found if path.name != "winner.json"}


@pytest.mark.slow
def test_tune_model_that_was_killed_leaves_the_same_files(artifacts: Artifacts, tmp_path: Path) -> None:
    undisturbed = search(artifacts, tmp_path / "a", target=0.0)  # trial 0, and the same with two further seeds
    code = (
        "import sys; from pathlib import Path; from tests.searches import search;"
        "from tests.shapes import Artifacts; search(Artifacts(Path(sys.argv[1])), Path(sys.argv[2]), target=0.0)"
    )
    again = subprocess.Popen([sys.executable, "-c", code, str(artifacts.folder), str(tmp_path / "b")])
    while len(files(tmp_path / "b")) < 1:
        assert again.poll() is None
        time.sleep(0.02)
    again.send_signal(signal.SIGKILL)
    again.wait()
    assert len(files(tmp_path / "b")) < len(files(tmp_path / "a"))
    resumed = search(artifacts, tmp_path / "b", target=0.0)
    assert len(files(tmp_path / "a")) == 3
    assert files(tmp_path / "b") == files(tmp_path / "a")
    assert resumed.tuned.values == undisturbed.tuned.values
    assert resumed.trials[0].values.flat() == {"units": 16, "learning_rate": 0.02, "training.epochs": 2}
    assert resumed.tuned.own == resumed.trials[0].value
    assert resumed.tuned.value == resumed.confirmed[resumed.tuned.winner]
    render_tuning(resumed)
