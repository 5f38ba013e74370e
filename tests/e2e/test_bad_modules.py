"""A module that breaks the contract is told in one message, before any step runs."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.workspace import Workspace


def edit(file: str, old: str, new: str) -> Callable[[Path], None]:
    def apply(module: Path) -> None:
        text = (module / file).read_text()
        assert old in text
        (module / file).write_text(text.replace(old, new))

    return apply


@pytest.mark.parametrize(
    ("breaks", "message"),
    [
        pytest.param(edit("model.py", "def build_model", "def make_model"), "build_model", id="missing function"),
        pytest.param(
            edit("preprocessing.py", "def preprocessing_fn(inputs", "def preprocessing_fn(inputs_, more"),
            "preprocessing_fn",
            id="wrong signature",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            edit("model.py", "import keras", "import kerass"), "kerass", id="import error", marks=pytest.mark.slow
        ),
        pytest.param(
            edit("module.yaml", "thresholds:", "treshold:"), "thresholds", id="unknown key", marks=pytest.mark.slow
        ),
        pytest.param(
            lambda module: (module / "model.py").unlink(), "model.py", id="missing file", marks=pytest.mark.slow
        ),
    ],
)
def test_run_of_a_broken_module_stops_before_any_step(
    workspace: Workspace, breaks: Callable[[Path], None], message: str
) -> None:
    breaks(workspace.modules / "taxi")
    done = workspace.slipway("run", code=1)
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(workspace.home.glob("runs/*"))


def test_run_of_a_module_that_names_a_column_that_its_data_lack_stops_before_any_step(workspace: Workspace) -> None:
    done = workspace.slipway("run", "taxi", "--set", "slices=[[payment_typ]]", code=1)
    assert "slices of module.yaml names 'payment_typ'" in done.stderr
    assert "did you mean payment_type?" in done.stderr
    assert not list(workspace.home.glob("runs/*"))


@pytest.mark.slow
def test_module_check_compares_with_data(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "trips.csv").write_text("fare,tips,company\n1,2,a\n")
    done = workspace.slipway("module", "check", "taxi", "--data", str(tmp_path / "trips.csv"), code=1)
    assert "'trip_start_hour'" in done.stdout
    workspace.slipway("module", "check", "taxi")


def test_run_of_an_unknown_module_lists_those_there_are(workspace: Workspace) -> None:
    assert "Modules: taxi" in workspace.slipway("run", "--module", "taxy", code=1).stderr


@pytest.mark.slow
def test_run_on_a_bucket_that_does_not_answer_says_what_was_tried(workspace: Workspace) -> None:
    data = "gs://anonymous@bucket/trips.csv?scheme=http&endpoint_override=localhost:1&retry_limit_seconds=0.2"
    done = workspace.slipway("run", "--data", data, code=1)
    assert "gs://bucket/trips.csv: cannot read, tried for 0.2 s" in done.stdout
    assert "check the network and the URI" in done.stdout
    assert "Traceback" not in done.stderr + done.stdout


@pytest.mark.slow
def test_run_of_a_missing_file_names_it(workspace: Workspace) -> None:
    done = workspace.slipway("run", "--data", "nowhere.csv", code=1)
    assert "nowhere.csv" in done.stderr + done.stdout
    assert "Traceback" not in done.stderr + done.stdout
