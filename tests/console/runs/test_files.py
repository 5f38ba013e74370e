"""Files of a run: shown by their kind, bounded, and none outside the run."""

from __future__ import annotations

import io
import json
import logging
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from aiohttp import ClientError

from console.records import view_own
from console.runs.artifacts import artifacts_of, file_of
from console.runs.files import PAGE_POLICY, TEXT_BYTES
from console.site import Site
from pipelines.registry import Locations
from slipway.errors import StoreError
from slipway.runs.record import StepsFile
from slipway.runs.store import STEPS
from slipway.stores import storage
from tests.console.served import get
from tests.fakes.storage_server import StorageServer
from tests.recorded_runs import write_run

FILES = "/runs/taxi-1/files"


@pytest.fixture
def examples(home: Path) -> Path:
    return write_run(home, "taxi-1", "pushed") / "artifacts" / "examples"


def test_json_is_laid_out(examples: Path, site: Site) -> None:
    (examples / "x.json").write_text(json.dumps({"a": {"b": "<script>é\u202e"}}))
    page = get(site, f"{FILES}/examples/x.json").text
    assert "&#34;b&#34;: &#34;&lt;script&gt;é\\u202e&#34;" in page


def test_first_rows_of_parquet_are_a_table(examples: Path, site: Site) -> None:
    rows = pa.table(
        {"n": list(range(1000)), "<b>": ["<i>x</i>"] * 1000, "blob": [b"\x00" * 5] * 1000, "long": ["y" * 9000] * 1000}
    )
    pq.write_table(rows, examples / "rows.parquet")
    page = get(site, f"{FILES}/examples/rows.parquet").text
    assert "50 of 1,000 rows" in page
    assert "&lt;i&gt;x&lt;/i&gt;" in page
    assert "5 bytes" in page
    assert "y" * 201 not in page


@pytest.mark.parametrize("name", ["x.parquet", "x.json", "x.png", "x.bin", "x.jsonl", "x"])
def test_a_damaged_file_is_said_to_be_one(examples: Path, site: Site, name: str) -> None:
    (examples / name).write_bytes(b"PAR1\x00\xff{")
    assert get(site, f"{FILES}/examples/{name}").status == 200


def test_long_text_is_cut(examples: Path, site: Site) -> None:
    (examples / "x.log").write_text("z" * (2 * TEXT_BYTES))
    page = get(site, f"{FILES}/examples/x.log").text
    assert page.count("z") < TEXT_BYTES + 1000
    assert "Only the first" in page


def test_a_page_of_a_step_has_its_own_policy(examples: Path, site: Site) -> None:
    (examples / "page.html").write_text("<script>document.title = 'run'</script>")
    around = get(site, f"{FILES}/examples/page.html")
    assert "document.title" not in around.text
    assert '<iframe sandbox="allow-scripts"' in around.text
    page = get(site, f"{FILES}/examples/page.html?as=page")
    assert page.headers["Content-Security-Policy"] == PAGE_POLICY
    assert PAGE_POLICY.startswith("sandbox allow-scripts; default-src 'none'")
    assert "allow-same-origin" not in PAGE_POLICY


def test_a_file_can_be_saved(examples: Path, site: Site) -> None:
    (examples / 'a"b\n.html').write_text("<script>x</script>")
    answer = get(site, f"{FILES}/examples/a%22b%0A.html?as=file")
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["Content-Disposition"] == "attachment; filename*=UTF-8''a%22b%0A.html"
    assert answer.text == "<script>x</script>"


@pytest.mark.parametrize(
    "path",
    ["../../../secret", "..%2f..%2f..%2fsecret", "%2e%2e/%2e%2e/secret", "/etc/passwd", "%2fetc%2fpasswd", "a%00", ".",
     "x/../manifest.json", "linked", "folder/secret", "..\\secret", "nix"],
)  # fmt: skip
def test_no_path_leads_out_of_an_artifact(home: Path, examples: Path, site: Site, path: str) -> None:
    (home / "secret").write_text("the secret")
    (examples / "linked").symlink_to(home / "secret")
    (examples / "folder").symlink_to(home)
    answer = get(site, f"{FILES}/examples/{path}")
    assert "the secret" not in answer.text
    assert answer.status in (400, 404)
    with pytest.raises(StoreError):
        file_of(str(examples), "../secret")


def test_artifacts_elsewhere_on_this_machine_are_not_shown(
    home: Path, site: Site, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A record says where artifacts are, and others may have written it."""
    folder = write_run(home, "taxi-1", "interrupted")
    outside = tmp_path_factory.mktemp("outside")
    (outside / "secret").write_text("the secret")
    (home / "link").symlink_to(outside)
    file = StepsFile.model_validate_json((folder / STEPS).read_text())
    file.steps[0].artifacts = {
        "a": str(outside), "b": f"file://{outside}", "c": "/etc", "d": str(home / "link"), "e": f"{home}/../{outside}",
        "f": "http://169.254.169.254/", "good": str(folder / "artifacts"),
    }  # fmt: skip
    storage.write_text(str(folder / STEPS), file.model_dump_json())
    view = view_own(Locations.under(str(home)), "taxi-1")
    assert set(artifacts_of(view)) - {"examples", "statistics", "anomalies"} == {"good", "record"}
    for name in "abcdef":
        assert get(site, f"{FILES}/{name}/secret").status == 404


def test_a_record_on_a_bucket_names_no_file_of_this_machine(
    home: Path, site: Site, storage_server: StorageServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_run(home, "taxi-1", "pushed")
    storage.copy_folder(str(folder), storage_server.uri("home/runs/taxi-1"))
    view = view_own(Locations.under(storage_server.uri("home")), "taxi-1")
    assert set(artifacts_of(view)) == {"record"}
    assert view.summary.artifacts == {}


def test_a_file_that_the_store_does_not_give_to_its_end_is_no_whole_file(
    examples: Path, site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell():
                raise StoreError("gs://bucket/x.bin: out of reach")
            return super().read(size)

    (examples / "x.bin").write_bytes(b"x")
    monkeypatch.setattr("console.runs.files.storage.open_read", lambda _: Failing(b"x" * 3_000_000))
    with pytest.raises(ClientError):
        get(site, f"{FILES}/examples/x.bin?as=file")
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
