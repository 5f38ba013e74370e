"""Searches for hyperparameters, or goes on with what was found before."""

from __future__ import annotations

import functools
import hashlib
import json
import time
from pathlib import Path
from typing import Self

from pydantic import BaseModel

from components.train_model.config import TrainConfig
from slipway.compute import Distribution
from slipway.errors import ConfigError
from slipway.module_api import TUNED_TRAINING, Searched, Tuning
from slipway.module_kit.loader import defines, load_function
from slipway.runs.record import RunContext
from slipway.runs.store import view_run
from slipway.runs.summary import TUNING
from slipway.stores import storage
from slipway.tuning.budget import Budget
from slipway.tuning.goal import goal_of
from slipway.tuning.judge import Judge
from slipway.tuning.result import Tuned, TuningFile, TuningRecord, Winner
from slipway.tuning.sampler import importance, searched_names
from slipway.tuning.search import RULE, Search, costs
from slipway.tuning.space import FUNCTION, Space, Values
from slipway.tuning.trials import TrialFiles, read_if_whole

WINNER = "winner.json"
_UNITS = {"h": 3600, "d": 86_400}


class TuneConfig(BaseModel):
    """The parameter `tuning` of tune_model."""

    search_space: dict[str, Searched]
    tuning: Tuning

    def fixed(self, default: TrainConfig, given: TrainConfig) -> Self:
        """What the form gives another value than module.yaml is not searched: it is the only choice."""
        pairs = [
            *((name, value, default.hyperparameters[name]) for name, value in given.hyperparameters.items()),
            ("training.epochs", given.training.epochs, default.training.epochs),
        ]
        by_hand = {name: Searched(choices=(value,)) for name, value, own in pairs if value != own}
        return self.model_copy(update={"search_space": self.search_space | by_hand})


def tune(
    transform_path: str,
    transformed_path: str,
    model_uri: str,
    config: TrainConfig,
    wanted: TuneConfig,
    devices: Distribution,
    accelerator: str,
    tuning_uri: str,
    run: RunContext,
) -> TuningFile:
    """The winner of a search on the training split, or the last one where it is to be reused.

    Raises:
        ConfigError: there is nothing to search.
        ModuleError: the module cannot be trained with its own values.
        TrainingError: no trial can be trained.
    """
    goal = goal_of(config.task, wanted.tuning.metric, wanted.tuning.target)
    function = load_function(model_uri, "model", FUNCTION) if defines(model_uri, "model", FUNCTION) else None
    if not wanted.search_space and function is None:
        raise ConfigError(
            f"module.yaml has `tuning` and no search_space, and model.py defines no {FUNCTION}(trial): "
            "add one of them, or remove `tuning`"
        )
    space = Space(wanted.search_space, function)
    searched = searched_names(space) if function else list(wanted.search_space)
    data = _digest_data(transformed_path)
    values = Values(
        hyperparameters=config.hyperparameters, training=config.training.model_dump(include=set(TUNED_TRAINING))
    )
    below = storage.join(tuning_uri, _key(transform_path, model_uri, config, wanted, searched, devices, accelerator))
    last = read_if_whole(storage.join(below, WINNER), Winner)
    if last and last.data != data and not is_due(wanted.tuning.every, last):
        files = TrialFiles(storage.join(below, last.data))
        changed = last.tuned.values.unlike(values)
        tuned = last.tuned.model_copy(update={"ended": "reused", "target": wanted.tuning.target, "changed": changed})
        # Written again, so that a bucket's rule for old files leaves a winner that is in use.
        storage.write_text(storage.join(below, WINNER), last.model_dump_json(indent=1))
        trials = [one for number in range(tuned.trials) if (one := files.trial(number))]
        return TuningFile(tuned=tuned, trials=trials, uri=files.uri)

    files = TrialFiles(storage.join(below, data))

    def tell(line: str) -> None:
        print(line, flush=True)
        record = TuningRecord(progress=line, trials_uri=files.uri)
        storage.write_text(storage.join(run.uri, TUNING), record.model_dump_json(indent=1))

    by_hand = [name for name, one in wanted.search_space.items() if one.choices == (values.flat()[name],)]

    @functools.cache  # made for the first trial: a search that is done already reads no rows
    def judge() -> Judge:
        return _make_judge(transform_path, transformed_path, model_uri, config, wanted, devices, accelerator)

    seed = config.training.seed
    budget = Budget(wanted.tuning.seconds, files, run.uri, _has_failed)
    found = Search(wanted.tuning, goal, space, values, seed, files, budget, lambda *trial: judge()(*trial), tell).run()
    seconds = sum(clock.seconds for _, clock in files.clocks())
    tuned = Tuned.of(found, goal, by_hand, seconds, time.time())
    if last and tuned.model_copy(update={"found_at": last.tuned.found_at}) == last.tuned:
        tuned = last.tuned  # nothing was searched anew
    storage.write_text(storage.join(below, WINNER), Winner(data=data, tuned=tuned).model_dump_json(indent=1))
    tuned = tuned.model_copy(update={"changed": tuned.values.unlike(values)})
    decides = importance(found.trials, costs(found.trials, goal))
    return TuningFile(tuned=tuned, trials=found.trials, confirmed=found.confirmed, importance=decides, uri=files.uri)


