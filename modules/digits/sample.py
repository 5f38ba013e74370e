"""Synthetic digits in the form of MNIST's files, for a first run and for tests: drawn by this code, none by a hand.

A digit is a few lines through points, and each one drawn is another: the points are moved, the whole is turned,
slanted and stretched, and pens differ. Drawn digits are easier to tell apart than real ones.
"""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

SIZE = 28
DETAIL = 4  # drawn so many times as large, then made small, for smooth edges
# The lines of each digit, in several ways of writing: points from (0, 0), top left, to (1, 1).
STROKES: dict[int, list[list[list[tuple[float, float]]]]] = {
    0: [[[(0.5, 0), (0.1, 0.25), (0.05, 0.6), (0.4, 1), (0.85, 0.75), (0.9, 0.3), (0.5, 0)]]],
    1: [[[(0.5, 0), (0.5, 0.5), (0.5, 1)]], [[(0.25, 0.25), (0.55, 0)], [(0.55, 0), (0.55, 0.5), (0.55, 1)]]],
    2: [
        [[(0.1, 0.2), (0.4, 0), (0.8, 0.2), (0.65, 0.55), (0.1, 1)], [(0.1, 1), (0.5, 0.95), (0.95, 1)]],
        [[(0.1, 0.2), (0.45, 0), (0.8, 0.25), (0.5, 0.65), (0.1, 0.95), (0.3, 0.8), (0.6, 0.95), (0.95, 0.9)]],
    ],
    3: [[[(0.1, 0.1), (0.5, 0), (0.8, 0.22), (0.4, 0.45)], [(0.4, 0.45), (0.85, 0.65), (0.6, 0.97), (0.05, 0.9)]]],
    4: [
        [[(0.2, 0), (0.1, 0.55), (0.85, 0.55)], [(0.75, 0), (0.7, 0.5), (0.7, 1)]],
        [[(0.65, 0), (0.05, 0.65)], [(0.05, 0.65), (0.95, 0.65)], [(0.65, 0), (0.65, 1)]],
    ],
    5: [[[(0.85, 0), (0.25, 0.02)], [(0.25, 0.02), (0.15, 0.45)],
         [(0.15, 0.45), (0.6, 0.38), (0.9, 0.65), (0.6, 0.97), (0.05, 0.9)]]],
    6: [[[(0.7, 0), (0.25, 0.3), (0.1, 0.7), (0.45, 1), (0.85, 0.75), (0.5, 0.5), (0.12, 0.75)]]],
    7: [
        [[(0.05, 0.05), (0.9, 0.03)], [(0.9, 0.03), (0.6, 0.45), (0.4, 1)]],
        [[(0.05, 0.05), (0.9, 0.03)], [(0.9, 0.03), (0.6, 0.45), (0.4, 1)], [(0.3, 0.5), (0.8, 0.48)]],
    ],
    8: [[[(0.5, 0.45), (0.15, 0.2), (0.5, 0), (0.85, 0.2), (0.5, 0.45)],
         [(0.5, 0.45), (0.1, 0.75), (0.5, 1), (0.9, 0.75), (0.5, 0.45)]]],
    9: [
        [[(0.8, 0.25), (0.45, 0), (0.15, 0.25), (0.45, 0.5), (0.8, 0.25)], [(0.8, 0.25), (0.75, 0.6), (0.65, 1)]],
        [[(0.8, 0.25), (0.45, 0), (0.15, 0.25), (0.45, 0.5), (0.8, 0.25)],
         [(0.8, 0.25), (0.8, 0.7), (0.5, 1), (0.15, 0.9)]],
    ],
}  # fmt: skip


def write_sample(path: str | Path, rows: int = 6_000, seed: int = 1) -> None:
    """Writes two idx files beside `path`, of images and of their labels; the same for the same seed."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, len(STROKES), rows).astype(np.uint8)
    images = np.stack([_draw(rng, int(label)) for label in labels])
    for name, values in (("images", images), ("labels", labels)):
        header = struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape)
        file = Path(path).with_name(f"drawn-{name}-idx{values.ndim}-ubyte.gz")
        with file.open("wb") as stream, gzip.GzipFile("", "wb", fileobj=stream, mtime=0) as packed:
            packed.write(header + values.tobytes())
    print(f"{rows:,} synthetic digits, drawn by modules/digits/sample.py; none of them was written by a hand")


def _draw(rng: np.random.Generator, digit: int) -> NDArray[np.uint8]:
    """One digit, white on black."""
    ways = STROKES[digit]
    lines = [_curve(np.array(line) + rng.normal(0, 0.035, (len(line), 2))) for line in ways[rng.integers(len(ways))]]
    turn, slant, width, height = rng.normal(0, 0.12), rng.normal(0.1, 0.15), rng.uniform(8, 15), rng.uniform(17, 21)
    cosine, sine = np.cos(turn), np.sin(turn)
    form = np.array([[cosine, -sine], [sine, cosine]]) @ np.array([[width, -slant * height], [0, height]])
    middle = SIZE / 2 + rng.normal(0, 0.7, 2)
    pen = rng.uniform(1.6, 3.4) * DETAIL
    canvas = Image.new("L", (SIZE * DETAIL, SIZE * DETAIL))
    drawn = ImageDraw.Draw(canvas)
    for line in lines:
        points = ((line - 0.5) @ form.T + middle) * DETAIL
        drawn.line([tuple(point) for point in points.tolist()], fill=255, width=round(pen), joint="curve")
        for x, y in (points[0], points[-1]):
            drawn.ellipse((x - pen / 2, y - pen / 2, x + pen / 2, y + pen / 2), fill=255)
    small = canvas.resize((SIZE, SIZE), Image.Resampling.BOX)
    return np.asarray(small, np.uint8)


def _curve(points: NDArray[Any]) -> NDArray[np.float64]:
    """A smooth line through the points (Catmull and Rom's)."""
    if len(points) < 3:
        return points
    around = np.vstack([2 * points[0] - points[1], points, 2 * points[-1] - points[-2]])
    steps = np.linspace(0, 1, 8)[:, None]
    parts = []
    for before, start, end, after in zip(around, around[1:], around[2:], around[3:], strict=False):
        slope, bend = (end - before) / 2, (after - start) / 2
        cubic, square = 2 * start - 2 * end + slope + bend, 3 * end - 3 * start - 2 * slope - bend
        parts.append(start + steps * slope + steps**2 * square + steps**3 * cubic)
    return np.vstack(parts)
