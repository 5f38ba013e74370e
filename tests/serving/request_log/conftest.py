"""An upstream and a sidecar for each module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from serving.request_log import LogOptions
from serving.request_log.sidecar import SidecarOptions
from tests.serving.request_log.upstream import (
    Upstream,
    sidecar,
    upstream,
)


@pytest.fixture(scope="module")
def _upstream() -> Iterator[Upstream]:
    with upstream() as running:
        yield running


@pytest.fixture(scope="module")
def ports(_upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SidecarOptions]:
    """A sidecar whose log nobody reads."""
    options = LogOptions(str(tmp_path_factory.mktemp("log")))
    with sidecar(_upstream.rest_address, _upstream.grpc_address, options).running() as ports:
        yield ports


@pytest.fixture
def served(_upstream: Upstream) -> Upstream:
    """The upstream as new."""
    _upstream.reset()
    return _upstream
