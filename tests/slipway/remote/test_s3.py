"""What S3 has of its own: the probe of conditions, ETags, marks of folders, who asks, and what a refusal means."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from slipway.errors import StoreError
from slipway.remote import s3
from slipway.remote.objects import ABSENT, open_objects
from slipway.remote.s3 import PART_BYTES, PROBE
from tests.fakes.s3_server import ACCESS_KEY, S3FaultProxy, S3Server

ONLY_MOTO = pytest.mark.skipif(bool(os.environ.get("SLIPWAY_S3_SERVER")), reason="a real server checks signatures")


@pytest.fixture
def proxy(s3_proxy: S3FaultProxy, monkeypatch: pytest.MonkeyPatch) -> S3FaultProxy:
    """A bucket that nothing is known of yet."""
    monkeypatch.setattr(s3, "_md5_etags", {})
    return s3_proxy


@ONLY_MOTO
def test_store_that_ignores_conditions_is_refused_with_its_name_before_anything_is_claimed(
    proxy: S3FaultProxy,
) -> None:
    proxy.ignores_conditions = True
    with pytest.raises(StoreError, match=r"the store at http://127.0.0.1:\d+ \(BaseHTTP.*\) ignores .*If-None-Match"):
        open_objects(proxy.uri("store")).put("claim", b"", ABSENT)
    assert open_objects(proxy.uri("store")).find("claim") is None
    # Nobody who only reads, or writes over what is there, is kept from it.
    assert open_objects(proxy.uri("store")).put("any", b"1")


def test_probe_is_made_once_for_a_bucket_and_leaves_one_object(proxy: S3FaultProxy) -> None:
    for name in ("a", "b"):
        assert open_objects(proxy.uri("store")).put(name, b"1", ABSENT)
    made = [request for request in proxy.requests if request == f"POST store/{PROBE}"]
    assert len(made) == 3
    s3._md5_etags.clear()  # another process
    proxy.requests.clear()
    assert not open_objects(proxy.uri("store")).put("a", b"2", ABSENT)
    assert len([request for request in proxy.requests if request == f"POST store/{PROBE}"]) == 2
    assert sorted(open_objects(proxy.uri("store")).objects("")) == [PROBE, "a", "b"]


@ONLY_MOTO
def test_etags_that_are_no_md5_are_not_compared(proxy: S3FaultProxy, tmp_path: Path) -> None:
    proxy.encrypts = True
    objects = open_objects(proxy.uri("store"))
    assert objects.put("x", b"1", ABSENT)
    assert objects.checksum(b"1") == ""
    assert objects.objects("")["x"].checksum == ""
    _, generation = objects.read_generation("x") or (b"", "")
    assert objects.put("x", b"2", generation)
    assert not objects.put("x", b"3", generation)
    objects.download([("x", tmp_path / "x")])
    assert (tmp_path / "x").read_bytes() == b"2"


@pytest.mark.parametrize("size", [0, 1, PART_BYTES, PART_BYTES + 1, 2 * PART_BYTES])
def test_file_goes_up_and_down_in_parts_and_its_checksum_is_known_before(
    proxy: S3FaultProxy, tmp_path: Path, size: int
) -> None:
    objects, source, copy = open_objects(proxy.uri("store")), tmp_path / "source", tmp_path / "new" / "copy"
    source.write_bytes(os.urandom(size))
    objects.upload([(source, "big")])
    found = objects.objects("")["big"]
    assert (found.size, found.checksum) == (size, objects.checksum(source))
    objects.download([("big", copy)])
    assert copy.read_bytes() == source.read_bytes()


def test_object_that_is_replaced_while_it_comes_down_is_refused(proxy: S3FaultProxy, tmp_path: Path) -> None:
    objects = open_objects(proxy.uri("store"))
    objects.put("big", b"1" * (3 * PART_BYTES))
    hear = proxy.fault
    done: list[int] = []

    def replace(request: str) -> None:
        if request == "GET store/big" and len(proxy.requests) > 1 and not done:
            done.append(1)
            s3_put(proxy, b"2" * (3 * PART_BYTES))
        hear(request)

    proxy.requests.clear()
    proxy.fault = replace  # type: ignore[method-assign]
    with pytest.raises(StoreError, match=r"s3://bucket/store/big: cannot read: it was replaced meanwhile"):
        objects.download([("big", tmp_path / "big")])


def s3_put(proxy: S3FaultProxy, content: bytes) -> None:
    """Writes `big` past the proxy."""
    open_objects(S3Server.proxied(proxy.server_port, "store", 2)).put("big", content)


def test_marks_of_folders_are_no_objects_and_empty_objects_are(proxy: S3FaultProxy, s3_server: S3Server) -> None:
    for name in ("store/", "store/folder/", "store/alone/"):
        s3_server.put(name, b"")
    for name in ("store/folder/file", "store/empty"):
        s3_server.put(name, b"")
    objects = open_objects(proxy.uri("store"))
    assert sorted(objects.objects("")) == ["empty", "folder/file"]
    assert objects.names("") == ["alone", "empty", "folder"]
    assert objects.names("folder/") == ["file"]


def test_names_stay_as_they_are(proxy: S3FaultProxy, s3_server: S3Server) -> None:
    objects = open_objects(proxy.uri("store"))
    for name in ("ü b", "100%", "%20", "a#?*", "{x}", "b=c+d&e;f", ".hid", "~t"):
        s3_server.put(f"store/{name}", name.encode())
        assert objects.read(name) == name.encode()
        assert objects.put(f"{name}2", b"")
    assert len(objects.objects("")) == 16


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (403, "RequestTimeTooSkewed", r"clock of this machine and that of the store differ too much.*NTP"),
        (400, "ExpiredToken", r"no valid S3 credentials: ExpiredToken.*AWS_SESSION_TOKEN"),
        (403, "InvalidAccessKeyId", r"no valid S3 credentials: InvalidAccessKeyId"),
        (403, "SignatureDoesNotMatch", r"no valid S3 credentials: SignatureDoesNotMatch"),
        (400, "AuthorizationHeaderMalformed", r"the bucket is in another region.*AWS_REGION"),
        (503, "SlowDown", r"tried for 0.2 s: SlowDown: the proxy says so.*down or out of reach"),
        (404, "NoSuchBucket", r"there is no bucket 'bucket'; create it"),
        (507, "XMinioStorageFull", r"the store is full"),
        (400, "EntityTooLarge", r"the store refuses it: EntityTooLarge"),
    ],
)
def test_refusal_names_what_is_wrong_and_the_fix(proxy: S3FaultProxy, status: int, code: str, message: str) -> None:
    proxy.code = code
    proxy.inject("status", status=status)
    objects = open_objects(proxy.uri("store", retry_seconds=0.2))
    with pytest.raises(StoreError, match=rf"s3://bucket/store/x: cannot write.*{message}"):
        objects.put("x", b"1")
    with pytest.raises(StoreError, match=rf"s3://bucket/store/x: cannot read.*{message}"):
        objects.read("x")


def test_name_of_a_host_that_nobody_knows_is_said() -> None:
    uri = "s3://bucket/x?endpoint_override=no.such.host.invalid&retry_limit_seconds=0.2"
    with pytest.raises(StoreError, match=r"cannot list, tried for 0.2 s: .*(lookup|resolve).*AWS_ENDPOINT_URL"):
        open_objects(uri).names("")


def test_account_is_the_role_or_the_key_and_never_the_secret(
    proxy: S3FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects = open_objects(proxy.uri("store"))
    assert objects.account == ACCESS_KEY
    assert "not-a-secret" not in repr(objects.__dict__)
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::1:role/trainer")
    assert open_objects(proxy.uri("store")).account == "arn:aws:iam::1:role/trainer"


def test_endpoint_and_region_come_from_the_variables(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{s3_server.port}")
    assert open_objects("s3://bucket/store").put("x", b"1")
    assert open_objects("s3://bucket").read("store/x") == b"1"


def test_account_of_a_profile_is_refused_with_the_command_that_takes_it_out(
    s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "trainer")
    assert open_objects(s3_server.uri("store")).names("") == []  # the variables come first, as with AWS's own programs
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(StoreError, match=r"AWS_PROFILE = trainer.*aws configure export-credentials"):
        open_objects(s3_server.uri("store")).names("")


def test_ca_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", "/no/ca.pem")
    with pytest.raises(StoreError, match=r"AWS_CA_BUNDLE = /no/ca.pem: No such file"):
        open_objects("s3://bucket/store").names("")


KILLED = """
import os, signal, sys
from pathlib import Path
from slipway.remote.s3 import S3Objects
from slipway.stores.model_store.remote import RemoteModelStore
from tests.model_files import provenance, write_model

left = int(sys.argv[1])

def counted(function):
    def call(*arguments):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments)
    return call

S3Objects.put = counted(S3Objects.put)
one = S3Objects.upload
S3Objects.upload = lambda self, files: [counted(one)(self, [file]) for file in files] and None
RemoteModelStore(sys.argv[2], lambda: 50.0).push(write_model(Path(sys.argv[3]), 1), provenance())
"""


def test_push_killed_before_each_object_leaves_no_half_version(s3_server: S3Server, tmp_path: Path) -> None:
    from slipway.stores.model_store.remote import RemoteModelStore

    uri, killed = s3_server.uri("store"), 0
    for operation in range(1, 20):
        folder = str(tmp_path / str(operation))
        ended = subprocess.run(
            [sys.executable, "-c", KILLED, str(operation), uri, folder], check=False, capture_output=True, text=True
        )
        store = RemoteModelStore(uri)
        assert all(not store.verify(version) for version in store.versions("taxi"))
        if ended.returncode == 0:
            break
        assert ended.returncode == -signal.SIGKILL, ended.stderr
        killed += 1
    assert killed > 7
    assert len(store.versions("taxi")) in (1, 2)  # the kill before the state was written left a whole version
