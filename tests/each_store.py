"""A mark for tests of objects: they run on each kind of store; on s3:// in the slow suite."""

import pytest

# The fixture `fault_proxy` stands before the same store.
ON_EACH_STORE = pytest.mark.parametrize(
    "storage_server", ["gs", pytest.param("s3", marks=pytest.mark.slow)], indirect=True
)
