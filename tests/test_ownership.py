"""A fork that is filled in as the guides say, and an upstream that changed meanwhile, are merged without a conflict."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from settings.load import PROJECT
from tests.docs.runbooks import Operator

pytestmark = pytest.mark.slow

ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith(("SLIPWAY_", "PYTEST_"))}
DIGEST = "sha256:" + "a" * 64
IMAGE = f"registry.example/slipway@{DIGEST}"
# "Whose file is whose" of docs/operations.md.
ENVIRONMENTS = ("staging", "production")
OF_A_FORK = [
    *(f"settings/{name}.yaml" for name in ENVIRONMENTS),
    *(f"manifests/*/{name}/*" for name in ENVIRONMENTS),
    "infrastructure/*.tfvars",
]
COMMENTS = {".py": "#", ".yaml": "#", ".yml": "#", ".toml": "#", ".tf": "#", ".lock": "#", ".in": "#", ".txt": "#",
            ".config": "#", ".pbtxt": "#", ".Dockerfile": "#", ".sql": "--", ".md": "", ".json": " "}  # fmt: skip
NAMED = {"Makefile", "Dockerfile", ".gitignore", ".gcloudignore", ".dockerignore", ".yamllint", "LICENSE", ".ci"}
# As docs/kubeflow.md and docs/vertex.md say, for each environment.
VALUES = {
    r"sha256:0{64}": DIGEST,
    r"PROJECT(-staging)?(?=\.iam)": "acme-ml-ENV",
    r"REGION-docker\.pkg\.dev/PROJECT": "europe-west1-docker.pkg.dev/acme-ml-ENV",
    r"gs://BUCKET": "gs://acme-ml-ENV-slipway",
}
SETTINGS = """
remote_home: gs://acme-ml-ENV-slipway
kubeflow: {endpoint: "https://kubeflow.example.com", service_account: slipway-pipeline-ENV}
delivery: {target: kubeflow, image_repository: registry.example/slipway}
serving: {overlay: ENV}
schedules: {nightly: {module: churn, cron: 0 3 * * *}}
"""
SUBJECT = (
    "  - {kind: User, apiGroup: rbac.authorization.k8s.io, name: slipway-build@acme-ml-ENV.iam.gserviceaccount.com}\n"
)


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def is_of_a_fork(path: str) -> bool:
    return any(fnmatchcase(path, pattern) for pattern in OF_A_FORK)


@pytest.fixture(scope="module")
def merged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fork's checkout after the merge."""
    folder = tmp_path_factory.mktemp("ownership")
    upstream, fork = folder / "upstream", folder / "fork"
    git(folder, "clone", "--quiet", "--no-local", str(PROJECT), str(upstream))
    git(folder, "clone", "--quiet", str(upstream), str(fork))
    fill_in(fork)
    git(fork, "add", "--all")
    git(fork, "commit", "--quiet", "--message", "Ours")
    change(upstream)
    git(upstream, "add", "--all")
    git(upstream, "commit", "--quiet", "--message", "Theirs")
    git(fork, "fetch", "--quiet", "origin")
    git(fork, "merge", "--quiet", "--no-edit", "FETCH_HEAD")
    return fork


def fill_in(fork: Path) -> None:
    """Everything that a guide tells to write or to change."""
    for name in ENVIRONMENTS:
        for path in [path for path in fork.glob(f"manifests/*/{name}/*") if path.is_file()]:
            text = path.read_text()
            for pattern, value in VALUES.items():
                text = re.sub(pattern, value.replace("ENV", name), text)
            path.write_text(text)
        binding = fork / f"manifests/rollout-access/{name}/role-binding.yaml"
        binding.write_text(binding.read_text() + SUBJECT.replace("ENV", name))
        (fork / f"settings/{name}.yaml").write_text(SETTINGS.replace("ENV", name))
        (fork / f"infrastructure/{name}.tfvars").write_text('project = "acme-ml"\nmodels  = ["taxi", "churn"]\n')
    (fork / "customers.csv").write_text("age,plan,churned\n" + "".join(f"{n},{n % 3},{n % 2}\n" for n in range(400)))
    slipway(fork, "module", "new", "churn", "--data", "customers.csv", "--label", "churned")
    (fork / "customers.csv").unlink()
    module = fork / "modules" / "churn" / "module.yaml"
    module.write_text(re.sub("^data: .*", "data: gs://acme-ml-data/customers.csv", module.read_text(), flags=re.M))
    operator = Operator({}, folder=fork)
    operator.run("Another environment", last="perl")
    (fork / "features" / "customer").mkdir(parents=True)
    (fork / "features" / "customer" / "daily.sql").write_text("-- owner: science@acme.example\nSELECT 1\n")
    (fork / ".github" / "CODEOWNERS").write_text("/modules/churn/ @acme/science\n")
    (fork / ".github" / "workflows" / "qa.yaml").write_text("# deploys qa\n")


