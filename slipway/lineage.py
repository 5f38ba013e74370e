"""The lineage of a run and of the model that it trained."""

from __future__ import annotations

import getpass
import json
import os
import socket
from typing import Any, Literal, Self

from pydantic import BaseModel, Field

from slipway.errors import ConfigError
from slipway.fields import HYPERPARAMETERS, KEYS, with_hyperparameters
from slipway.targets import DEFAULT_PIPELINE, Target


class Verdict(BaseModel):
    """The words for a verdict of `Outcome`; `{version}` and `{module}` stand for those of the run.

    `text` completes "the run was …", `news` is the subject of a notification. Every field has a default, here and in
    `Shows`, so that the manifest of an old version can be read by a later release.
    """

    text: str = ""
    news: str = ""
    tone: Literal["good", "warn", "bad"] = "good"


class Shows(BaseModel):
    """What the records of a pipeline's runs show. A field that names an artifact is empty if there is none."""

    examples: str = Field("", description="artifact with the examples: their rows and their digest")
    statistics: str = Field("", description="artifact with their statistics; the next run is compared with them")
    data_validation: str = Field("", description="artifact with the anomalies that were found in the examples")
    training_log: str = Field("", description="artifact with loss and metrics by epoch")
    evaluation: str = Field("", description="artifact with metrics and the verdict of the gate")
    serving_checks: str = Field("", description="artifact with checks of the model on a server")
    pages: dict[str, str] = Field({}, description="title to `step.output`: HTML pages, put into a local run's report")
    verdicts: dict[str, Verdict] = Field({}, description="words for each verdict of `outcome.json`")
    no_verdict: str = Field("", description="clause that is added where a run came to no verdict")


class Lineage(BaseModel):
    """Where a run, and so a model, came from. Digests are SHA-256 in hex.

    `overrides` maps dotted keys to the values that replaced those of module.yaml and of the settings;
    `hyperparameters` are all that the model was built with. `arguments_uri` is a file with all that the steps were
    given, and `repeats` the run that this one repeats. `features_data` has the data URIs of the shared features that
    were joined, by view. `gpu_image` is that of the steps with an accelerator; empty if none has one. `started_by` is a
    user and machine, a console's, or a window of the monitor; empty on a cluster, whose platform knows. `shows` is what
    the pipeline declares.
    """

    run: str
    pipeline: str = DEFAULT_PIPELINE
    module: str
    module_digest: str
    data_uri: str
    features_data: dict[str, str] = {}
    git_revision: str = "unknown"
    image: str = ""
    gpu_image: str = ""
    target: Target = "local"
    started: float = 0.0
    started_by: str = ""
    seed: int = 0
    hyperparameters: dict[str, Any] = {}
    overrides: dict[str, Any] = {}
    arguments_uri: str = ""
    repeats: str = ""
    shows: Shows = Shows()

    def tuned(self, hyperparameters: dict[str, Any], training: dict[str, int]) -> Self:
        """The lineage of a run whose model was built with the tuner's values."""
        changed = {
            f"{HYPERPARAMETERS}.{name}": value
            for name, value in hyperparameters.items()
            if json.dumps(value) != json.dumps(self.hyperparameters.get(name))
        }
        changed |= {f"training.{name}": value for name, value in training.items()}
        used = self.hyperparameters | hyperparameters
        return self.model_copy(update={HYPERPARAMETERS: used, "overrides": self.overrides | changed})

    def given(self, defaults: dict[str, Any], values: dict[str, Any]) -> Self:
        """The lineage of a run whose fields have other values than the defaults that it was compiled with."""
        typed = {name: int(value) if name in KEYS else value for name, value in values.items()}  # kfp's may be floats
        changed = {name: value for name, value in typed.items() if name in defaults and value != defaults[name]}
        new: dict[str, Any] = {name: value for name, value in changed.items() if name in ("data_uri", "seed")}
        overrides = self.overrides | {KEYS[name]: value for name, value in changed.items() if name in KEYS}
        text = str(changed.get(HYPERPARAMETERS, ""))
        try:
            used = with_hyperparameters(self.hyperparameters, text)
        except ConfigError:  # train_model refuses it; the record shows what was given
            used, overrides[HYPERPARAMETERS] = self.hyperparameters, text
        for name, value in used.items():
            if json.dumps(value) != json.dumps(self.hyperparameters[name]):
                overrides[f"{HYPERPARAMETERS}.{name}"] = value
        update = {**new, HYPERPARAMETERS: used, "overrides": overrides}
        return self.model_copy(update=update)


def user() -> str:
    """The user of the operating system, for records; a container's user need not have a name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def user_at_host() -> str:
    """The user of the operating system and this machine: what somebody says of himself."""
    return f"{user()}@{socket.gethostname()}"


def describe_actor(who: str, says: str) -> str:
    """Who did something, in words: the authenticated name, and the one that somebody gave himself beside it."""
    return f"{who} (says: {says})" if says and not who.endswith(says) else who
