"""The workflow from push to production, for each kind of push."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.ci.pushes import Pushes
from tests.fakes.image_registry import FakeRegistry
from tests.fakes.kubeflow import FakeKubeflow
from tests.fakes.storage_server import StorageServer

pytestmark = [
    pytest.mark.slow,
    # Five pushes, each with a dozen processes: seven minutes where eight others want the processor.
    pytest.mark.timeout(900),
    pytest.mark.skipif(not shutil.which("jq"), reason="the workflow needs jq, which GitHub's runners have: install it"),
]

MODULES = {
    f"modules/{name}/{file}": content
    for name in ("taxi", "wine")
    for file, content in {
        "module.yaml": "contract: 1\ntask: regression\nlabel: {column: price}\ndata: gs://bucket/rows.csv\n",
        "preprocessing.py": "def preprocessing_fn(inputs):\n    return inputs\n",
        "model.py": f"def build_model(features, hyperparameters):\n    return {name!r}\n",
    }.items()
}
NEW_MODEL = {"modules/taxi/model.py": "def build_model(features, hyperparameters):\n    return 1\n"}
NEWER_MODEL = {"modules/taxi/model.py": "def build_model(features, hyperparameters):\n    return 2\n"}
NEW_CODE = {"slipway/news.py": "NEWS = 1\n"}
NEWER_CODE = {"slipway/news.py": "NEWS = 2\n"}
README = {"README.md": "Read me.\n"}

STAGING = ["gcloud builds submit staging", "docker buildx", "gcloud done", "smoke"]
STAGING_WITH_BUILD = [*STAGING[:2], "docker build", *STAGING[2:]]
PRODUCTION = ["gcloud builds submit production", "docker buildx", "gcloud done"]


@pytest.fixture
def kubeflow() -> Iterator[FakeKubeflow]:
    with FakeKubeflow() as server:
        server.plan = ["SUCCEEDED"]
        yield server


@pytest.fixture
def pushes(tmp_path: Path, storage_server: StorageServer, kubeflow: FakeKubeflow) -> Iterator[Pushes]:
    """A project that was deployed once, to staging and to production."""
    with FakeRegistry() as registry:
        pushes = Pushes(tmp_path)
        settings = {
            f"settings/{name}.yaml": yaml.safe_dump(
                {
                    "remote_home": storage_server.uri(name),
                    "delivery": {"image_repository": registry.repository},
                    "kubeflow": {"endpoint": kubeflow.url},
                }
            )
            for name in ("staging", "production")
        }
        assert pushes.push(MODULES | settings) == STAGING_WITH_BUILD + PRODUCTION
        kubeflow.runs.clear()
        yield pushes


def test_pushes_do_what_changed_and_no_more(pushes: Pushes, kubeflow: FakeKubeflow) -> None:
    """Of two modules in two environments: docs, one module's code, the code around them, and both."""

    def submitted() -> list[str]:
        names = sorted(run["display_name"].partition("-")[0] for run in kubeflow.runs.values())
        kubeflow.runs.clear()
        return names

    assert (pushes.push(README), submitted()) == ([], [])
    assert (pushes.push(NEW_MODEL), submitted()) == (STAGING + PRODUCTION, ["taxi", "taxi"])
    all_of_them = ["taxi", "taxi", "wine", "wine"]
    assert (pushes.push(NEW_CODE), submitted()) == (STAGING_WITH_BUILD + PRODUCTION, all_of_them)
    assert (pushes.push(NEWER_MODEL | NEWER_CODE), submitted()) == (STAGING_WITH_BUILD + PRODUCTION, all_of_them)


def test_push_that_staging_answers_wrongly_does_not_reach_production(pushes: Pushes, kubeflow: FakeKubeflow) -> None:
    failed = pushes.push(NEW_MODEL, SMOKE="fail")
    assert failed == [*STAGING[:-1], "smoke failed", "failed: staging"]
    # Staging has it already, and is asked again nevertheless.
    assert pushes.push({"README.md": "Again.\n"}, SMOKE="fail") == ["smoke failed", "failed: staging"]
    assert pushes.push({"README.md": "And again.\n"}) == ["smoke", *PRODUCTION]
    assert len(kubeflow.runs) == 2


def test_push_with_a_red_ci_deploys_nothing(pushes: Pushes, kubeflow: FakeKubeflow) -> None:
    assert pushes.push(NEW_MODEL, CI_OF_PUSH="red") == ["failed: ci"]
    assert not kubeflow.runs


def test_push_whose_run_fails_ends_in_staging(pushes: Pushes, kubeflow: FakeKubeflow) -> None:
    kubeflow.plan = ["FAILED"]
    assert pushes.push(NEW_MODEL) == ["gcloud builds submit staging", "docker buildx", "failed: staging"]
