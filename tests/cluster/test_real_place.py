"""What the suite does to a real cluster before it touches it."""

import pytest

from tests.cluster.real_place import require_label


def test_require_label_refuses_a_namespace_of_others() -> None:
    require_label("mine", {"metadata": {"labels": {"slipway/test": "true", "team": "a"}}})
    with pytest.raises(RuntimeError, match="kubectl label namespace theirs"):
        require_label("theirs", {"metadata": {"labels": {"team": "a"}}})
