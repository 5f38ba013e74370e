"""tune_model's search beside KerasTuner's Hyperband, if it is installed, in the same budget.

    pip install keras-tuner tensorboard      # into .venv; no dependencies, and not in the locks

Both draw from one space, build with the module's `build_model`, train on the same rows of a run's transformed examples,
and are judged on the same held-back rows by the same class, `HalvesWatch`. A search has a process of its own. Its
budget is in seconds of the processor, so that other work on the machine takes nothing from one of them; it begins when
TensorFlow is loaded and the rows are read. Afterwards each winner is trained again with further seeds, which hold other
rows back: what a search found by luck shows there.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from benchmarks.measure import measure
from slipway.module_api import Searched, Tuning
from slipway.tuning.budget import Budget
from slipway.tuning.confirming import SEEDS
from slipway.tuning.goal import LOSS, goal_of
from slipway.tuning.search import Search
from slipway.tuning.space import Space, Values
from slipway.tuning.trials import TrialFiles

HEADER = (
    "data", "search", "best validation loss", "winners trained again", "trials a minute", "largest process MiB",
)  # fmt: skip
SECONDS = 45.0
SEARCHES = (1, 2, 3)  # their seeds
EPOCHS, PATIENCE, HELD_BACK = 18, 3, 0.2
TRIALS = 10_000  # more than the seconds allow
SYSTEMS = {"slipway": "tune_model", "hyperband": "KerasTuner's Hyperband"}


@dataclass(frozen=True)
class Subject:
    """What is searched: a module, the outputs of transform_features in a run of it, and the space."""

    name: str
    module: Path
    transform_graph: str
    transformed_examples: str
    space: dict[str, Any]


def subject_of(name: str, module: Path, run: dict[str, Any]) -> Subject:
    """Of a run of a module, with the usual space of its hyperparameters."""
    from slipway.module_kit.config import read_config

    usual: dict[str, Any] = {
        "hidden": {"min": 16, "max": 128, "log": True, "length": [1, 3]},
        "dropout": {"min": 0.0, "max": 0.5},
        "learning_rate": {"min": 0.0005, "max": 0.02, "log": True},
        "embedding": {"min": 4, "max": 16},
        "training.batch_size": {"choices": [128, 256, 512, 1024]},
    }
    known = {*read_config(module).hyperparameters, "training.batch_size"}
    space = {key: value for key, value in usual.items() if key in known}
    artifacts = run["artifacts"]
    return Subject(name, module, artifacts["transform_graph"], artifacts["transformed_examples"], space)


def compare_searches(subjects: Sequence[Subject], work: Path) -> Iterator[tuple[str, ...]]:
    """A row for each data set and search: means of three seeds, with the least and the greatest."""
    for subject in subjects:
        for system, name in SYSTEMS.items():
            if system == "hyperband" and not (find_spec("keras_tuner") and find_spec("tensorboard")):
                yield subject.name, name, "not installed: pip install keras-tuner tensorboard", "", "", ""
                continue
            found: list[dict[str, float]] = []
            for seed in SEARCHES:
                task = work / f"{subject.name}-{system}-{seed}.json"
                task.write_text(json.dumps({"system": system, "seed": seed, **vars(subject)}, default=str))
                cost = measure([sys.executable, "-m", "benchmarks.tuning", str(task)])
                answer = json.loads(cost.output.strip().splitlines()[-1])
                print(subject.name, system, seed, answer, f"{cost.cpu_seconds:.0f} CPU s", file=sys.stderr, flush=True)
                found.append({**answer, "peak_mib": cost.peak_mib})
            best, again, trials, peak = (
                [one[key] for one in found] for key in ("best", "again", "trials_a_minute", "peak_mib")
            )
            yield (
                subject.name,
                name,
                _spread(best),
                _spread(again),
                f"{statistics.mean(trials):.0f}",
                f"{max(peak):.0f}",
            )


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.mean(values):.4f} ({min(values):.4f} to {max(values):.4f})"


def search(task: dict[str, Any]) -> dict[str, float]:
    """One search and, outside of its budget, its winner with further seeds."""
    import tensorflow as tf
    from tensorflow_transform import TFTransformOutput

    from components.train_model.config import TrainConfig
    from components.train_model.dataset import read_training_rows
    from components.tune_model.judging import TrainingJudge
    from slipway.module_kit.config import read_config
    from slipway.stores.module_store import publish_module

    seed = task["seed"]
    content = read_config(Path(task["module"])).model_dump(include=set(TrainConfig.model_fields))
    content["training"] |= {"seed": seed, "epochs": EPOCHS, "patience": PATIENCE, "held_back": HELD_BACK}
    config = TrainConfig.model_validate(content)
    spec = TFTransformOutput(task["transform_graph"]).transformed_feature_spec()
    rows = read_training_rows(task["transformed_examples"], spec, config)
    space = Space({name: Searched.model_validate(one) for name, one in task["space"].items()})
    with tempfile.TemporaryDirectory(prefix="slipway-tuning-") as folder:
        model_uri = publish_module(task["module"], folder).model_uri
        judge = TrainingJudge(rows, config, spec, model_uri, tf.distribute.get_strategy(), LOSS, folds=1)
        if task["system"] == "slipway":
            values, best, trials, spent = _with_tune_model(config, space, judge, folder)
        else:
            values, best, trials, spent = _with_hyperband(config, space, rows, spec, model_uri, folder)
        seeds = range(seed + 1, seed + 1 + SEEDS)
        again = [judge(values, one, lambda *_: None, lambda: None).folds[0] for one in seeds]
    return {"best": best, "again": statistics.mean(again), "trials_a_minute": 60 * trials / spent}


def _with_tune_model(config: Any, space: Space, judge: Any, folder: str) -> tuple[Values, float, int, float]:
    wanted = Tuning(trials=TRIALS, seconds=SECONDS, folds=1)
    own = Values(hyperparameters=config.hyperparameters, training={"batch_size": config.training.batch_size})
    files = TrialFiles(f"{folder}/trials")
    clock = SimpleNamespace(time=time.process_time, monotonic=time.process_time)
    with patch("slipway.tuning.search.time", clock), patch("slipway.tuning.budget.time", clock):
        goal = goal_of(config.task, LOSS, None)
        budget = Budget(SECONDS, files, "", lambda _: False)
        found = Search(wanted, goal, space, own, config.training.seed, files, budget, judge, lambda _: None).run()
    best = min(one.value for one in found.trials if one.value is not None)
    spent = sum(clock.seconds for name, clock in files.clocks() if name.startswith("trial"))
    return found.values, best, len(found.trials), spent


def _with_hyperband(
    config: Any, space: Space, rows: Any, spec: Any, model_uri: str, folder: str
) -> tuple[Values, float, int, float]:
    import keras
    import keras_tuner

    from components.train_model.building import build
    from components.tune_model.judging import HalvesWatch

    started = time.process_time()

    class OverError(BaseException):
        """The budget is spent; KerasTuner takes an Exception for a trial that failed."""

    def check() -> None:
        if time.process_time() - started > SECONDS:
            raise OverError

    def values_of(hp: Any) -> Values:
        return space.draw(_Drawn(hp))  # type: ignore[arg-type]

    class _Epoch(keras.callbacks.Callback):  # type: ignore[misc]
        def __init__(self, number: int) -> None:
            super().__init__()
            self.number = number

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.number = epoch

    class Module(keras_tuner.HyperModel):  # type: ignore[misc]
        def build(self, hp: Any) -> keras.Model:
            return build(
                model_uri, spec, config.given(EPOCHS, config.training.seed, "", values_of(hp).model_dump_json())
            )

        def fit(  # by the names that KerasTuner gives
            self, hp: Any, model: keras.Model, callbacks: Any, epochs: int, initial_epoch: int, verbose: int
        ) -> float:
            training = config.given(epochs, config.training.seed, "", values_of(hp).model_dump_json()).training
            data = rows.hold_back(config)
            epoch = _Epoch(initial_epoch)
            batches, _ = data.training_batches(training.batch_size, training.seed, lambda: epoch.number)
            watch = HalvesWatch(rows.only(data.validation), config, LOSS, check)
            model.fit(
                batches,
                initial_epoch=initial_epoch,
                epochs=epochs,
                validation_data=data.validation_batches(),
                callbacks=[epoch, *callbacks, keras.callbacks.EarlyStopping(patience=PATIENCE), watch],
                shuffle=False,
                verbose=verbose,
            )
            return watch.value()

    tuner = keras_tuner.Hyperband(
        Module(),
        objective=keras_tuner.Objective(LOSS, "min"),
        max_epochs=EPOCHS,
        hyperband_iterations=1_000,
        seed=config.training.seed,
        directory=folder,
        project_name="hyperband",
        max_consecutive_failed_trials=1,
    )
    with suppress(OverError):
        tuner.search(verbose=0)
    spent = time.process_time() - started
    done = [one for one in tuner.oracle.trials.values() if one.status == "COMPLETED"]
    best = min(done, key=lambda one: one.score)
    return values_of(best.hyperparameters), best.score, len(done), spent


class _Drawn:
    """KerasTuner's hyperparameters by the names of Optuna's methods, for `Space.draw`."""

    def __init__(self, hp: Any) -> None:
        self._hp = hp

    def suggest_int(self, name: str, low: int, high: int, step: int = 1, log: bool = False) -> int:
        return int(self._hp.Int(name, low, high, **({"sampling": "log"} if log else {"step": step})))

    def suggest_float(self, name: str, low: float, high: float, step: float | None = None, log: bool = False) -> float:
        return float(self._hp.Float(name, low, high, **({"sampling": "log"} if log else {"step": step})))

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return self._hp.Choice(name, list(choices))


if __name__ == "__main__":
    print(json.dumps(search(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))))
