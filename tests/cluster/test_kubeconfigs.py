"""Kubeconfigs that are broken, and API servers of another authority: what is told of them, whatever the cluster is."""

from __future__ import annotations

import json
import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from serving.rollout.cluster import Cluster
from serving.rollout.connection import timed_client
from slipway.errors import ClusterError, ConfigError

TIMEOUT = (1, 1)


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
