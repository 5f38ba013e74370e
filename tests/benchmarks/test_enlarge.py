from __future__ import annotations

import csv
from pathlib import Path

from benchmarks.enlarge import enlarge

SOURCE = 'fare,tips,place,company\n12.45,3.10,8,"Cab, Inc."\n0,,60,\n7.5,0.0,,Taxi\n'


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_enlarge_keeps_formats_and_proportions(tmp_path: Path) -> None:
    (tmp_path / "small.csv").write_text(SOURCE)
    enlarge(tmp_path / "small.csv", 60_000, tmp_path / "big.csv")
    rows = _rows(tmp_path / "big.csv")
    assert len(rows) == 60_000
    assert {(row["place"], row["company"]) for row in rows} == {("8", "Cab, Inc."), ("60", ""), ("", "Taxi")}
    long_trips = [row for row in rows if row["place"] == "8"]
    assert len({row["fare"] for row in long_trips}) > 20
    assert all(len(row["fare"].partition(".")[2]) == 2 for row in long_trips)
    assert all(abs(float(row["tips"]) - 3.10) < 1 for row in long_trips)
    assert {row["fare"] for row in rows if row["place"] == "60"} == {"0"}


def test_enlarge_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    (tmp_path / "small.csv").write_text(SOURCE)
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        enlarge(tmp_path / "small.csv", 1000, tmp_path / name, seed)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() != (tmp_path / "c").read_bytes()
