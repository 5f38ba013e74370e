"""What any served model has to answer: needs an address, a model and a version, and no model of this suite.

See README.md for the environment variables. With the model's golden requests the answers are compared, too.
"""

from __future__ import annotations

import base64
import math
import os
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import numpy as np
import pytest

from serving.protocol.tensor_protos import array_of
from slipway.errors import ConfigError, StoreError
from slipway.evaluation.golden import Golden, read_golden
from tests.conformance.addresses import Addresses
from tests.conformance.grpc_calls import Calls
from tests.conformance.model import NAME, VERSIONS
from tests.conformance.rest_calls import RestCalls

# Of float32, where other processors and other compilers add in another order.
TOLERANCE = 1e-4


class Served(NamedTuple):
    """What the server is said to serve."""

    model: str
    version: int
    golden: Golden | None

    @property
    def path(self) -> str:
        return f"/versions/{self.version}"

    @property
    def examples(self) -> list[bytes]:
        """Golden ones, or one without any feature."""
        return self.golden.serialized() if self.golden else [b""]


def from_store(uri: str) -> list[Served]:
    """What a model store has in production, with the golden requests."""
    from serving.rollout.canary_check import read_requests
    from slipway.stores.model_store import open_store

    if not (os.environ.get("SLIPWAY_CONFORMANCE_REST") or os.environ.get("SLIPWAY_CONFORMANCE_GRPC")):
        raise ConfigError(
            "SLIPWAY_CONFORMANCE_STORE names models, and nothing says where they are served: set "
            "SLIPWAY_CONFORMANCE_REST and SLIPWAY_CONFORMANCE_GRPC"
        )
    store = open_store(uri)
    versions = [version for model in store.models() if (version := store.production(model))]
    if not versions:
        raise StoreError(f"SLIPWAY_CONFORMANCE_STORE={uri} has no model in production: there is nothing to ask for")
    return [Served(version.model, version.number, read_requests(version)) for version in versions]


STORE = os.environ.get("SLIPWAY_CONFORMANCE_STORE", "")


@pytest.fixture(
    scope="session", params=from_store(STORE) if STORE else [None], ids=lambda one: one.model if one else "given"
)
def served(request: pytest.FixtureRequest, addresses: Addresses) -> Served:
    if request.param:
        found: Served = request.param
        return found
    model = os.environ.get("SLIPWAY_CONFORMANCE_MODEL", NAME)
    version = int(os.environ.get("SLIPWAY_CONFORMANCE_VERSION", max(VERSIONS)))
    given = os.environ.get("SLIPWAY_CONFORMANCE_SAVED_MODEL")
    here = addresses.models / model / str(version) if addresses.models else None
    folder = Path(given) if given else here
    return Served(model, version, read_golden(folder) if folder else None)


@pytest.fixture(scope="session")
def rest_address(addresses: Addresses, served: Served) -> str:
    """Each model may have an address of its own."""
    return addresses.of(served.model).rest or pytest.skip("SLIPWAY_CONFORMANCE_REST is not set")


@pytest.fixture(scope="session")
def grpc_address(addresses: Addresses, served: Served) -> str:
    return addresses.of(served.model).grpc or pytest.skip("SLIPWAY_CONFORMANCE_GRPC is not set")


def check(answers: Any, served: Served) -> None:
    """The answers are those of training, or at least numbers."""
    values = np.array(answers, np.float64)
    assert len(values) == len(served.examples)
    assert all(math.isfinite(value) for value in values.ravel())
    if served.golden:
        np.testing.assert_allclose(values, np.array(served.golden.predictions), atol=TOLERANCE, rtol=TOLERANCE)


def test_rest_status_is_available(rest: RestCalls, served: Served) -> None:
    (status,) = rest.get(served.path, served.model).json["model_version_status"]

    assert (status["version"], status["state"]) == (str(served.version), "AVAILABLE")


def test_rest_metadata_names_the_version_and_its_signatures(rest: RestCalls, served: Served) -> None:
    document = rest.get(f"{served.path}/metadata", served.model).json

    assert document["model_spec"]["version"] == str(served.version)
    signatures = document["metadata"]["signature_def"]["signature_def"]
    assert signatures["serving_default"]["inputs"].keys() == {"examples"}


def test_rest_predict_answers_the_golden_requests(rest: RestCalls, served: Served) -> None:
    rows = [{"b64": base64.b64encode(example).decode()} for example in served.examples]

    check(rest.predict({"instances": rows}, served.path, served.model).json["predictions"], served)


def test_rest_unknown_version_is_not_found(rest: RestCalls, served: Served) -> None:
    assert rest.predict({"instances": [""]}, "/versions/999999999999", served.model).error[0] == 404


def test_grpc_predict_answers_the_golden_requests(calls: Calls, served: Served) -> None:
    examples = np.array(served.examples, object)
    answer = calls.predict({"examples": examples}, model=served.model, version=served.version)

    assert answer.model_spec.version.value == served.version
    (output,) = answer.outputs.values()
    check(array_of(output), served)


def test_grpc_unknown_version_is_not_found(calls: Calls, served: Served) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        calls.predict(model=served.model, version=999999999999)

    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
