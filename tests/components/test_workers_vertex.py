"""The replicas of a custom job of Vertex: which one is the chief, and what the others leave."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from components.train_model import workers
from components.train_model.building import build
from components.train_model.dataset import read_training_data
from components.train_model.fitting import Checkpoints, fit
from components.train_model.together import WorkerInputs
from components.train_model.workers import VertexWorkers
from serving.predictor import Predictor
from slipway.errors import ConfigError
from tests.components.worker_inputs import ALL_ROWS, CLUSTER, run_step, tf_config
from tests.shapes import Artifacts, make_transformed


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Artifacts:
    return make_transformed(tmp_path_factory)


@pytest.mark.parametrize(("kind", "index", "number"), [("chief", 0, 0), ("worker", 0, 1), ("worker", 1, 2)])
def test_vertex_replica_knows_its_number(kind: str, index: int, number: int) -> None:
    found = VertexWorkers(3, tf_config(kind, index))
    assert (found.index, len(found.hosts), found.hosts[0]) == (number, 3, CLUSTER["chief"][0])


@pytest.mark.parametrize("environment", [{}, {"TF_CONFIG": "{}"}, {"TF_CONFIG": "no"}, tf_config("ps", 0)])
def test_vertex_step_outside_of_a_custom_job_is_refused(environment: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=r"TF_CONFIG = .*custom job"):
        VertexWorkers(3, environment)


def test_vertex_job_of_another_size_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"names 3 replicas, not distribution\.workers = 2"):
        VertexWorkers(2, tf_config("chief", 0))


@pytest.mark.parametrize("is_chief", [True, False])
def test_replica_that_is_not_the_chief_ends_without_outputs(
    artifacts: Artifacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_chief: bool
) -> None:
    """The others write nothing: outputs are the chief's, from the last checkpoint."""
    asked = []

    def train_alone(inputs: WorkerInputs, start: Any, restarts: int) -> bool:
        asked.append(restarts)
        if not is_chief:
            Path(inputs.checkpoints_uri).mkdir(parents=True)
            Path(inputs.checkpoints_uri, "a.npz").touch()
            return False
        data = read_training_data(inputs.transformed_uri, inputs.spec, inputs.config)
        model = build(inputs.model_uri, inputs.spec, inputs.config)
        fit(model, data, inputs.config.training, Checkpoints(inputs.checkpoints_uri))
        return True

    monkeypatch.setattr(workers, "run_workers", train_alone)
    for name, value in tf_config("chief" if is_chief else "worker", 0).items():
        monkeypatch.setenv(name, value)
    distribution = {"workers": 3, "target": "vertex"}
    if is_chief:
        history = run_step(artifacts, tmp_path, distribution, epochs=2)
        assert (history.stopped, history.train_rows, history.validation_rows) == ("epochs", ALL_ROWS, 60)
        assert history.resumed_after_epoch is None, "nothing was killed"
        assert Predictor(tmp_path / "model").signatures
        assert not list((tmp_path / "checkpoints").rglob("*.npz"))
    else:
        with pytest.raises(Exception, match="log"):  # there is no history to read
            run_step(artifacts, tmp_path, distribution, epochs=2)
        assert not (tmp_path / "model").exists()
        assert list((tmp_path / "checkpoints").rglob("*.npz")), "the chief has not read them yet"
    assert asked == [0], "Vertex itself starts all replicas again"


def test_step_started_again_after_the_training_starts_no_workers(
    artifacts: Artifacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "run_workers", lambda *_: pytest.fail("trained again"))
    monkeypatch.setattr(Checkpoints, "hold_finished", lambda _: True)
    with pytest.raises(Exception, match="last checkpoint is not at"):
        run_step(artifacts, tmp_path, {"workers": 2}, epochs=2)
