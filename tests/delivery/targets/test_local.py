import sys
from pathlib import Path

import pytest

from delivery.launch import request_run
from delivery.targets.local import run_local
from pipelines.registry import Locations, Platform
from settings.load import PROJECT
from slipway.module_kit.check import check_module


@pytest.mark.parametrize("processes", ["warm", "cold"])
def test_run_with_an_interpreter_in_a_folder_with_a_space_starts_its_steps(
    processes: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = tmp_path / "a b's" / "environment"
    environment.parent.mkdir()
    environment.symlink_to(sys.prefix)
    monkeypatch.setattr(sys, "executable", str(environment / "bin" / "python"))
    if processes == "cold":
        monkeypatch.setattr(sys, "platform", "darwin")
    elif sys.platform != "linux":
        pytest.skip("warm workers need Linux")
    home = tmp_path / "home"
    folder = PROJECT / "modules" / "taxi"
    locations = Locations.under(str(home))
    platform = Platform("local", "slipway-python")
    missing = tmp_path / "python3.11" / "rows.csv"  # not to be taken for the interpreter
    finished = run_local(
        request_run(folder, check_module(folder), str(missing), locations, platform), home, lambda steps: None
    )
    steps = {step.name: step for step in finished.steps}
    assert steps["record_run"].state == "succeeded", steps["record_run"].error
    assert str(missing) in (steps["resolve_source"].error or "")
