"""The kinds of model stores that the same tests run on."""

from collections.abc import Callable
from typing import Protocol

import pytest

from slipway.stores.model_store import ModelStore

# The quick suite has each test once on a bucket: what differs between the two is in tests/slipway/remote.
KINDS = ["local", "gs", pytest.param("s3", marks=pytest.mark.slow)]


class OpenStore(Protocol):
    """Opens the same store anew; versions are numbered by the clock."""

    def __call__(self, clock: Callable[[], float] = ...) -> ModelStore: ...
