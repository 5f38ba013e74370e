from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from components.train_model.fitting import Checkpoints, digest_inputs
from tests.each_store import ON_EACH_STORE
from tests.fakes.storage_server import StorageServer

ARRAYS: dict[str, NDArray[Any]] = {"v0": np.arange(6, dtype=np.float32).reshape(2, 3), "v1": np.array(7, np.int64)}


@ON_EACH_STORE
def test_checkpoints_load_gives_back_what_was_saved(storage_server: StorageServer) -> None:
    checkpoints = Checkpoints(storage_server.uri("c"))
    checkpoints.save(1, ARRAYS, '{"epoch": 1}')
    [(state, arrays)] = checkpoints.load()
    assert state == '{"epoch": 1}'
    np.testing.assert_array_equal(arrays["v0"], ARRAYS["v0"])
    assert arrays["v1"] == 7
    checkpoints.clear()
    assert checkpoints.load() == []


def test_checkpoints_keep_the_last_two(tmp_path: Path) -> None:
    checkpoints = Checkpoints(str(tmp_path))
    for epoch in range(1, 6):
        checkpoints.save(epoch, ARRAYS, str(epoch))
    assert sorted(state for state, _ in checkpoints.load()) == ["4", "5"]


@pytest.mark.parametrize("share", [0.0, 0.5, 0.95])
def test_checkpoints_damaged_one_leaves_the_other(tmp_path: Path, share: float) -> None:
    checkpoints = Checkpoints(str(tmp_path))
    checkpoints.save(1, ARRAYS, "1")
    checkpoints.save(2, ARRAYS, "2")
    newest = tmp_path / "a.npz"
    content = newest.read_bytes()
    newest.write_bytes(content[: int(len(content) * share)])
    assert [state for state, _ in checkpoints.load()] == ["1"]


def test_checkpoints_flipped_byte_is_noticed(tmp_path: Path) -> None:
    checkpoints = Checkpoints(str(tmp_path))
    checkpoints.save(1, {"v0": np.zeros(1000)}, "1")
    file = tmp_path / "b.npz"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(bytes(content))
    assert checkpoints.load() == []


def test_checkpoints_clear_removes_all(tmp_path: Path) -> None:
    checkpoints = Checkpoints(str(tmp_path / "c"))
    checkpoints.save(1, ARRAYS, "1")
    checkpoints.clear()
    assert checkpoints.load() == []
    assert not (tmp_path / "c").exists()


def test_digest_inputs_changes_with_parameters_and_bytes(tmp_path: Path) -> None:
    file = tmp_path / "data"
    file.write_bytes(b"one")
    first = digest_inputs({"seed": 1}, [file])
    assert digest_inputs({"seed": 1}, [file]) == first
    assert digest_inputs({"seed": 2}, [file]) != first
    file.write_bytes(b"two")
    assert digest_inputs({"seed": 1}, [file]) != first


def test_checkpoints_out_of_reach_cost_no_training(caplog: pytest.LogCaptureFixture) -> None:
    checkpoints = Checkpoints(
        "gs://anonymous@bucket/c?scheme=http&endpoint_override=localhost:1&retry_limit_seconds=0.2"
    )
    assert checkpoints.load() == []
    checkpoints.save(1, ARRAYS, "1")
    checkpoints.clear()
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 4
    assert all("gs://bucket/c" in record.message and "tried for 0.2 s" in record.message for record in caplog.records)
