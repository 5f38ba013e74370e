"""How a cluster of GKE is found: Google's answer, and the account. tests/cluster has the kubeconfigs."""

from __future__ import annotations

import base64
import json
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
from serving.rollout.connection import timed_client
from slipway.errors import ClusterError

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
