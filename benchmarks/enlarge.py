"""Makes a big CSV file from a small one: rows drawn again and again, their decimal numbers jittered.

The same source, rows and seed give the same bytes. Memory holds the source and one block. Each row has one random
factor near 1, by which every decimal value moves away from its column's minimum: so fares and tips keep their
proportion, and a label like `tips > 0.2 * fare` its meaning. A value keeps its number of decimals; integers, texts and
missing values stay as they are.

    python -m benchmarks.enlarge --source trips.csv --rows 300000 --out trips_300k.csv
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np

BLOCK_ROWS = 50_000
JITTER = 0.02


class Column:
    """One column of the source: its texts, and, of those that are decimal numbers, the value and its decimals."""

    def __init__(self, texts: list[str]) -> None:
        self.texts = np.array(texts, dtype=object)
        self.decimals = np.array([_decimals(text) for text in texts])
        self.values = np.array(
            [float(text) if places else 0.0 for text, places in zip(texts, self.decimals, strict=True)]
        )
        numbers = self.values[self.decimals > 0]
        self.minimum = float(numbers.min()) if len(numbers) else 0.0

    def draw(self, rows: np.ndarray, factors: np.ndarray) -> list[str]:
        """The texts of these rows, the decimal ones moved by each row's factor."""
        texts = self.texts[rows]
        places = self.decimals[rows]
        moved = self.minimum + (self.values[rows] - self.minimum) * factors
        for index in np.flatnonzero(places):
            texts[index] = f"{moved[index]:.{places[index]}f}"
        return list(texts)


def _decimals(text: str) -> int:
    """How many digits follow the point of a plain decimal number; 0 for everything else."""
    whole, _, fraction = text.partition(".")
    return len(fraction) if fraction.isdigit() and whole.lstrip("-").isdigit() else 0


def enlarge(source: Path, rows: int, out: Path, seed: int = 0) -> None:
    """Writes `rows` rows drawn from `source` to `out`."""
    with source.open(newline="", encoding="utf-8") as file:
        header, *lines = csv.reader(file)
    columns = [Column(list(texts)) for texts in zip(*lines, strict=True)]
    random = np.random.default_rng(seed)
    with out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        for start in range(0, rows, BLOCK_ROWS):
            count = min(BLOCK_ROWS, rows - start)
            drawn = random.integers(len(lines), size=count)
            factors = np.exp(JITTER * random.standard_normal(count))
            writer.writerows(zip(*(column.draw(drawn, factors) for column in columns), strict=True))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    enlarge(arguments.source, arguments.rows, arguments.out, arguments.seed)


if __name__ == "__main__":
    main()
