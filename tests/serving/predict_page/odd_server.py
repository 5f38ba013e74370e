"""A server that speaks TensorFlow Serving's REST, and answers what a test needs: other shapes, no classes, too late.

Bodies are those of `model_servers/http_rest_api_handler.cc` and `util/json_tensor.cc`; a sound server is Slipway's own.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

from tests.fakes.loopback_server import Answer, LoopbackServer, Request

_TYPES = {"fare": "DT_FLOAT", "payment": "DT_STRING"}


def _tensor(dtype: str, *sizes: int) -> dict[str, Any]:
    shape = {"dim": [{"size": str(size), "name": ""} for size in sizes], "unknown_rank": False}
    return {"dtype": dtype, "tensor_shape": shape, "name": "x:0"}


@dataclass
class OddServer(LoopbackServer):
    """The model taxi, whose `raw` takes fare and payment.

    Attributes:
        states: Of its versions.
        outputs: What `:predict` answers.
        serves: The version that a request reaches without naming one, and the only one that is really there.
        types: Of its inputs.
        shape: Of each value of them.
    """

    states: dict[int, str] = field(default_factory=lambda: {7: "AVAILABLE"})
    outputs: Any = field(default_factory=lambda: [0.75])
    serves: int = 7
    signature: str = "raw"
    rank: int = 1
    dtype: str = "DT_FLOAT"
    output: str = "predictions"
    types: dict[str, str] = field(default_factory=lambda: dict(_TYPES))
    shape: tuple[int, ...] = ()

    def handle(self, request: Request) -> Answer:
        match = re.fullmatch(r"/v1/models/taxi(?:/versions/(\d+))?(/metadata|:predict)?", request.path)
        if not match:
            return self.refuse(404, "Could not find any versions of model")
        version, what = match.groups()
        if what and version and int(version) != self.serves:
            return self.refuse(404, f"Servable not found for request: Specific(taxi, {version})")
        if what == ":predict":
            asked = json.loads(request.body)
            assert asked["signature_name"] == "raw"
            assert asked["inputs"].keys() <= self.types.keys()
            return _json({"outputs": self.outputs})
        if what:
            return _json(self._metadata())
        states = [
            {"version": str(number), "state": state, "status": {"error_code": "OK", "error_message": ""}}
            for number, state in self.states.items()
        ]
        return _json({"model_version_status": states})

    def refuse(self, status: int, message: str) -> Answer:
        return _json({"error": message}, status)

    @property
    def address(self) -> str:
        return self.url.removeprefix("http://")

    def _metadata(self) -> dict[str, Any]:
        signature = {
            "inputs": {name: _tensor(dtype, -1, *self.shape) for name, dtype in self.types.items()},
            "outputs": {self.output: _tensor(self.dtype, *[-1] * self.rank)},
            "method_name": "tensorflow/serving/predict",
        }
        return {
            "model_spec": {"name": "taxi", "signature_name": "", "version": str(self.serves)},
            "metadata": {"signature_def": {"signature_def": {self.signature: signature}}},
        }


def _json(content: Any, status: int = 200) -> Answer:
    return Answer(status, json.dumps(content).encode())
