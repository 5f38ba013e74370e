"""What S3 has of its own: the probe of conditions, ETags, marks of folders, who asks, and what a refusal means."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from slipway.errors import StoreError
from slipway.remote import s3
from slipway.remote.interface import Objects
from slipway.remote.objects import ABSENT, open_objects
from slipway.remote.s3 import PART_BYTES, PROBE
from slipway.stores import storage
from tests.fakes.fault_proxy import Fault, Kind
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

    def replace(request: str) -> Fault | None:
        if request == "GET store/big" and len(proxy.requests) > 1 and not done:
            done.append(1)
            s3_put(proxy, b"2" * (3 * PART_BYTES))
        return hear(request)

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


@pytest.mark.parametrize(
    ("content", "reason"), [(None, "No such file"), (b"no certificate", ""), (b"\x30\x82\xa5DER", "")]
)
def test_ca_that_cannot_be_read_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes | None, reason: str
) -> None:
    if content is not None:
        (tmp_path / "ca.pem").write_bytes(content)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    with pytest.raises(StoreError, match=rf"AWS_CA_BUNDLE = .*/ca.pem: .*{reason}.* in PEM"):
        open_objects("s3://bucket/store").names("")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("AWS_ACCESS_KEY_ID", "slipway-test\n", "AWS_ACCESS_KEY_ID: its value has a space or a line break"),
        ("AWS_SECRET_ACCESS_KEY", "hidden\n", "AWS_SECRET_ACCESS_KEY: its value has a space or a line break"),
        ("AWS_SECRET_ACCESS_KEY", "", "no valid S3 credentials: AWS_SECRET_ACCESS_KEY is not set"),
        ("AWS_ENDPOINT_URL", "minio:9000", r"endpoint of S3 is minio:9000, .*https://HOST:PORT"),
        ("AWS_ENDPOINT_URL", "ftp://minio", r"endpoint of S3 is ftp://minio, "),
    ],
)
def test_variable_that_cannot_be_meant_is_named(
    s3_server: S3Server, monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(StoreError, match=message) as refused:
        open_objects("s3://bucket/store").names("")
    assert "hidden" not in str(refused.value)


@ONLY_MOTO
def test_name_that_cannot_be_read_is_said_at_once(proxy: S3FaultProxy, s3_server: S3Server) -> None:
    with pytest.raises(StoreError, match=r"a//b.*empty path segment.*rename"):
        open_objects(proxy.uri("")).read("a//b")
    s3_server.put("a//b", b"1")
    with pytest.raises(StoreError, match=r"cannot list: .*a//b.*rename") as refused:
        open_objects(proxy.uri("")).objects("")
    assert "tried for" not in str(refused.value)


@pytest.mark.parametrize(
    ("on", "act", "lacks"),
    [
        (r"^GET \?", lambda objects, _: objects.names(""), "list: the account lacks s3:ListBucket"),
        (r"^GET \?", lambda objects, _: objects.objects(""), "list: the account lacks s3:ListBucket"),
        ("^GET store/x", lambda objects, _: objects.find("x"), "read: the account lacks s3:GetObject"),
        ("^GET store/x", lambda objects, _: objects.read("x"), "read: the account lacks s3:GetObject"),
        ("^GET store/x", lambda objects, to: objects.download([("x", to)]), "read: the account lacks s3:GetObject"),
        ("^POST", lambda objects, _: objects.put("y", b"1", ABSENT), "write: the account lacks s3:PutObject"),
        ("^POST", lambda objects, to: objects.create(to, "y"), "write: the account lacks s3:PutObject"),
        ("^POST", lambda objects, to: objects.upload([(to, "y")]), "write: the account lacks s3:PutObject"),
        ("^DELETE", lambda objects, _: objects.delete(["x"]), "delete: the account lacks s3:DeleteObject"),
    ],
    ids=["names", "objects", "find", "read", "download", "put", "create", "upload", "delete"],
)
def test_action_that_is_forbidden_is_named(
    proxy: S3FaultProxy, tmp_path: Path, on: str, act: Callable[[Objects, Path], object], lacks: str
) -> None:
    objects, file = open_objects(proxy.uri("store")), tmp_path / "file"
    file.write_bytes(b"1")
    objects.put("x", b"1")
    proxy.inject("status", status=403, on=on)
    with pytest.raises(StoreError, match=f"cannot {lacks}"):
        act(objects, file)


def test_file_is_created_once_and_in_one_piece(proxy: S3FaultProxy, tmp_path: Path) -> None:
    objects, first, second = open_objects(proxy.uri("store")), tmp_path / "first", tmp_path / "second"
    first.write_bytes(os.urandom(PART_BYTES + 1))
    second.write_bytes(b"2")
    assert objects.create(first, "new")
    assert not objects.create(second, "new")
    assert objects.read("new") == first.read_bytes()
    assert [request for request in proxy.requests if "new" in request and "GET" not in request] == [
        "POST store/new"
    ] * 2
    with pytest.raises(StoreError, match=r"//bucket/store/other: cannot write: on this machine: .*No such file"):
        objects.create(tmp_path / "none", "other")


@pytest.mark.parametrize(("kind", "status"), [("status", 503), ("status", 429), ("reset", 0)])
def test_file_is_created_though_the_store_fails_at_first(
    proxy: S3FaultProxy, tmp_path: Path, kind: Kind, status: int
) -> None:
    objects, file = open_objects(proxy.uri("store")), tmp_path / "file"
    file.write_bytes(b"1")
    proxy.inject(kind, status=status, on="POST store/new", times=2)
    assert objects.create(file, "new")
    assert objects.read("new") == b"1"


def test_file_whose_answer_is_lost_is_there_and_created_by_nobody_else(proxy: S3FaultProxy, tmp_path: Path) -> None:
    objects, file = open_objects(proxy.uri("store")), tmp_path / "file"
    file.write_bytes(b"1")
    proxy.inject("lost", on="POST store/new", times=1)
    assert not objects.create(file, "new")  # it met itself, as `put` says
    assert objects.read("new") == b"1"


@pytest.mark.parametrize("generation", [ABSENT, "own"])
def test_write_that_meets_another_one_in_flight_is_made_again(proxy: S3FaultProxy, generation: str) -> None:
    """S3 answers 409 then, which says nothing of the condition: the other one may be a deletion."""
    objects = open_objects(proxy.uri("store"))
    if generation:
        objects.put("x", b"1")
        _, generation = objects.read_generation("x") or (b"", "")
    assert objects.put("other", b"", ABSENT)  # the probe is behind us
    proxy.code = "ConditionalRequestConflict"
    proxy.inject("status", status=409, on="POST store/x", times=1)
    assert objects.put("x", b"2", generation)
    assert objects.read("x") == b"2"


def test_bucket_of_another_region_is_named(proxy: S3FaultProxy, tmp_path: Path) -> None:
    proxy.code = "PermanentRedirect"
    proxy.inject("status", status=301)
    objects, file = open_objects(proxy.uri("store", retry_seconds=0.2)), tmp_path / "file"
    file.write_bytes(b"1")
    acts: list[Callable[[], object]] = [
        lambda: objects.names(""), lambda: objects.read("x"), lambda: objects.find("x"),
        lambda: objects.put("x", b"1"), lambda: objects.upload([(file, "x")]), lambda: objects.delete(["x"]),
    ]  # fmt: skip
    for act in acts:
        with pytest.raises(StoreError, match=r"the bucket is in another region.*AWS_REGION"):
            act()


def test_object_that_is_deleted_while_it_comes_down_is_named(
    proxy: S3FaultProxy, s3_server: S3Server, tmp_path: Path
) -> None:
    objects, hear = open_objects(proxy.uri("store")), proxy.fault
    objects.put("big", b"1" * (2 * PART_BYTES))
    proxy.requests.clear()

    def delete(request: str) -> Fault | None:
        if len(proxy.requests) == 1:  # the look at its size is behind it
            s3_server.delete("store/big")
        return hear(request)

    proxy.fault = delete  # type: ignore[method-assign]
    with pytest.raises(StoreError, match=r"s3://bucket/store/big: cannot read: there is no such file"):
        objects.download([("big", tmp_path / "big")])
    with pytest.raises(StoreError, match=r"s3://bucket/store/big.*there is no such file"):
        storage.read_bytes(proxy.uri("store/big"))


def openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    """`ca.pem`, and `store.pem` that it signed, each with its key."""
    new = ("req", "-newkey", "rsa:2048", "-nodes", "-addext", "subjectAltName=DNS:localhost")
    openssl(tmp_path, *new, "-x509", "-days", "1", "-subj", "/CN=CA", "-keyout", "ca.key", "-out", "ca.pem")
    openssl(tmp_path, *new, "-subj", "/CN=localhost", "-keyout", "store.key", "-out", "store.csr")
    signed = ("x509", "-req", "-in", "store.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-copy_extensions", "copy")
    openssl(tmp_path, *signed, "-days", "1", "-out", "store.pem")
    return tmp_path


@pytest.mark.parametrize(
    ("shown", "named", "says"),
    [
        ("store", "", r"certificate is not trusted: .*AWS_CA_BUNDLE"),
        ("store", "ca", ""),
        ("ca", "ca", r"certificate of a CA as its own.*AWS_CA_BUNDLE"),
    ],
)
def test_store_behind_a_ca_of_ones_own(
    proxy: S3FaultProxy, authority: Path, monkeypatch: pytest.MonkeyPatch, shown: str, named: str, says: str
) -> None:
    proxy.speak_tls(authority / f"{shown}.pem", authority / f"{shown}.key")
    if named:
        monkeypatch.setenv("AWS_CA_BUNDLE", str(authority / f"{named}.pem"))
    objects = open_objects(f"s3://bucket/store?endpoint_override=localhost:{proxy.port}&retry_limit_seconds=0.3")
    if says:
        with pytest.raises(StoreError, match=says):
            objects.put("x", b"1")
    else:
        assert objects.put("x", b"1", ABSENT)
        assert objects.read("x") == b"1"


@ONLY_MOTO
def test_bucket_in_the_name_of_the_host(proxy: S3FaultProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    hosts = list[str]()
    forward = proxy.forward

    def by_path(method: str, target: str, body: bytes | None, headers: dict[str, str]) -> Any:
        url = urlsplit(target)  # absolute, since the client takes this for a proxy
        hosts.append(url.netloc)
        headers = {name: value for name, value in headers.items() if name.lower() != "host"}
        return forward(method, f"/bucket{url.path}?{url.query}", body, headers)

    monkeypatch.setattr(proxy, "forward", by_path)
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
    objects = open_objects("s3://bucket/store?scheme=http&endpoint_override=s3.test&force_virtual_addressing=true")
    assert objects.put("x", b"1", ABSENT)
    assert objects.read("x") == b"1"
    assert objects.names("") == [PROBE, "x"]
    assert set(hosts) == {"bucket.s3.test"}