def _has_failed(run: str) -> bool:
    """Whether a run failed; one without a record, such as one that was pruned, cannot tell."""
    return bool(storage.list_names(run)) and view_run(run).state == "failed"


def _make_judge(
    transform_path: str,
    transformed_path: str,
    model_uri: str,
    config: TrainConfig,
    wanted: TuneConfig,
    devices: Distribution,
    accelerator: str,
) -> Judge:
    from tensorflow_transform import TFTransformOutput

    from components.train_model.building import choose_acceleration, make_strategy
    from components.train_model.dataset import read_training_rows
    from components.tune_model.judging import TrainingJudge, choose_folds

    spec = TFTransformOutput(transform_path).transformed_feature_spec()
    rows = read_training_rows(transformed_path, spec, config)
    folds = choose_folds(len(rows.rows), rows.units, config.training.held_back, wanted.tuning.folds)
    strategy, acceleration = make_strategy(devices), choose_acceleration(devices, accelerator)
    return TrainingJudge(rows, config, spec, model_uri, strategy, wanted.tuning.metric, folds, acceleration)


def _digest_data(transformed_path: str) -> str:
    """SHA-256 of the transformed training split."""
    from slipway.data.examples.dataset import files_of_split

    digest = hashlib.sha256()
    for file in files_of_split(transformed_path, "train"):
        with Path(file).open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def _key(
    transform_path: str,
    model_uri: str,
    config: TrainConfig,
    wanted: TuneConfig,
    searched: list[str],
    devices: Distribution,
    accelerator: str,
) -> str:
    """SHA-256 of all but the data that decides a trial: schema, space, code, what is not searched, GPUs, and the rule.

    `trials`, `seconds`, `target`, `patience` and `every` decide which trials there are, not what they are.
    """
    from slipway.data.schema import model_inputs, read_schema

    training = config.training.model_dump(mode="json")
    given = config.hyperparameters
    other = {"workers", "target"}  # a trial has one machine, of whatever platform
    used = devices.model_dump(exclude=other)
    content = {
        "rule": RULE,
        "code": model_uri.partition("?")[0].rstrip("/").rpartition("/")[2],
        "schema": [(one.name, one.type) for one in model_inputs(read_schema(transform_path))],
        "space": {name: one.model_dump(mode="json") for name, one in wanted.search_space.items()},
        "tuning": wanted.tuning.model_dump(mode="json", include={"metric", "pruning", "folds"}),
        "task": config.model_dump(mode="json", include={"task", "label", "classes", "group"}),
        "training": {name: value for name, value in training.items() if f"training.{name}" not in searched},
        "hyperparameters": {name: value for name, value in given.items() if name not in searched},
        # By default as before there was this, so that trials of then stay.
        **({"devices": [used, accelerator]} if accelerator or used != Distribution().model_dump(exclude=other) else {}),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def is_due(every: str | None, last: Winner) -> bool:
    """Whether other data is searched anew."""
    if every in (None, "new_data"):
        return True
    return every != "never" and time.time() - last.tuned.found_at >= int(every[:-1]) * _UNITS[every[-1]]
