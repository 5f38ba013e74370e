"""Synthetic trips for the first run; none of them is real."""

from __future__ import annotations

import csv
import random
from pathlib import Path


def write_sample(path: str | Path, rows: int = 4_000, seed: int = 1) -> None:
    """Writes a CSV of trips: who pays by card mostly tips, who pays cash does not."""
    rng = random.Random(seed)  # noqa: S311
    with Path(path).open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["trip_miles", "fare", "payment_type", "tips"])
        for _ in range(rows):
            miles = round(rng.expovariate(0.3), 1)
            fare = round(3.25 + 2 * miles + rng.random(), 2)
            card = rng.random() < 0.4
            tips = rng.choice([0.0, 2.0, round(0.25 * fare, 2)]) if card else 0.0
            writer.writerow([miles, fare, "Credit Card" if card else "Cash", tips])
