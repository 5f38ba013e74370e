"""Weeks of synthetic taxi trips: what the model is asked, and what becomes known later."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from slipway.stores import storage

LENGTH = timedelta(days=7)
TRIPS, ASKED = 6_000, 900  # of a week; the model is asked about some of them
NEVER_TOLD = 19  # of one request in so many the label never comes
LATER = ("tips",)  # columns that are known after the trip

Trip = dict[str, Any]


@dataclass(frozen=True)
class Week:
    """The trips of one week.

    Attributes:
        start: Its first moment.
        path: A CSV file of all trips.
        asked: The trips that the model is asked about, by request id; what is missing is left out.
    """

    start: datetime
    path: Path
    asked: dict[str, Trip]

    @property
    def window(self) -> str:
        """The monitor's window of this week."""
        return f"{self.start:%Y-%m-%dT%H:%M:%SZ}"

    def become_known(self, labels: Path, data: Path) -> int:
        """Writes the labels, and all trips as data of the next training; answers how many labels came."""
        told = [pair for number, pair in enumerate(self.asked.items()) if number % NEVER_TOLD]
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(("request_id", "instance", "tips", "fare"))
        writer.writerows((name, 0, trip["tips"], trip["fare"]) for name, trip in told)
        storage.write_text(str(labels / self.path.name), text.getvalue())
        storage.copy(str(self.path), str(data / self.path.name))
        return len(told)


def make_week(write_sample: Callable[..., None], folder: Path, start: datetime) -> Week:
    """Draws the trips of the week that begins at `start`."""
    from pyarrow.csv import ConvertOptions, read_csv

    path = folder / f"trips-{start:%Y%m%d}.csv"
    write_sample(path, rows=TRIPS, seed=start.toordinal(), first=f"{start:%Y-%m-%d}", days=LENGTH.days)
    rows = read_csv(path, convert_options=ConvertOptions(strings_can_be_null=True)).slice(0, ASKED).to_pylist()
    known = [{name: value for name, value in row.items() if value is not None} for row in rows]
    return Week(start, path, {f"{start:%Y%m%d}-{number}": trip for number, trip in enumerate(known)})
