import base64
import contextlib
import hashlib
import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

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


@pytest.mark.parametrize("key", ["https://{}", "{}/v2/", "{}/team", "{}/team/slipway"])
def test_digest_with_a_login_whose_name_docker_or_podman_wrote_otherwise(
    registry: FakeRegistry, config: Path, key: str
) -> None:
    registry.login = LOGIN
    host = registry.repository.partition("/")[0]
    good, bad = (base64.b64encode(one.encode()).decode() for one in (LOGIN, "ann:wrong"))
    others = {f"{host}/te": {"auth": bad}, f"{host}/other": {"auth": bad}, "https://elsewhere.example": {"auth": bad}}
    config.write_text(json.dumps({"auths": {**others, key.format(host): {"auth": good}}}))
    assert look_up(registry) is None


@pytest.mark.parametrize("kept", ["in the file", "by a helper"])
def test_digest_with_an_identity_token_changes_it_for_another(
    registry: FakeRegistry, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: str
) -> None:
    registry.login, registry.identity = LOGIN, "kept-by-docker"
    host = registry.repository.partition("/")[0]
    if kept == "in the file":
        config.write_text(json.dumps({"auths": {host: {"auth": "", "identitytoken": "kept-by-docker"}}}))
    else:
        helper = tmp_path / "docker-credential-acr"
        helper.write_text('#!/bin/sh\necho \'{"Username": "<token>", "Secret": "kept-by-docker"}\'\n')
        helper.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        config.write_text(json.dumps({"auths": {host: {}}, "credsStore": "acr"}))
    assert look_up(registry) is None
    assert [request.method for request in registry.requests] == ["HEAD", "POST", "HEAD"]


def test_digest_of_a_registry_that_takes_a_password_or_a_token(registry: FakeRegistry, config: Path) -> None:
    registry.login, registry.challenges = LOGIN, 'Basic realm="fake", '
    config.write_text(json.dumps(auths(registry)))
    assert look_up(registry) is None


def test_digest_of_docker_hub_asks_its_server_with_its_login(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str]] = []

    def answer(session: requests.Session, request: requests.PreparedRequest, **_: object) -> requests.Response:
        asked.append((str(request.url), str(request.headers["Authorization"])))
        found = requests.Response()
        found.status_code = 404
        return found

    monkeypatch.setattr(requests.Session, "send", answer)
    config.write_text(json.dumps({"auths": {"https://index.docker.io/v1/": {"auth": "YTpi"}}}))
    assert ImageRegistry("docker.io/team/slipway").digest("one") is None
    assert asked == [("https://registry-1.docker.io/v2/team/slipway/manifests/one", "Basic YTpi")]


def test_digest_of_a_registry_whose_ca_is_not_known_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise requests.exceptions.SSLError("self-signed certificate")

    monkeypatch.setattr(requests.Session, "send", refuse)
    with pytest.raises(DeliveryError, match=r"registry\.example\.com.*REQUESTS_CA_BUNDLE"):
        ImageRegistry("registry.example.com/team/slipway").digest("one")


@pytest.fixture
def real_registry(tmp_path: Path) -> Iterator[str]:
    """host:port of the registry that SLIPWAY_REGISTRY names, with a login.

    `go install github.com/distribution/distribution/v3/cmd/registry@latest` builds it.
    """
    if not (program := os.environ.get("SLIPWAY_REGISTRY")):
        pytest.skip("SLIPWAY_REGISTRY is not set: the path of the program registry")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{free.getsockname()[1]}"
    (tmp_path / "htpasswd").write_text("ann:$2b$04$kjZcbfcF8EHIwxpfFZmSKeDOIsS0iCG/GtQTKx20K1fl4IlfYC0L6\n")
    (tmp_path / "registry.yaml").write_text(
        f"{{version: 0.1, log: {{level: error}}, http: {{addr: '{host}'}}, storage: {{inmemory: {{}}}}, "
        f"auth: {{htpasswd: {{realm: team, path: {tmp_path / 'htpasswd'}}}}}}}\n"
    )
    with subprocess.Popen([program, "serve", str(tmp_path / "registry.yaml")], stderr=subprocess.DEVNULL) as process:
        try:
            until = time.monotonic() + 20
            while time.monotonic() < until:
                with contextlib.suppress(requests.ConnectionError):
                    requests.get(f"http://{host}/v2/", timeout=5)
                    break
                time.sleep(0.1)
            yield host
        finally:
            process.terminate()


def test_digest_of_a_real_registry_with_a_login(real_registry: str, config: Path) -> None:
    repository, ann = f"{real_registry}/team/slipway", ("ann", "secret")
    url, blob = f"http://{real_registry}/v2/team/slipway", b"{}"
    digest = f"sha256:{hashlib.sha256(blob).hexdigest()}"
    where = requests.post(f"{url}/blobs/uploads/", auth=ann, timeout=9).headers["Location"]
    put = requests.put(f"{where}&digest={digest}", data=blob, auth=ann, timeout=9)
    assert put.status_code == 201, put.text
    media = "application/vnd.oci.image.manifest.v1+json"
    of_blob = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest, "size": len(blob)}
    manifest = json.dumps({"schemaVersion": 2, "mediaType": media, "config": of_blob, "layers": []}).encode()
    headers = {"Content-Type": media}
    pushed = requests.put(f"{url}/manifests/one", data=manifest, headers=headers, auth=ann, timeout=9)
    assert pushed.status_code == 201, pushed.text
    with pytest.raises(DeliveryError, match=f"401.*docker login {real_registry}"):
        ImageRegistry(repository).digest("one")
    config.write_text(json.dumps({"auths": {real_registry: {"auth": base64.b64encode(b"ann:secret").decode()}}}))
    assert ImageRegistry(repository).digest("one") == f"{repository}@sha256:{hashlib.sha256(manifest).hexdigest()}"
    assert ImageRegistry(repository).digest("two") is None


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
