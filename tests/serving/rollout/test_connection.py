"""How a cluster is found: a kubeconfig, a pod's account, or Google's answer to where a cluster of GKE is."""

from __future__ import annotations

import base64
import json
import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import google.auth
import pytest
from google.auth.credentials import Credentials
from google.auth.exceptions import DefaultCredentialsError

from serving.rollout import connection
from serving.rollout.cluster import Cluster
from serving.rollout.connection import timed_client
from slipway.errors import ClusterError, ConfigError

NAME = "projects/p/locations/europe-west4/clusters/serving"
TIMEOUT = (1, 1)


class Expiring(Credentials):
    """Each refresh gives another token."""

    refreshed = 0

    def refresh(self, request: Any) -> None:
        self.refreshed += 1
        self.token = f"token-{self.refreshed}"


class Gke:
    """Answers where clusters are."""

    def __init__(self) -> None:
        self.clusters: dict[str, Any] = {}
        self.authorizations: list[str | None] = []
        gke = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                gke.authorizations.append(self.headers.get("Authorization"))
                found = gke.clusters.get(self.path[1:])
                self.send_response(200 if found else 404)
                self.end_headers()
                self.wfile.write(json.dumps(found or {"error": {"message": "Not found: cluster"}}).encode())

            def log_message(self, *_: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()


@pytest.fixture
def gke(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gke]:
    answering = Gke()
    monkeypatch.setattr(connection, "GKE", f"http://127.0.0.1:{answering.server.server_port}")
    monkeypatch.setattr(google.auth, "default", lambda scopes: (Expiring(), "p"))  # type: ignore[no-untyped-call]
    yield answering
    answering.server.shutdown()
    answering.server.server_close()
    answering.thread.join()


def test_timed_client_of_gke_trusts_its_authority_and_renews_the_token(gke: Gke, tmp_path: Path) -> None:
    certificate = base64.b64encode(b"-----BEGIN CERTIFICATE-----").decode()
    gke.clusters[NAME] = {"endpoint": "34.90.1.2", "masterAuth": {"clusterCaCertificate": certificate}}
    with timed_client(NAME, TIMEOUT, tmp_path) as client:
        configuration = client.configuration
        assert configuration.host == "https://34.90.1.2"
        assert Path(configuration.ssl_ca_cert).read_bytes().startswith(b"-----BEGIN")
        assert gke.authorizations == ["Bearer token-1"]
        assert configuration.get_api_key_with_prefix("authorization") == "Bearer token-1"


def test_timed_client_of_gke_prefers_the_address_that_is_open_to_the_outside(gke: Gke, tmp_path: Path) -> None:
    dns = {"endpoint": "gke-1.europe-west4.gke.goog", "allowExternalTraffic": True}
    gke.clusters[NAME] = {"endpoint": "10.0.0.2", "controlPlaneEndpointsConfig": {"dnsEndpointConfig": dns}}
    with timed_client(NAME, TIMEOUT, tmp_path) as client:
        assert client.configuration.host == "https://gke-1.europe-west4.gke.goog"
        assert client.configuration.ssl_ca_cert is None


def test_timed_client_of_a_cluster_that_gke_does_not_know_says_so(gke: Gke, tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match=r"404, .*Not found: cluster"):
        timed_client(NAME, TIMEOUT, tmp_path)


def test_timed_client_without_credentials_of_google_says_so(
    gke: Gke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody(scopes: list[str]) -> None:
        raise DefaultCredentialsError("Your default credentials were not found")  # type: ignore[no-untyped-call]

    monkeypatch.setattr(google.auth, "default", nobody)
    with pytest.raises(ClusterError, match="credentials were not found"):
        timed_client(NAME, TIMEOUT, tmp_path)


def test_timed_client_without_kubeconfig_names_the_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(ConfigError, match=r"serving\.cluster"):
        timed_client("", TIMEOUT, tmp_path)


KUBECONFIG: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Config",
    "current-context": "here",
    "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
    "users": [{"name": "u", "user": {"token": "t"}}],
    "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("clusters: [", "expected the node content"),
        ("- a\n- list", "no cluster is configured"),
        ("just words", "no cluster is configured"),
        ("", "Invalid kube-config"),
        (json.dumps(KUBECONFIG | {"current-context": "there"}), "name there"),
        (json.dumps(KUBECONFIG | {"clusters": []}), "no cluster is configured"),
        (
            json.dumps(KUBECONFIG | {"clusters": [{"name": "c", "cluster": {"server": "https://x",
                       "certificate-authority": "/none.pem"}}]}),
            "/none.pem",
        ),
    ],
)  # fmt: skip
def test_timed_client_broken_kubeconfig_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, why: str
) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(text)
    monkeypatch.setenv("KUBECONFIG", str(path))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(ConfigError) as caught:
        timed_client("", TIMEOUT, tmp_path)
    assert why in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("command", "hint"),
    [
        ("gke-gcloud-auth-plugin", "gcloud components install gke-gcloud-auth-plugin"),
        ("none-such-login", "apt install none-such-login"),
    ],
)
def test_timed_client_credential_plugin_that_is_absent_is_told_with_its_installation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, hint: str
) -> None:
    plugin = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": command,
        "installHint": f"apt install {command}",
    }
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(KUBECONFIG | {"users": [{"name": "u", "user": {"exec": plugin}}]}))
    monkeypatch.setenv("KUBECONFIG", str(path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(ConfigError, match=f"{command} .*not on the PATH: {hint}$"):
        timed_client("", TIMEOUT, tmp_path)


def test_timed_client_credential_plugin_that_fails_is_not_taken_for_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "login"
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    plugin = {
        "apiVersion": "client.authentication.k8s.io/v1", "command": str(program), "args": ["--client-secret=s3cret"],
    }  # fmt: skip
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(KUBECONFIG | {"users": [{"name": "u", "user": {"exec": plugin}}]}))
    monkeypatch.setenv("KUBECONFIG", str(path))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(ConfigError, match=r"login gave no credentials: .*kubectl --context here auth whoami") as caught:
        timed_client("here", TIMEOUT, tmp_path)
    assert "s3cret" not in str(caught.value)
    status = {"token": "t"}
    answer = json.dumps({"apiVersion": plugin["apiVersion"], "kind": "ExecCredential", "status": status})
    program.write_text(f"#!/bin/sh\necho '{answer}'\n")
    with timed_client("here", TIMEOUT, tmp_path) as client:
        assert client.configuration.api_key == {"authorization": "Bearer t"}


def test_cluster_of_another_authority_is_told_and_not_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-keyout", key, "-out", certificate, "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    cluster = {"name": "c", "cluster": {"server": f"https://127.0.0.1:{server.server_port}"}}
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(KUBECONFIG | {"clusters": [cluster]}))
    monkeypatch.setenv("KUBECONFIG", str(path))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    pauses: list[float] = []
    try:
        with (
            pytest.raises(ClusterError, match=r"certificate is not of the kubeconfig's authority.*self-signed"),
            Cluster("n", timeout=TIMEOUT, pause=pauses.append),
        ):
            pass
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert pauses == []
