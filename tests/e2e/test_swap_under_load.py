from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.swap import swap_under_load
from tests.served_models import write_saved_model


@pytest.mark.slow
def test_swaps_a_broken_canary_and_a_rollback_fail_no_request(tmp_path: Path) -> None:
    model, swaps = write_saved_model(tmp_path / "model"), 50

    loads = swap_under_load(model, tmp_path, swaps)

    assert [(load.protocol, load.failures) for load in loads] == [("grpc", []), ("rest", [])]
    assert all(load.answered > 10 * swaps for load in loads)
    # Fast swaps may pass between two answers; most versions were seen by a client, each answer says which it is from.
    assert loads[0].versions > swaps // 2
