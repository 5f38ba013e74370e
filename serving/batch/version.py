"""The version that predicts: which one, what it takes, and its answers as columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from tensorflow_metadata.proto.v0 import schema_pb2

from serving.client.rows import input_features
from serving.predictor import Predictor
from serving.protocol.protos import saved_model_pb2
from serving.protocol.signatures import CLASSIFY, RAW
from slipway.data.schema import FILE, parse_schema
from slipway.data.tensors import raw_inputs
from slipway.errors import ConfigError, GateError, ModelQuarantinedError, StoreError
from slipway.evaluation.golden import read_golden
from slipway.stores import storage
from slipway.stores.artifacts import MODEL
from slipway.stores.model_store import Version

if TYPE_CHECKING:
    from slipway.stores.model_store import ModelStore

STAGES = ("stable", "canary", "candidate")
MODEL_ROWS = 16_384  # of one call; more are no faster, and take memory
VERSION = "model_version"


def choose_version(store: ModelStore, model: str, number: int | None, stage: str) -> Version:
    """The version of a number, else the newest of a stage.

    Raises:
        ConfigError: there is no such stage.
        StoreError: there is no such version, or its files were deleted.
        ModelQuarantinedError: it was taken out for good.
    """
    if number is not None:
        version = store.version(model, number)
        if store.stage(model, number) == "quarantined":
            raise ModelQuarantinedError(
                f"version {number} of {model} is quarantined: it was rolled back, or taken out by hand. Name another, "
                f"or release it: `slipway models release {model}/{number} --why WHY`"
            )
        return version
    if stage not in STAGES:
        raise ConfigError(f"--stage {stage}: write {', '.join(STAGES)}; older versions are named by --version")
    if stage == "stable":
        if found := store.production(model):
            return found
    elif numbers := [number for number, its in store.stages(model).items() if its == stage]:
        return store.version(model, numbers[-1])
    raise StoreError(f"{model} has no {stage} version in {store.uri}: push one, or name another with --version")


@dataclass(frozen=True)
class Inputs:
    """What a version takes.

    Attributes:
        schema: Its features, as training knew them, as far as that is still known.
        note: What is not known, in words.
    """

    schema: schema_pb2.Schema
    note: str

    @property
    def names(self) -> list[str]:
        """Of the features."""
        return [feature.name for feature in self.schema.feature]


def read_inputs(model_path: str | Path, schema_uri: str) -> Inputs:
    """The features of `raw`, which decides what the model takes; what training knew of them comes from its schema.

    The model is not loaded.
    """
    saved = saved_model_pb2.SavedModel.FromString((Path(model_path) / MODEL).read_bytes())
    known, note = _known_schema(schema_uri)
    by_name = {feature.name: feature for feature in known.feature} if known else {}
    told = input_features(saved.meta_graphs[0].signature_def)
    schema = schema_pb2.Schema(feature=[by_name.get(feature.name, feature) for feature in told])
    if known:
        schema.string_domain.extend(known.string_domain)
        schema.default_environment.extend(known.default_environment)
    return Inputs(schema, note)


class VersionModel:
    """A loaded version.

    Attributes:
        inputs: What it takes.
        classes: Names of its classes, in the order of its outputs; none of a regression.
    """

    def __init__(self, model_path: str | Path, inputs: Inputs, decision: float) -> None:
        self._predictor = Predictor(model_path)
        self._decision = decision
        self.inputs = inputs
        self.classes = _classes_of(self._predictor, model_path)

    def predict(self, inputs: pa.RecordBatch) -> NDArray[np.float32]:
        """Predictions of rows, `[rows]` or `[rows, classes]`."""
        parts = (inputs.slice(start, MODEL_ROWS) for start in range(0, inputs.num_rows, MODEL_ROWS))
        answers = [self._predictor.predict(raw_inputs(part, self.inputs.schema.feature)) for part in parts]
        if not answers:
            several = len(self.classes) > 2
            return np.zeros((0, len(self.classes)) if several else (0,), np.float32)
        return np.concatenate(answers)

    def columns(self, predictions: NDArray[np.float32]) -> dict[str, pa.Array]:
        """The answers as columns: `class` and a score for each; of a regression `prediction`."""
        if not self.classes:
            return {"prediction": pa.array(predictions)}
        scores = np.stack([1 - predictions, predictions], axis=1) if predictions.ndim == 1 else predictions
        best = scores[:, 1] > self._decision if len(self.classes) == 2 else scores.argmax(axis=1)
        unknown = np.isnan(scores).any(axis=1)
        found = {"class": pa.array(self.classes).take(pa.array(best.astype(np.int64), mask=unknown))}
        return found | {f"score_{name}": pa.array(scores[:, index].copy()) for index, name in enumerate(self.classes)}


def _known_schema(uri: str) -> tuple[schema_pb2.Schema | None, str]:
    """The schema of training; none, and why, where it was deleted or only the platform can read it."""
    try:
        if uri:
            return parse_schema(storage.read_text(storage.join(uri, FILE)), uri), ""
    except StoreError:
        pass
    return None, (
        f"the schema that this version was trained by is gone ({uri or 'its manifest names none'}): the data are "
        "checked against the types of its inputs alone"
    )


def _classes_of(predictor: Predictor, model_path: str | Path) -> Sequence[str]:
    """The names that the version itself answers: module.yaml may list others by now."""
    if CLASSIFY not in predictor.signatures:
        return ()
    (name,) = predictor.inputs(CLASSIFY)
    answer: dict[str, Any] = predictor.call(
        CLASSIFY, {name: np.array(read_golden(model_path).serialized()[:1], object)}
    )
    classes = [one.decode() for one in answer["classes"][0].tolist()]
    if len(classes) < 2:
        raise GateError(f"{model_path}: {CLASSIFY} answers {len(classes)} classes; {RAW} cannot be told by it")
    return classes
