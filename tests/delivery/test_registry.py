import base64
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from delivery.registry import ImageRegistry
from slipway.errors import ConfigError, DeliveryError
from tests.fakes.image_registry import NAME, FakeRegistry
from tests.fakes.loopback_server import Answer

LOGIN = "ann:secret"
MANIFESTS = rf"/v2/{NAME}/manifests/.*"


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with FakeRegistry() as server:
        yield server


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file in which docker keeps logins; there is none yet."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setattr("slipway.remote.retries.sleep", lambda seconds: None)
    for name in ("REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "config.json"


def look_up(server: FakeRegistry, tag: str = "one") -> str | None:
    return ImageRegistry(server.repository).digest(tag)


def auths(server: FakeRegistry, login: str = LOGIN) -> dict[str, object]:
    host = server.repository.partition("/")[0]
    return {"auths": {host: {"auth": base64.b64encode(login.encode()).decode()}}}


def test_digest_of_an_image_that_is_there(registry: FakeRegistry) -> None:
    pushed = registry.push("one")
    assert look_up(registry) == pushed
    assert look_up(registry, "two") is None


def test_digest_with_a_login_of_docker_changes_it_for_a_token(registry: FakeRegistry, config: Path) -> None:
    registry.login = LOGIN
    pushed = registry.push("one")
    config.write_text(json.dumps(auths(registry)))
    assert look_up(registry) == pushed
    assert [request.method for request in registry.requests] == ["HEAD", "GET", "HEAD"]


def test_digest_with_a_login_of_podman(registry: FakeRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registry.login = LOGIN
    (tmp_path / "auth.json").write_text(json.dumps(auths(registry)))
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "auth.json"))
    assert look_up(registry) is None


def test_digest_with_a_credential_helper(
    registry: FakeRegistry, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.login = LOGIN
    host = registry.repository.partition("/")[0]
    helper = tmp_path / "docker-credential-vault"
    helper.write_text(f'#!/bin/sh\n[ "$1 $(cat)" = "get {host}" ] && echo \'{{"Username":"ann","Secret":"secret"}}\'\n')
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    config.write_text(json.dumps({"credHelpers": {host: "vault"}}))
    assert look_up(registry) is None


@pytest.mark.parametrize("known", [False, True])
def test_digest_without_or_with_a_wrong_login_says_how_to_log_in(
    registry: FakeRegistry, config: Path, known: bool
) -> None:
    registry.login = LOGIN
    if known:
        config.write_text(json.dumps(auths(registry, "ann:wrong")))
    with pytest.raises(DeliveryError, match=r"401.*docker login 127\.0\.0\.1:\d+"):
        look_up(registry)


def test_digest_login_file_that_is_damaged_is_named(registry: FakeRegistry, config: Path) -> None:
    config.write_text("{")
    with pytest.raises(ConfigError, match=r"config\.json"):
        look_up(registry)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_digest_failure_that_passes_is_tried_again(registry: FakeRegistry, status: int) -> None:
    pushed = registry.push("one")
    registry.fail("HEAD", MANIFESTS, status, times=2)
    assert look_up(registry) == pushed


def test_digest_failure_that_stays_is_told_after_four_attempts(registry: FakeRegistry) -> None:
    registry.fail("HEAD", MANIFESTS, 503, times=9)
    with pytest.raises(DeliveryError, match="503"):
        look_up(registry)
    assert len(registry.requests) == 4


def test_digest_forbidden_is_not_taken_for_missing(registry: FakeRegistry) -> None:
    registry.fail("HEAD", MANIFESTS, 403)
    with pytest.raises(DeliveryError, match="403"):
        look_up(registry)
    assert len(registry.requests) == 1


def test_digest_of_a_server_that_is_no_registry_is_refused(registry: FakeRegistry) -> None:
    registry.answer("HEAD", MANIFESTS, Answer(200, b""))
    with pytest.raises(DeliveryError, match=r"delivery\.image_repository"):
        look_up(registry)


def test_digest_token_address_that_is_not_encrypted_gets_no_password(registry: FakeRegistry, config: Path) -> None:
    config.write_text(json.dumps(auths(registry)))
    challenge = (("WWW-Authenticate", 'Bearer realm="http://localhost.evil.example/token"'),)
    registry.answer("HEAD", MANIFESTS, Answer(401, b"", headers=challenge))
    with pytest.raises(DeliveryError, match=r"localhost\.evil\.example.*https"):
        look_up(registry)


def test_digest_registry_that_is_down_names_it() -> None:
    with pytest.raises(DeliveryError, match=r"127\.0\.0\.1:1 .*tried 4 times.*ConnectionError"):
        ImageRegistry("127.0.0.1:1/team/slipway").digest("one")


def test_digest_without_google_credentials_says_how_to_get_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    with pytest.raises(DeliveryError, match="gcloud auth application-default login"):
        ImageRegistry("europe-docker.pkg.dev/project/slipway/slipway").digest("one")


@pytest.mark.parametrize(
    "repository", ["slipway", "https://host/x", "host/x:tag", "host/x@sha256:1", "host/UPPER", "host/", "a b/c"]
)
def test_repository_that_is_none_is_refused_before_anything_is_asked(repository: str) -> None:
    with pytest.raises(ConfigError, match=r"delivery\.image_repository = .*without a tag"):
        ImageRegistry(repository)
