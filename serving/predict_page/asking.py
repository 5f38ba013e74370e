"""Asks a model server for predictions over REST, which TensorFlow Serving and Slipway's server speak alike.

An answer over REST does not name its version. So the server is asked which one answers, and that one by its own URL;
where two pods have different ones, and it is the other pod that answers, this is done again.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from serving.client import ModelClient, connect
from serving.client.rest_client import RestClient
from serving.client.rows import input_features, table_of
from serving.predict_page.form import Value
from serving.protocol.signatures import CLASSIFY, PREDICTIONS, RAW
from slipway.data.tensors import raw_inputs
from slipway.errors import RequestError

if TYPE_CHECKING:
    from tensorflow_metadata.proto.v0 import schema_pb2

ASKED_AGAIN = 3
KEPT_VERSIONS = 4
_OUTAGE = (HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT)


@dataclass(frozen=True)
class Loaded:
    """A version as its server has it; `version` is None where that could not be found out."""

    version: int | None
    client: ModelClient
    features: Sequence[schema_pb2.Feature]
    classes: tuple[str, ...]


@dataclass(frozen=True)
class Prediction:
    """The answers to some rows: with classes `[rows, classes]` probabilities, without `[rows]` numbers."""

    version: int | None
    classes: tuple[str, ...]
    values: NDArray[np.float64]
    seconds: float
    inputs: frozenset[str]

    def chosen(self, row: int = 0) -> int:
        """The place of the likeliest class of a row."""
        return int(np.nan_to_num(self.values[row], nan=-1.0).argmax())


class ServedModel:
    """One model on one server; may be used by several threads.

    Its methods raise `RequestError`, whose `status` tells a server that is away, slow, or busy from one that refuses.
    """

    def __init__(self, address: str, name: str, timeout_seconds: float) -> None:
        self.name = name
        client = connect(address, name, protocol="rest", timeout_seconds=timeout_seconds)
        assert isinstance(client, RestClient)
        self._client = client
        self._loaded: dict[int, Loaded] = {}

    def loaded(self) -> Loaded:
        """The version that answers now, or would if all pods had the same."""
        return self._load(self._version())

    def _version(self) -> int:
        states = self._client.states()
        available = [number for number, state in states.items() if state == "AVAILABLE"]
        if not available:
            known = ", ".join(f"{number} is {state}" for number, state in states.items()) or "it has no version"
            raise RequestError(f"the model is not loaded: {known}", HTTPStatus.SERVICE_UNAVAILABLE)
        return available[0] if len(available) == 1 else self._client.version()

    def predict(self, rows: Sequence[Mapping[str, Value]]) -> Prediction:
        """The answers to rows, in one request; what a row lacks is missing, and so is what only the model has."""
        for _ in range(ASKED_AGAIN):
            version = self._version()
            try:
                return _predict(self._load(version), rows)
            except RequestError as error:
                if error.status != HTTPStatus.NOT_FOUND:
                    raise
                self._loaded.pop(version, None)
        return _predict(self._load(None), rows)

    def close(self) -> None:
        """Closes the connections."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _load(self, version: int | None) -> Loaded:
        """A version's signature, asked for once; that of None, whichever answers, each time."""
        if version is not None and (known := self._loaded.get(version)):
            return known
        client = self._client.at(version)
        signatures = client.signatures()
        if RAW not in signatures:
            has = ", ".join(sorted(signatures)) or "none"
            raise RequestError(
                f"the model has no signature {RAW!r}, which takes a value for each input; its signatures are {has}"
            )
        loaded = Loaded(version, client, input_features(signatures), _classes_of(client, signatures))
        if version is not None:
            if len(self._loaded) >= KEPT_VERSIONS:
                self._loaded.clear()
            self._loaded[version] = loaded
        return loaded


def _classes_of(client: ModelClient, signatures: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of the classes, which only an answer has; none of a regression."""
    if CLASSIFY not in signatures:
        return ()
    try:
        return tuple(client.classify([b""])[0])
    except RequestError as error:
        if error.status in _OUTAGE:
            raise
        return ()  # it does not take a row of which everything is missing


def _predict(loaded: Loaded, rows: Sequence[Mapping[str, Value]]) -> Prediction:
    inputs = raw_inputs(table_of(rows, loaded.features, "the request"), loaded.features)
    begin = time.perf_counter()
    outputs = loaded.client.predict(inputs, RAW)
    seconds = time.perf_counter() - begin
    if PREDICTIONS not in outputs:
        raise RequestError(f"the model answers {', '.join(sorted(outputs)) or 'nothing'}, and not {PREDICTIONS!r}")
    values = outputs[PREDICTIONS]
    if values.dtype.kind not in "fiu":
        raise RequestError(f"the model answers values that are no numbers: {values.dtype}")
    values, classes = values.astype(np.float64), loaded.classes
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim == 1 and len(classes) == 2:
        values = np.stack([1 - values, values], axis=1)
    if values.ndim == 2 and not classes:
        classes = tuple(f"output {number}" for number in range(values.shape[1]))
    if values.shape != ((len(rows), len(classes)) if classes else (len(rows),)):
        wanted = f"{len(classes)} classes" if classes else "one number"
        raise RequestError(
            f"the model answers an array of {list(outputs[PREDICTIONS].shape)} to {len(rows)} rows, for {wanted} each"
        )
    return Prediction(loaded.version, classes, values, seconds, frozenset(one.name for one in loaded.features))
