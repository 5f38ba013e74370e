"""A time without a zone is UTC, in every format and whatever the host's time zone is."""

from __future__ import annotations

import csv
import datetime as dt
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.slipway.data.examples.row_files import example, frame

ROOT = Path(__file__).parents[4]
START = dt.datetime(2024, 3, 9, 12)  # the clocks of New York go forward in the following night
NAIVE = [START + dt.timedelta(minutes=37 * n) for n in range(120)]
AWARE = [time.replace(tzinfo=dt.UTC).astimezone(dt.timezone(dt.timedelta(hours=5, minutes=30))) for time in NAIVE]
SECONDS = [int(time.timestamp()) for time in AWARE]
FROM = "2024-03-10T15:00:00"
LATER = [time >= dt.datetime.fromisoformat(FROM) for time in NAIVE]
SPLIT = {"method": "time", "column": "moment", "eval_from": FROM}


def _rows(times: list[Any]) -> list[dict[str, Any]]:
    return [{"id": n, "moment": time, "y": n % 2} for n, time in enumerate(times)]


def _csv(path: Path, times: list[str]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["id", "moment", "y"])
        writer.writeheader()
        writer.writerows(_rows(times))


def _parquet(path: Path, times: pa.Array, first: int = 0, **options: Any) -> None:
    ids = range(first, first + len(times))
    pq.write_table(pa.table({"id": ids, "moment": times, "y": [n % 2 for n in ids]}), path, **options)


def _avro(path: Path, logical: str, times: list[dt.datetime]) -> None:
    kinds = [("id", "long"), ("moment", {"type": "long", "logicalType": logical}), ("y", "long")]
    fields = [{"name": name, "type": kind} for name, kind in kinds]
    with path.open("wb") as file:
        fastavro.writer(file, fastavro.parse_schema({"type": "record", "name": "row", "fields": fields}), _rows(times))


def _mixed(times: list[dt.datetime]) -> list[str]:
    """The same moments in every way that ISO 8601 has."""
    west, east = dt.timedelta(hours=-7), dt.timedelta(hours=2)
    return [
        (
            time.isoformat(),
            time.isoformat(" "),
            f"{time.isoformat()}Z",
            f" {(time + east).isoformat()}+02:00 ",
            f"{(time + west).isoformat(' ')} -0700",
            f"{time.isoformat(' ')}.000 UTC",
            f"{time:%Y-%m-%dT%H:%M}",
        )[n % 7]
        for n, time in enumerate(times)
    ]


def _write_all(folder: Path) -> None:
    """One file or folder for each format and kind of time, all of the same moments."""
    _csv(folder / "naive.csv", [time.isoformat() for time in NAIVE])
    _csv(folder / "aware.csv", [time.isoformat() for time in AWARE])
    _csv(folder / "mixed.csv", _mixed(NAIVE))
    _csv(folder / "seconds.csv", [str(seconds) for seconds in SECONDS])
    for unit in ("s", "ms", "us", "ns"):
        _parquet(folder / f"naive-{unit}.parquet", pa.array(NAIVE, pa.timestamp(unit)))
        _parquet(folder / f"aware-{unit}.parquet", pa.array(AWARE, pa.timestamp(unit, tz="America/New_York")))
    _parquet(folder / "int96.parquet", pa.array(NAIVE, pa.timestamp("ns")), use_deprecated_int96_timestamps=True)
    _parquet(folder / "text.parquet", pa.array(_mixed(NAIVE)))
    for unit in ("us", "ns"):
        mixed = folder / f"mixed-{unit}"
        mixed.mkdir()
        _parquet(mixed / "1.parquet", pa.array(NAIVE[:50], pa.timestamp(unit)))
        _parquet(mixed / "2.parquet", pa.array(AWARE[50:], pa.timestamp(unit, tz="UTC")), 50)
    for unit in ("millis", "micros"):
        _avro(folder / f"aware-{unit}.avro", f"timestamp-{unit}", AWARE)
        _avro(folder / f"local-{unit}.avro", f"local-timestamp-{unit}", NAIVE)
    records = [{"id": n, "moment": text, "y": n % 2} for n, text in enumerate(_mixed(NAIVE))]
    (folder / "text.tfrecord").write_bytes(b"".join(frame(example(row)) for row in records))


_IN_A_PROCESS = """
import json, sys
from pathlib import Path
from tests.slipway.data.examples.ingesting import ingest
folder, out, split = Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])
answer = {}
for data in sorted(folder.iterdir()):
    text = data.name.startswith(("naive.", "aware.", "mixed.", "text"))
    seconds = "epoch(CAST(trim(replace(moment, ' -0700', '-0700')) AS TIMESTAMPTZ))" if text else "moment"
    label = {"column": "label", "expression": f"strftime(to_timestamp({seconds}), '%d %H:%M')"}
    ingested = ingest(data, out, split=split, label=label, task="multiclass")
    answer[data.name] = [
        ingested.manifest.digest, ingested.column("moment"), ingested.column("label"),
        sorted(ingested.table("eval").column("id").to_pylist()),
    ]
print(json.dumps(answer))
"""


@pytest.mark.slow
def test_ingest_times_have_the_same_values_label_and_split_on_each_host(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    _write_all(data)
    hosts = {}
    for zone in ("UTC", "America/New_York", "Pacific/Kiritimati"):
        command = [sys.executable, "-c", _IN_A_PROCESS, str(data), str(tmp_path / "out"), json.dumps(SPLIT)]
        hosts[zone] = subprocess.run(
            command, cwd=ROOT, env=os.environ | {"TZ": zone}, check=True, stdout=subprocess.PIPE, text=True
        ).stdout
    assert len(set(hosts.values())) == 1
    files = json.loads(hosts["UTC"])
    assert len(files) == 21
    for name, (_, times, labels, evaluated) in files.items():
        assert evaluated == [n for n in range(120) if LATER[n]], name
        assert labels == [f"{time:%d %H:%M}" for time in NAIVE], name
        assert isinstance(times[0], str) or times == SECONDS, name
