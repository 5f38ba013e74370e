"""The REST client. JSON carries no types: an output's type is taken from the model's signature."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from functools import cached_property
from typing import Any

import httpx
import numpy as np
from google.protobuf import json_format
from numpy.typing import NDArray

from serving.client import ATTEMPTS, ModelClient, parse_examples
from serving.protocol.protos import get_model_metadata_pb2
from serving.protocol.signatures import CLASSIFY, SERVING_DEFAULT
from serving.protocol.tensor_protos import TENSOR_TYPES
from serving.protocol.urls import model_path
from slipway.errors import RequestError
from slipway.remote.retries import retrying, tried

_BUSY = (429, 503)


class RestClient(ModelClient):
    """See `ModelClient`."""

    def __init__(self, address: str, model: str, version: int | None, timeout_seconds: float) -> None:
        super().__init__(address if "://" in address else f"http://{address}", timeout_seconds)
        self._model = model
        self._path = self._address.rstrip("/") + model_path(model, version)
        self._http = httpx.Client(timeout=timeout_seconds, trust_env=False)

    def at(self, version: int | None) -> RestClient:
        """A client of another version, over the same connections, which are closed with either."""
        other = copy(self)
        other._path = self._address.rstrip("/") + model_path(self._model, version)
        other.__dict__.pop("_signatures", None)
        return other

    def states(self) -> dict[int, str]:
        found = self._call("GET", "", "model_version_status")
        with self._understood(found):
            return {int(status["version"]): str(status["state"]) for status in found}

    def version(self) -> int:
        spec = self._call("GET", "/metadata", "model_spec")
        with self._understood(spec):
            return int(spec["version"])

    def predict(self, inputs: Mapping[str, NDArray[Any]], signature: str = SERVING_DEFAULT) -> dict[str, NDArray[Any]]:
        columns = {name: _to_json(values) for name, values in inputs.items()}
        answer = self._call("POST", ":predict", "outputs", {"signature_name": signature, "inputs": columns})
        dtypes = {name: info.dtype for name, info in self._signatures[signature].outputs.items()}
        if len(dtypes) == 1:
            answer = dict.fromkeys(dtypes, answer)
        try:
            return {name: _to_array(values, dtypes[name]) for name, values in answer.items()}
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            raise RequestError(
                f"{self._address} answered other outputs than its metadata says for {signature!r}: "
                f"{', '.join(sorted(dtypes))}. Another version may serve by now: connect again"
            ) from error

    def classify(self, examples: Sequence[bytes], signature: str = CLASSIFY) -> list[dict[str, float]]:
        rows = [_example_to_json(example) for example in parse_examples(examples)]
        results = self._call("POST", ":classify", "results", {"signature_name": signature, "examples": rows})
        with self._understood(results):
            return [{str(name): float(score) for name, score in row} for row in results]

    def close(self) -> None:
        self._http.close()

    def _signature_defs(self) -> Mapping[str, Any]:
        return self._signatures

    @cached_property
    def _signatures(self) -> dict[str, Any]:
        metadata = self._call("GET", "/metadata", "metadata")
        with self._understood(metadata):
            signatures = json_format.ParseDict(
                metadata["signature_def"], get_model_metadata_pb2.SignatureDefMap(), ignore_unknown_fields=True
            )
            return dict(signatures.signature_def)

    def _call(self, method: str, path: str, wanted: str, body: Any = None) -> Any:
        """The value of the key `wanted` in the answer."""
        # TensorFlow Serving takes NaN, which marks a missing number; httpx's own `json=` refuses it.
        content = None if body is None else json.dumps(body).encode()
        again = retrying(
            lambda error: isinstance(error, httpx.TransportError) and not isinstance(error, httpx.TimeoutException),
            is_busy=lambda answer: answer.status_code in _BUSY,
            attempts=ATTEMPTS,
            first_seconds=0.2,
        )
        try:
            return self._content(again(self._http.request, method, self._path + path, content=content), wanted)
        except httpx.TimeoutException as error:
            raise self._timed_out() from error
        except httpx.RequestError as error:  # also a body that does not unpack
            raise self._no_server("REST", 8501, f"{error}{tried(error)}") from error

    def _content(self, answer: httpx.Response, wanted: str) -> Any:
        try:
            content = answer.json()
        except (ValueError, RecursionError):
            content = None
        if answer.is_success:
            if isinstance(content, dict) and wanted in content:
                return content[wanted]
            raise self._garbage(answer.text)
        said = content.get("error", content) if isinstance(content, dict) else answer.text[:200]
        raise self._refused(f"{answer.status_code} {answer.reason_phrase}: {said}", answer.status_code)

    @contextmanager
    def _understood(self, content: Any) -> Iterator[None]:
        """Content of another form than TensorFlow Serving's is refused."""
        try:
            yield
        except (KeyError, TypeError, ValueError, AttributeError, json_format.Error) as error:
            raise self._garbage(str(content)) from error

    def _garbage(self, text: str) -> RequestError:
        return RequestError(f"{self._address} is not a model server: it answers {text[:200]!r}. Correct --address")


def _to_json(values: NDArray[Any]) -> Any:
    if values.dtype.kind not in "SO":
        return values.tolist()
    encoded = [{"b64": base64.b64encode(value).decode()} for value in values.ravel().tolist()]
    return np.array(encoded, object).reshape(values.shape).tolist()


def _to_array(values: Any, number: int) -> NDArray[Any]:
    dtype = TENSOR_TYPES[number].numpy
    if dtype != np.dtype(object):
        return np.array(values, dtype)
    if isinstance(values, list):
        rows = [_to_array(value, number) for value in values]
        return np.stack(rows) if rows else np.empty(0, object)
    string = np.empty((), object)
    string[()] = base64.b64decode(values["b64"]) if isinstance(values, dict) else str(values).encode()
    return string


def _example_to_json(example: Any) -> dict[str, Any]:
    """A tf.Example as TensorFlow Serving's classify takes it: a float is never written as a whole number."""
    features: dict[str, Any] = {}
    for name, feature in example.features.feature.items():
        kind = feature.WhichOneof("kind")
        if kind == "bytes_list":
            features[name] = [{"b64": base64.b64encode(value).decode()} for value in feature.bytes_list.value]
        elif kind:
            features[name] = list(getattr(feature, kind).value)
    return {name: values[0] if len(values) == 1 else values for name, values in features.items() if values}
