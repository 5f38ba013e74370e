import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from delivery.targets.local import last_words
from delivery.targets.step_process import StepProcesses
from slipway.limits import processors

SOURCE = """
from kfp import dsl
from kfp.dsl import *

def step(text: str):
    import os, sys
    if text == "fail":
        from slipway.errors import DataError
        raise DataError("row 7 is bad\\nfix row 7")
    if text == "hang":
        import time
        time.sleep(60)
    print("said", text, os.environ.get("EXTRA"), "tensorflow" in sys.modules)
    print("threads", os.environ.get("TF_NUM_INTEROP_THREADS"))
"""
SCRIPT = (
    'program_path=$(mktemp -d); printf "%s" "$0" > "$program_path/ephemeral_component.py"; '
    f"{shlex.quote(sys.executable)} -m kfp.dsl.executor_main "
    '--component_module_path "$program_path/ephemeral_component.py" "$@"'
)


def command(text: str, folder: Path) -> list[str]:
    executor_input = (
        f'{{"inputs": {{"parameterValues": {{"text": "{text}"}}}}, '
        f'"outputs": {{"outputFile": "{folder}/executor_output.json"}}}}'
    )
    return ["sh", "-c", SCRIPT, SOURCE, "--executor_input", executor_input, "--function_to_execute", "step"]


@pytest.fixture(params=["warm", "cold"])
def processes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> StepProcesses:
    if request.param == "cold":
        monkeypatch.setattr(sys, "platform", "darwin")
    elif sys.platform != "linux":
        pytest.skip("warm workers need Linux")
    return StepProcesses()


def test_run_step_writes_its_output_to_its_log(processes: StepProcesses, tmp_path: Path) -> None:
    log = tmp_path / "step.log"
    with processes:
        assert processes.run("step", command("hello", tmp_path), {"EXTRA": "42"}, log).exit_code == 0
    assert "said hello 42 False" in log.read_text()


def test_run_with_a_space_in_the_interpreters_path(
    processes: StepProcesses, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interpreter = tmp_path / "my python" / "python"
    interpreter.parent.mkdir()
    interpreter.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    interpreter.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(interpreter))
    script = SCRIPT.replace(sys.executable, str(interpreter))
    asked = [*command("hello", tmp_path)[:2], script, *command("hello", tmp_path)[3:]]
    with processes:
        assert processes.run("step", asked, {}, tmp_path / "step.log").exit_code == 0


def test_run_in_another_checkout_imports_nothing_of_it(
    processes: StepProcesses, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("components", "delivery", "slipway"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("raise SystemExit('of another checkout')\n")
    monkeypatch.chdir(tmp_path)
    with processes:
        processes.run("step", command("fail", tmp_path), {}, tmp_path / "step.log")
    assert last_words(tmp_path / "step.log") == "row 7 is bad\nfix row 7"


def test_run_failing_step_leaves_its_message_as_last_words(processes: StepProcesses, tmp_path: Path) -> None:
    log = tmp_path / "step.log"
    with processes:
        assert processes.run("step", command("fail", tmp_path), {}, log).exit_code == 1
    assert last_words(log) == "row 7 is bad\nfix row 7"
    assert 'raise DataError("row 7' in log.read_text(), "the traceback has the lines of the step's function"


@pytest.mark.skipif(sys.platform != "linux", reason="warm workers need Linux")
def test_run_gives_tensorflow_the_threads_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TF_NUM_INTEROP_THREADS", raising=False)
    with StepProcesses() as processes:
        processes.run("step", command("hello", tmp_path), {}, tmp_path / "step.log")
    assert f"threads {processors()}\n" in (tmp_path / "step.log").read_text()


@pytest.mark.skipif(sys.platform != "linux", reason="warm workers need Linux")
def test_run_after_a_failed_step_serves_the_next(tmp_path: Path) -> None:
    with StepProcesses() as processes:
        assert processes.run("step", command("fail", tmp_path), {}, tmp_path / "a.log").exit_code == 1
        assert processes.run("step", command("again", tmp_path), {}, tmp_path / "b.log").exit_code == 0


@pytest.mark.skipif(sys.platform != "linux", reason="warm workers need Linux")
def test_run_killed_parent_leaves_no_process_behind(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from delivery.targets.step_process import StepProcesses\n"
        "from tests.delivery.test_step_process import command\n"
        f"folder = Path({str(tmp_path)!r})\n"
        "with StepProcesses() as p: p.run('step', command('hang', folder), {}, folder / 'hang.log')"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], cwd=Path(__file__).parent.parent.parent)
    started = time.monotonic()
    children: list[psutil.Process] = []
    while len(children) < 2 and time.monotonic() - started < 60:
        time.sleep(0.1)
        children = psutil.Process(parent.pid).children(recursive=True)
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    gone, alive = psutil.wait_procs(children, timeout=10)
    assert len(gone) == 2
    assert not alive


def test_last_words_of_a_foreign_error_are_the_logs_last_lines(tmp_path: Path) -> None:
    log = tmp_path / "step.log"
    log.write_text("\n".join(f"line {n}" for n in range(100)))
    assert last_words(log).splitlines() == [f"line {n}" for n in range(85, 100)]
