"""What the workflow calls and no test may: each writes down how it was called, and refuses what the real one would.

Run as a script, with the name of the program first. `gcloud` plays Cloud Build: it uploads what .gcloudignore lets
through, and runs the script of the last step of cloudbuild.yaml there.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import yaml

BIN = Path(sys.executable).parent
PROGRAMS = ("apt-get", "docker", "gcloud", "pytest")
# https://cloud.google.com/build/docs/configuring-builds/substitute-variable-values
LONGEST_SUBSTITUTION = 4000


def install(checkout: Path) -> None:
    """What `make .venv/.installed-dev` makes, so that it finds nothing to do; pytest is a fake."""
    programs = checkout / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name in ("python", "slipway"):
        (programs / name).symlink_to(BIN / name)
    write_programs(programs, "pytest")
    for name in (".uv", ".installed", ".installed-dev"):
        (checkout / ".venv" / name).touch()


def write_programs(folder: Path, *names: str) -> None:
    """Puts fakes of these names into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    call = shlex.join([sys.executable, str(Path(__file__).resolve())])
    for name in names:
        (folder / name).write_text(f'#!/bin/sh\nexec {call} {name} "$@"\n')
        (folder / name).chmod(0o755)


def docker(arguments: list[str]) -> str:
    """Knows `buildx create`, and `build` with what deploy gives it, which pushes."""
    match arguments:
        case ["buildx", "create", "--use"]:
            return "docker buildx"
        case ["build", "--platform", "linux/amd64", "--tag", reference, "--build-arg", revision, *options, "."]:
            *pushed, source, target = options
            assert re.fullmatch(r"GIT_REVISION=[0-9a-f]{40}", revision), revision
            cache = "type=registry,ref=europe-docker.pkg.dev/project/slipway/cache"
            assert (source, target) == (f"--cache-from={cache}", f"--cache-to={cache},mode=max")
            assert pushed == ["--push", "--provenance=mode=max", "--sbom=true"]
            assert Path("Dockerfile").is_file()
            put(reference)
            return "docker build"
    sys.exit(f"docker: unknown: {arguments}")


def put(reference: str) -> None:
    """Puts a tag into the fake registry."""
    host, _, rest = reference.partition("/")
    name, _, tag = rest.rpartition(":")
    url = f"http://{host}/v2/{name}/manifests/{tag}"
    urllib.request.urlopen(urllib.request.Request(url, method="PUT", data=b"x")).close()


def gcloud(arguments: list[str]) -> str:
    """Knows `builds submit` as the Makefile calls it."""
    options = dict(zip(arguments[2:-1:2], arguments[3:-1:2], strict=True))
    assert [*arguments[:2], arguments[-1]] == ["builds", "submit", "."], arguments
    substitutions = dict(pair.split("=", 1) for pair in options.pop("--substitutions").split(","))
    assert options == {
        "--config": "cloudbuild.yaml",
        "--project": "project",
        "--region": "europe-west1",
        "--service-account": "projects/project/serviceAccounts/builder@project.iam.gserviceaccount.com",
        "--gcs-source-staging-dir": "gs://project-builds/source",
        "--gcs-log-dir": "gs://project-builds/source/logs",
    }, options
    config = yaml.safe_load(Path("cloudbuild.yaml").read_text())
    assert set(substitutions) == set(config["substitutions"])
    assert max(map(len, substitutions.values())) <= LONGEST_SUBSTITUTION
    note(f"gcloud builds submit {Path.cwd().name}")
    source = upload()
    step = config["steps"][-1]
    filled = [re.sub(r"\$(_[A-Z]+)", lambda found: substitutions[found[1]], one) for one in step["env"]]
    given = dict(one.split("=", 1) for one in filled) | {"PATH": os.environ["PATH"], "PYTHONPATH": str(source)}
    code = subprocess.run(["bash", "-c", step["script"]], cwd=source, env=os.environ | given, check=False).returncode
    if code:
        sys.exit(code)
    return "gcloud done"


def upload() -> Path:
    """A copy of the working folder, as .gcloudignore has it: what Git does not ignore, the plan, and .git itself."""
    rules = [line for line in Path(".gcloudignore").read_text().splitlines() if not line.startswith("# ")]
    assert rules == ["#!include:.gitignore", "!/plan.json"]
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    files = subprocess.run(listed, capture_output=True, text=True, check=True).stdout.splitlines()
    files.append("plan.json")
    source = Path.cwd().with_name(f"{Path.cwd().name}-upload")
    for file in files:
        (source / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, source / file)
    assert not list(source.glob("gha-creds-*")), "the login of the workflow must not be uploaded"
    shutil.copytree(".git", source / ".git")
    install(source)
    return source


def pytest(arguments: list[str]) -> str:
    """Knows the smoke test; `SMOKE=fail` makes it fail."""
    assert arguments == ["tests/conformance/test_smoke.py"], arguments
    told = {name: value for name, value in os.environ.items() if name.startswith("SLIPWAY_CONFORMANCE_")}
    assert told == {
        "SLIPWAY_CONFORMANCE_REST": "serving.staging:8501",
        "SLIPWAY_CONFORMANCE_GRPC": "serving.staging:8500",
        "SLIPWAY_CONFORMANCE_STORE": "gs://bucket/staging/models",
    }
    if os.environ.get("SMOKE") == "fail":
        note("smoke failed")
        sys.exit(1)
    return "smoke"


def note(call: str) -> None:
    """Writes a call down."""
    with Path(os.environ["CALLS"]).open("a") as calls:
        print(json.dumps(call), file=calls)


if __name__ == "__main__":
    program, *given = sys.argv[1:]
    if program != "apt-get":
        note({"docker": docker, "gcloud": gcloud, "pytest": pytest}[program](given))
