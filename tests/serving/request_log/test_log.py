"""The log on real disks and a real object store, sound and broken."""

from __future__ import annotations

import os
import socket
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from serving.request_log import LogOptions, RequestLog, is_sampled
from serving.request_log import log as log_module
from slipway.errors import ConfigError, StoreError
from slipway.stores import storage
from tests.each_store import ON_EACH_STORE
from tests.fakes.storage_server import StorageServer
from tests.serving.request_log.calls import (
    DAY,
    accounted,
    count,
    features_of,
    files_of,
    numbered,
    read_log,
    rest_call,
)
from tests.small_disk import mount_small_disk


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def eventually(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.01)


def test_log_call_becomes_a_row(tmp_path: Path, registry: CollectorRegistry) -> None:
    started = DAY + 86_399.123456
    with RequestLog(LogOptions(str(tmp_path), fields=("n",)), registry) as log:
        log.offer(numbered(7, started=started, latency_seconds=0.0015, version=12))
    (row,) = read_log(tmp_path)
    assert features_of(row) == {"n": [7]}
    del row["features"]
    assert row == {
        "request_id": "r7",
        "instance": 0,
        "time": datetime.fromtimestamp(started, UTC),
        "version": 12,
        "protocol": "rest",
        "method": "predict",
        "signature": "serving_default",
        "latency_seconds": 0.0015,
        "classes": None,
        "scores": [3.5],
        "outputs": [],
        "error": None,
        "model": "taxi",
        "date": "2026-01-01",
    }
    assert count(registry, "logged") == accounted(registry) == 1


def test_log_models_and_days_have_folders_of_their_own(tmp_path: Path) -> None:
    with RequestLog(LogOptions(str(tmp_path))) as log:
        for model in ("taxi", "a/b=c d"):
            for started in (DAY - 1, DAY):
                log.offer(numbered(1, model=model, started=started))
    assert {str(path.parent.relative_to(tmp_path)) for path in files_of(tmp_path)} == {
        f"model={model}/date={date}" for model in ("taxi", "a%2Fb%3Dc%20d") for date in ("2025-12-31", "2026-01-01")
    }
    assert {row["model"] for row in read_log(tmp_path)} == {"taxi", "a/b=c d"}


def test_log_samples_by_id_and_leaves_other_methods_out(tmp_path: Path, registry: CollectorRegistry) -> None:
    with RequestLog(LogOptions(str(tmp_path), sample=0.3), registry) as log:
        for number in range(500):
            log.offer(numbered(number))
        for number in range(100):
            log.offer(numbered(number, method="multiinference"))
    wanted = {f"r{number}" for number in range(500) if is_sampled(f"r{number}", 0.3)}
    assert {row["request_id"] for row in read_log(tmp_path)} == wanted
    assert accounted(registry) == len(wanted)


def test_log_without_fields_has_no_features(tmp_path: Path) -> None:
    with RequestLog(LogOptions(str(tmp_path))) as log:
        log.offer(numbered(1))
    assert [row["features"] for row in read_log(tmp_path)] == [[]]


def test_log_unlisted_values_are_nowhere_on_disk(tmp_path: Path) -> None:
    with RequestLog(LogOptions(str(tmp_path), fields=("fare",))) as log:
        row = {"fare": 1.5, "Fare": 555_666_777, "name": "Erika Mustermann", "fare ": "Musterweg"}
        log.offer(rest_call({"instances": [row], "name": "Erika"}, {"predictions": [0.5]}))
    (path,) = files_of(tmp_path)
    import pyarrow.parquet as pq

    (logged,) = read_log(tmp_path)
    assert features_of(logged) == {"fare": [1.5]}
    content = path.read_bytes() + str(pq.read_table(path)).encode()
    assert b"Muster" not in content
    assert b"555666777" not in content


def test_log_rotates_by_age_with_little_traffic(tmp_path: Path, registry: CollectorRegistry) -> None:
    with RequestLog(LogOptions(str(tmp_path), rotate_seconds=0.3), registry) as log:
        for number in range(3):
            log.offer(numbered(number))
            eventually(lambda: len(files_of(tmp_path)) == number + 1)  # noqa: B023 - called at once
            assert count(registry, "logged") == number + 1
    assert len(read_log(tmp_path)) == 3