def change(upstream: Path) -> None:
    """Something in each of upstream's files, at both ends; and files that come, go, and move."""
    for path in map(Path, git(upstream, "ls-files").splitlines()):
        file = upstream / path
        if is_of_a_fork(str(path)) or file.is_symlink() or b"\0" in file.read_bytes()[:1000]:
            continue
        comment = COMMENTS.get(path.suffix, "#" if path.name in NAMED else None)
        if comment is None:
            continue
        text = file.read_text()
        first = "" if text.startswith(("#!", "---")) or comment in ("", " ") else f"{comment} news\n"
        file.write_text(f"{first}{text}{comment} news\n" if comment.strip() else f"{text}\n")
    (upstream / "modules" / "news").mkdir()
    (upstream / "modules" / "news" / "README.md").write_text("News\n")
    (upstream / "manifests" / "components" / "canary" / "news.yaml").write_text("{}\n")
    git(upstream, "mv", "docs/loan.md", "docs/loans.md")
    git(upstream, "rm", "--quiet", "--force", "docs/digits.md")


def slipway(checkout: Path, *arguments: str) -> str:
    """The command of a checkout, with the packages of this one."""
    done = subprocess.run(
        [sys.executable, "-m", "cli.main", *arguments],
        cwd=checkout,
        env=ENVIRONMENT | {"PYTHONPATH": str(checkout), "SLIPWAY_HOME": str(checkout / ".slipway")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_merge_of_a_changed_upstream_has_no_conflict_and_both_sides(merged: Path) -> None:
    assert git(merged, "status", "--porcelain") == ""
    ours, theirs = (set(git(merged, "diff", "--name-only", f"HEAD^{side}", "HEAD").splitlines()) for side in (2, 1))
    rooms = ("modules/churn/", "features/", "manifests/", "settings/", ".github/")
    others = {path for path in ours if not path.startswith(rooms)}
    assert others == {f"infrastructure/{name}.tfvars" for name in ENVIRONMENTS}
    assert len(theirs) > 500
    assert {"cloudbuild.yaml", "Dockerfile", ".github/workflows/deploy.yaml", "settings/base.yaml"} <= theirs


@pytest.mark.parametrize("environment", [*ENVIRONMENTS, "qa"])
def test_merged_fork_compiles_plans_and_checks(merged: Path, environment: str) -> None:
    planned = json.loads(slipway(merged, "plan", "--env", environment, "--offline", "--json"))
    assert f"slipway submit churn --target kubeflow --env {environment}" in "\n".join(planned["commands"])
    spec = merged / "pipeline.yaml"
    slipway(merged, "compile", "churn", "--target", "kubeflow", "--env", environment, "--image", IMAGE,
            "--output", str(spec))  # fmt: skip
    assert spec.stat().st_size > 1000
    spec.unlink()


@pytest.mark.parametrize("environment", [*ENVIRONMENTS, "qa"])
def test_merged_overlay_is_filled_in_and_has_its_namespace(merged: Path, environment: str) -> None:
    check = (
        "import sys; from pathlib import Path; from delivery.manifests import render_overlay;"
        "from serving.manifests import require_filled_in, namespace_of;"
        f"o = render_overlay(Path('manifests/overlays/{environment}'), '{IMAGE}'); require_filled_in(o);"
        "print(namespace_of(o))"
    )
    done = subprocess.run([sys.executable, "-c", check], cwd=merged, env=ENVIRONMENT | {"PYTHONPATH": str(merged)},
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert done.stdout.strip() == f"slipway-{environment}", done.stderr


def test_merged_fork_passes_the_tests_of_what_it_filled_in(merged: Path) -> None:
    """Without a green ci nothing is deployed."""
    tests = [
        "tests/manifests",
        "tests/infrastructure",
        "tests/settings",
        "tests/ci/test_static.py",
        "tests/cli/test_rollout.py",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-m", "not slow", "-p", "no:cacheprovider", *tests],
        cwd=merged,
        env=ENVIRONMENT | {"PYTHONPATH": str(merged)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]
