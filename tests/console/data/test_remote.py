"""The room of data on state in a bucket."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from console.data.facets import View, find_facets
from console.data.sets import read_set
from console.data.slices import SlicesView, find_slices
from pipelines.registry import Locations
from slipway.errors import StoreError
from slipway.stores import storage
from tests.console.data.state import add_run
from tests.each_store import ON_EACH_STORE
from tests.fakes.storage_server import StorageServer
from tests.judged_rows import binary, measure

RUN = "taxi-20260101-000000-aaaa"
LOST = "gs://anonymous@bucket/home?scheme=http&endpoint_override=localhost:9&retry_limit_seconds=1"


def upload(home: Path, uri: str) -> None:
    """Copies a home into the bucket; its records name the artifacts there."""
    for record in home.rglob("*.json"):
        text = record.read_text(encoding="utf-8")
        moved = re.sub(rf'"{re.escape(str(home))}/([^"]*)"', lambda found: f'"{storage.join(uri, found[1])}"', text)
        record.write_text(moved, encoding="utf-8")
    storage.copy_folder(str(home), uri)


@ON_EACH_STORE
def test_a_bucket_shows_what_a_folder_shows(tmp_path: Path, storage_server: StorageServer) -> None:
    add_run(tmp_path, RUN, {"fare": [1.0, 2.0, None]}, {"fare": [4.0]}, judged=measure("binary", *binary()))
    here, there = Locations.under(str(tmp_path)), Locations.under(storage_server.uri("home"))
    view, sliced = View(f"run/{RUN}/train", f"run/{RUN}/eval"), SlicesView((RUN,), metric="recall", threshold=0.3)
    expected = find_facets(here, view), find_slices(here, sliced)
    upload(tmp_path, storage_server.uri("home"))
    found = find_facets(there, view), find_slices(there, sliced)
    assert found[0].differences == expected[0].differences
    assert found[0].datasets == expected[0].datasets
    assert (found[1].overall, found[1].lines) == (expected[1].overall, expected[1].lines)


def test_a_bucket_that_is_out_of_reach_is_not_a_run_that_is_gone() -> None:
    with pytest.raises(StoreError):
        read_set(Locations.under(LOST), f"run/{RUN}/train")
