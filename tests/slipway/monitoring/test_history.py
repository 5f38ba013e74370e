"""Windows are found by their folders' names: of many, only the one that is asked for is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipway.errors import StoreError
from slipway.monitoring.history import newest_window, read_windows, watched_window
from slipway.monitoring.result import WindowResult, write_result

STARTS = [f"2026-03-0{day}T00:00:00Z" for day in (1, 2, 3)]


@pytest.fixture
def folder(tmp_path: Path) -> str:
    """Three windows, of which the first is damaged, and a fourth that is being written."""
    for start in STARTS:
        write_result(WindowResult(model="m", version=1, start=start, end=start, requests=1), str(tmp_path / start))
    (tmp_path / STARTS[0] / "window.json").write_text("{")
    (tmp_path / "2026-03-04T00:00:00Z").mkdir()
    (tmp_path / "state.json").write_text("{}")
    return str(tmp_path)


def test_a_window_is_found_by_the_beginning_of_its_start(folder: str) -> None:
    assert watched_window(folder, "2026-03-02").start == STARTS[1]
    assert watched_window(folder, "").start == STARTS[2]


@pytest.mark.parametrize(("start", "said"), [("2026-03", "more than one"), ("2025", "no window"), ("2026-03-04", "no")])
def test_no_window_and_several_are_refused_with_the_newest(folder: str, start: str, said: str) -> None:
    with pytest.raises(StoreError, match=said) as refused:
        watched_window(folder, start)
    assert STARTS[2] in str(refused.value)


def test_the_newest_window_is_that_before_a_time_if_one_is_given(folder: str, tmp_path: Path) -> None:
    newest, earlier = newest_window(folder), newest_window(folder, STARTS[2])
    assert newest
    assert earlier
    assert (newest.start, earlier.start) == (STARTS[2], STARTS[1])
    assert newest_window(folder, "2025") is None
    assert newest_window(str(tmp_path / "nothing")) is None


def test_the_last_windows_before_a_time_are_read(folder: str) -> None:
    assert [one.start for one in read_windows(folder, last=3)] == STARTS[1:]  # the fourth is not whole
    assert [one.start for one in read_windows(folder, STARTS[2], 1)] == [STARTS[1]]