def test_log_rotates_by_size(tmp_path: Path) -> None:
    with RequestLog(LogOptions(str(tmp_path), fields=("*",), rotate_bytes=40_000)) as log:
        for number in range(3000):
            log.offer(numbered(number))
        eventually(lambda: len(files_of(tmp_path)) > 2)
    assert len(read_log(tmp_path)) == 3000
    # Each chunk of rows is known only when it is complete.
    assert 5 < len(files_of(tmp_path)) < 15


def test_log_close_counts_calls_that_come_later(tmp_path: Path, registry: CollectorRegistry) -> None:
    log = RequestLog(LogOptions(str(tmp_path)), registry)
    log.close()
    log.offer(numbered(1))
    assert count(registry, "dropped", reason="shutdown") == accounted(registry) == 1


def test_log_call_that_cannot_be_read_is_counted_and_harms_no_other(
    tmp_path: Path, registry: CollectorRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    with RequestLog(LogOptions(str(tmp_path), fields=("*",)), registry) as log:
        log.offer(rest_call(b'{"instances": ["secret"', {"predictions": [1]}))
        log.offer(numbered(1))
        log.offer(rest_call({"instances": [0] * 20_000}, {"predictions": [0] * 20_000}))
        log.offer(rest_call(b"x" * (9 << 20), {}))
        log.offer(rest_call({}, {}, started="never"))
    assert [row["request_id"] for row in read_log(tmp_path)] == ["r1"]
    assert count(registry, "failed", reason="unparsable") == 2
    assert count(registry, "dropped", reason="too_large") == 2
    assert "secret" not in caplog.text


def test_log_many_threads_lose_nothing(tmp_path: Path, registry: CollectorRegistry) -> None:
    with RequestLog(LogOptions(str(tmp_path), fields=("n",), rotate_bytes=200_000), registry) as log:

        def offer(thread: int) -> None:
            for number in range(500):
                log.offer(numbered(thread * 1000 + number))

        threads = [threading.Thread(target=offer, args=(thread,)) for thread in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(features_of(row)["n"][0] for row in read_log(tmp_path)) == sorted(
        thread * 1000 + number for thread in range(8) for number in range(500)
    )
    assert count(registry, "logged") == 4000


class Stalled:
    """Accepts connections and never answers."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def stalled_store() -> Iterator[str]:
    stalled = Stalled()
    query = f"scheme=http&endpoint_override=localhost:{stalled.port}&retry_limit_seconds=2"
    yield f"gs://anonymous@bucket/log?{query}"
    stalled.close()


def test_log_stalled_store_drops_and_counts_and_never_waits(stalled_store: str, registry: CollectorRegistry) -> None:
    options = LogOptions(
        stalled_store,
        fields=("*",),
        rotate_seconds=0.05,
        rotate_bytes=100_000,
        buffer_bytes=1_000_000,
        queue_bytes=1 << 20,
    )
    log = RequestLog(options, registry)
    # Large enough that Python's own objects, which are counted with the rest, do not hide what the log holds.
    instances = [{"text": "x" * 5000}]
    calls = [rest_call({"instances": instances}, {"predictions": [0.5]}, request_id=str(n)) for n in range(100)]
    slowest = 0.0
    tracemalloc.start()
    try:
        for _ in range(30):
            for call in calls:
                begin = time.perf_counter()
                log.offer(call)
                slowest = max(slowest, time.perf_counter() - begin)
            time.sleep(0.02)
        eventually(lambda: registry.get_sample_value("slipway_request_log_queue_calls") == 0)
        held, _ = tracemalloc.get_traced_memory()
        waiting = registry.get_sample_value("slipway_request_log_waiting_bytes") or 0.0
    finally:
        tracemalloc.stop()
    assert slowest < 0.5
    assert 500_000 < waiting <= 1_200_000
    assert held < 10 << 20
    assert count(registry, "logged") == 0
    assert count(registry, "dropped", reason="sink_full") > 1000
    begin = time.monotonic()
    log.close(timeout=0.5)
    assert time.monotonic() - begin < 2
    assert accounted(registry) == 3000


def test_log_blocked_write_fills_the_queues_only(
    tmp_path: Path, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Opening a pipe that nobody reads blocks in the kernel, as a write to a dead NFS does.
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    released = threading.Event()
    write_bytes = storage.write_bytes

    def write(uri: str, content: bytes) -> None:
        with pipe.open("wb"):
            released.set()
        write_bytes(uri, content)

    monkeypatch.setattr(storage, "write_bytes", write)
    log = RequestLog(LogOptions(str(tmp_path / "log"), rotate_seconds=0.01), registry)
    for number in range(200):
        log.offer(numbered(number))
    time.sleep(0.1)
    assert accounted(registry) == 0
    assert not released.is_set()
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    log.close()
    os.close(reader)
    assert count(registry, "logged") == accounted(registry) == 200
    assert len(read_log(tmp_path / "log")) == 200


def test_log_full_disk_is_counted_and_leaves_no_part(
    small_disk: Path, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_module, "PAUSE_SECONDS", 0.01)
    filler = small_disk / "filler"
    filler.write_bytes(b"0" * (512 * 1024 - 8192))
    with RequestLog(LogOptions(str(small_disk / "log"), fields=("*",), rotate_seconds=0.05), registry) as log:
        log.offer(rest_call({"instances": [{"noise": os.urandom(20_000).hex()}]}, {"predictions": [1]}))
        eventually(lambda: count(registry, "failed", reason="write") == 1)
        assert [path for path in (small_disk / "log").rglob("*") if path.is_file()] == []
        filler.unlink()
        log.offer(numbered(1))
    assert [row["request_id"] for row in read_log(small_disk / "log")] == ["r1"]
    assert accounted(registry) == 2


def test_offer_of_what_no_log_expects_is_counted_and_harms_nothing(tmp_path: Path, registry: CollectorRegistry) -> None:
    with RequestLog(LogOptions(str(tmp_path / "log"), fields=("*",)), registry) as log:
        log.offer(replace(numbered(1), response=None))
        log.offer(numbered(2))
    assert count(registry, "failed", reason="error") == 1
    assert [row["request_id"] for row in read_log(tmp_path / "log")] == ["r2"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with mount_small_disk(tmp_path / "disk", "512k") as disk:
        yield disk


def test_log_write_that_fails_at_first_is_tried_again(
    tmp_path: Path, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_module, "PAUSE_SECONDS", 0.05)
    blocked = tmp_path / "log"
    blocked.write_text("a file where the folder should be")
    log = RequestLog(LogOptions(str(blocked), rotate_seconds=0.01), registry)
    log.offer(numbered(1))
    time.sleep(0.04)
    blocked.unlink()
    eventually(lambda: count(registry, "logged") == 1)
    log.close()
    assert len(read_log(blocked)) == 1


@ON_EACH_STORE
def test_log_in_a_bucket_is_one_object_a_file(
    storage_server: StorageServer, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    import io

    import pyarrow.parquet as pq

    # A container whose file system is read-only has no place for temporary files.
    monkeypatch.setattr("tempfile.TemporaryFile", _refuse)
    with RequestLog(LogOptions(storage_server.uri("log"), fields=("n",)), registry) as log:
        for number in range(10):
            log.offer(numbered(number, started=DAY))
    (file,) = storage.list_files(storage_server.uri("log"))
    assert file.name.startswith("model=taxi/date=2026-01-01/")
    assert pq.read_table(io.BytesIO(storage.read_bytes(file.uri))).num_rows == 10
    assert count(registry, "logged") == 10


def _refuse(*_: Any) -> None:
    raise OSError("read-only file system")


@pytest.mark.parametrize("changes", [{"rotate_seconds": 0}, {"rotate_bytes": 1 << 40}])
def test_log_options_out_of_range_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="request log"):
        LogOptions("/tmp/log", **changes)


def test_log_sink_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(StoreError, match="hdfs://"):
        RequestLog(LogOptions("hdfs://bucket/log"))
