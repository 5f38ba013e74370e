"""The main help, the version, completion, old spellings and the error line."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cli import main
from cli.main import TABLE, Command, app
from delivery.launch import RunRequest
from slipway import __version__
from slipway.errors import ConfigError, DataError
from slipway.runs.record import Step, StepsFile
from tests.compiled.specs import IMAGE
from tests.recorded_runs import WHY_FAILED, write_run

ESCAPE = "\x1b]0;pwned\x07\x9b31m\u202e"


def slipway(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments, catch_exceptions=False)


def python(code: str, **variables: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ | variables
    )
    return done.stdout


def test_main_help_lists_all_commands_in_groups_and_imports_none() -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from cli.main import app;"
        "print(CliRunner().invoke(app, ['--help']).output);"
        "heavy = {'pydantic', 'yaml', 'kfp', 'tensorflow', 'settings', 'cli.run', 'cli.models', 'cli.serve'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    shown, _, imported = python(code).rstrip().rpartition("\n")
    assert imported == "[]"
    for panel in ("Data", "Runs", "Models", "Serving", "Delivery"):
        assert f"─ {panel} ─" in shown
    assert {command.name for command in TABLE} <= set(re.findall(r"│ ([a-z-]+) ", shown))


def test_help_of_no_command_needs_what_takes_long_to_import() -> None:
    code = """
import sys
from typer.testing import CliRunner
from cli.main import TABLE, app
heavy = "tensorflow keras kfp numpy pyarrow duckdb grpc aiohttp uvicorn google.protobuf kubernetes".split()
for command in TABLE:
    done = CliRunner().invoke(app, [command.name, "--help"])
    print(command.name, done.exit_code, [name for name in heavy if name in sys.modules])
"""
    assert python(code).splitlines() == [f"{command.name} 0 []" for command in TABLE]


@pytest.mark.parametrize("command", TABLE, ids=lambda command: command.name)
def test_help_names_arguments_in_capitals(command: Command) -> None:
    loaded = command.load()
    for one in getattr(loaded, "commands", {"": loaded}).values():
        assert one.help
        for parameter in one.params:
            if parameter.param_type_name == "argument":
                assert parameter.metavar == parameter.metavar.upper()


def test_version_is_printed_where_no_package_was_installed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    assert version("slipway") == __version__, "what pip shows"
    monkeypatch.setattr("importlib.metadata.version", lambda _: pytest.fail("the image has no metadata of ours"))
    assert slipway("--version").stdout == f"slipway {__version__}\n"


def test_completion_knows_the_commands() -> None:
    completed = python(
        "from cli.main import app\ntry: app(prog_name='slipway')\nexcept SystemExit: pass",
        _SLIPWAY_COMPLETE="complete_bash", COMP_WORDS="slipway mod", COMP_CWORD="1",
    )  # fmt: skip
    assert completed.split() == ["module", "models"]


def test_every_command_that_reads_or_writes_state_takes_env() -> None:
    without = set()
    for name, command in ((one.name, one.load()) for one in TABLE):
        for one in getattr(command, "commands", {name: command}).values():
            if not any("--env" in parameter.opts for parameter in one.params):
                without.add(f"{name} {one.name}" if one is not command else name)
    assert without == {"gate selftest", "loop demo", "request-log run", "protoset"}


def test_main_error_line_escapes_control_characters(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(obj: object) -> None:
        raise DataError(f"column {ESCAPE}\nis odd")

    monkeypatch.setattr(main, "app", fail)
    with pytest.raises(SystemExit) as ended:
        main.run()
    assert ended.value.code == 1
    assert capsys.readouterr().err == "error: column \\u001b]0;pwned\\u0007\\u009b31m\\u202e\nis odd\n"


@pytest.mark.parametrize(
    "arguments",
    ["runs list", "runs show", "runs show --json", "runs logs", "explain", "explain --json"],
)
def test_control_characters_of_a_record_are_printed_escaped(
    arguments: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_run(tmp_path, "taxi-1", "failed")
    (folder / "logs" / "validate_examples.log").write_text(ESCAPE)
    for path in folder.glob("*.json"):
        path.write_text(path.read_text().replace("trip_miles", json.dumps(ESCAPE)[1:-1]))
    monkeypatch.setenv("SLIPWAY_HOME", str(tmp_path))
    shown = slipway(*arguments.split()).stdout
    assert "\\u001b]0;pwned\\u0007" in shown
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", shown)


def test_times_in_json_are_iso_8601_with_a_zone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_run(tmp_path, "taxi-1", "failed", started=1_750_000_000.0)
    monkeypatch.setenv("SLIPWAY_HOME", str(tmp_path))
    for command in (["runs", "show"], ["explain"]):
        assert json.loads(slipway(*command, "--json").stdout)["started"] == "2025-06-15T15:06:40.000+00:00"


def test_run_takes_the_module_as_argument_or_as_the_old_option() -> None:
    for arguments in (["none"], ["--module", "none"]):
        with pytest.raises(ConfigError, match="no module 'none'"):
            slipway("run", *arguments)
    assert slipway("run", "none", "--module", "other").exit_code == 2
    assert "--module" not in slipway("run", "--help").stdout


@pytest.mark.parametrize("env", [(), ("--env", "staging")])
def test_compile_without_a_bucket_writes_a_file_for_reading_alone(
    env: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SLIPWAY_REMOTE_HOME", raising=False)
    result = slipway("compile", "taxi", "--target", "kubeflow", "-o", str(tmp_path / "p.yaml"), "--image", IMAGE, *env)
    assert result.exit_code == 0
    assert "remote_home" in result.stderr
    assert "gs://BUCKET/slipway/models" in (tmp_path / "p.yaml").read_text()


def test_compile_imports_neither_kfps_client_nor_that_of_kubernetes(tmp_path: Path) -> None:
    arguments = ["compile", "--target", "vertex", "--image", IMAGE, "-o", str(tmp_path / "p.yaml")]
    code = (
        "import os, sys; from typer.testing import CliRunner; from cli.main import app;"
        f"done = CliRunner().invoke(app, {arguments});"
        "print(done.exit_code, '_KFP_RUNTIME' in os.environ, sorted({'kfp.client', 'kubernetes'} & set(sys.modules)))"
    )
    assert python(code).splitlines()[-1] == "0 False []"


def test_compile_names_an_image_without_digest_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        slipway("compile", "--target", "vertex", "-o", str(tmp_path / "p.yaml"), "--image", "slipway:latest")
    assert str(refused.value).count("slipway:latest") == 1


def test_run_in_another_home_finds_its_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run_local(request: RunRequest, home: Path, on_change: object, **_: object) -> StepsFile:
        write_run(home, request.lineage.run, "failed")
        return StepsFile(lineage=request.lineage, pid=1, steps=[Step(name="validate_examples", state="failed")])

    monkeypatch.setattr("delivery.targets.local.run_local", run_local)
    monkeypatch.setenv("SLIPWAY_HOME", str(tmp_path / "home"))
    done = slipway("run", "taxi", "--data", "none.csv", "--set", f"home={tmp_path / 'other'}")
    assert done.exit_code == 1
    assert WHY_FAILED in done.stdout
    assert not (tmp_path / "home").exists()
