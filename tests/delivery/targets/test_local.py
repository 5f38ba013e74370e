import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from delivery.launch import RunRequest, request_run
from delivery.targets.local import gpus, local_image, run_local
from delivery.targets.step_process import Ended, StepProcesses
from pipelines.registry import Locations, Platform
from settings.load import PROJECT
from slipway.module_kit.check import check_module
from tests.cli.commands import slipway


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


@pytest.mark.skipif(sys.platform != "linux", reason="warm workers need Linux")
def test_run_uses_the_processes_that_were_started_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, locations = PROJECT / "modules" / "taxi", Locations.under(str(tmp_path))
    asked = request_run(
        folder, check_module(folder), str(tmp_path / "none.csv"), locations, Platform("local", "slipway-python")
    )
    ran: list[str] = []
    run = StepProcesses.run

    def note(self: StepProcesses, name: str, *how: Any, **more: Any) -> Ended:
        ran.append(name)
        return run(self, name, *how, **more)

    with StepProcesses() as processes:
        monkeypatch.setattr(StepProcesses, "run", note)
        monkeypatch.setattr(StepProcesses, "__init__", lambda _: pytest.fail("others were started"))
        run_local(asked, tmp_path, lambda steps: None, processes=processes)
    assert ran == ["resolve_source", "record_run"]


def test_gpus_of_this_machine_are_part_of_what_the_cache_goes_by(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = tmp_path / "gpus"
    monkeypatch.setattr("delivery.targets.local._GPUS", driver)
    monkeypatch.setattr("delivery.targets.local._WINDOWS", tmp_path / "dxg")
    without = local_image(tmp_path, tmp_path / "requirements.lock")
    assert gpus() == []
    (driver / "0000:01:00.0").mkdir(parents=True)
    assert gpus() == ["0000:01:00.0"]
    assert local_image(tmp_path, tmp_path / "requirements.lock") != without


@pytest.mark.parametrize("there", [True, False])
def test_run_without_the_gpu_that_the_settings_ask_for_says_so(
    there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("delivery.targets.local._GPUS", tmp_path if there else tmp_path / "none")
    monkeypatch.setattr("delivery.targets.local._WINDOWS", tmp_path / "dxg")
    (tmp_path / "0000:01:00.0").mkdir()
    monkeypatch.setenv("SLIPWAY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SLIPWAY_COMPUTE__TRAIN_MODEL__ACCELERATOR", "{kubeflow: nvidia.com/gpu}")

    def begin(request: RunRequest, *_: Any, **__: Any) -> None:
        assert request.arguments["training_accelerator"] == "", (
            "so that what is cached stays, whatever the settings ask"
        )
        raise typer.Exit(3)

    monkeypatch.setattr("delivery.targets.local.run_local", begin)
    done = slipway("run", "taxi")
    assert done.exit_code == 3
    assert ("train_model: the settings ask for a GPU; this machine has none" in done.stderr) is not there
