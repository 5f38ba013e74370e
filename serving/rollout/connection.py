"""Connects to an API server with a pod's service account, a kubeconfig, or a Google account."""

from __future__ import annotations

import base64
import os
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import yaml

from slipway.errors import ClusterError, ConfigError
from slipway.remote import google_login

# https://cloud.google.com/kubernetes-engine/docs/reference/rest/v1/projects.locations.clusters
GKE = "https://container.googleapis.com/v1"
_GKE_NAME = re.compile(r"projects/[^/]+/locations/[^/]+/clusters/[^/]+")

# Of kubectl's credential plug-ins.
_INSTALL = {"gke-gcloud-auth-plugin": "gcloud components install gke-gcloud-auth-plugin"}


def timed_client(cluster: str, timeout: tuple[int, int], folder: Path) -> Any:
    """A client that gives every call a time-out, and does not retry by itself.

    Args:
        cluster: `projects/P/locations/L/clusters/C` of GKE, or a context of the kubeconfig. Empty: the pod's
            service account inside a cluster, the current context outside.
        timeout: Seconds to connect, and seconds to wait for an answer.
        folder: For files that the client needs.

    Raises:
        ClusterError: Google does not return the cluster's address.
        ConfigError: the cluster is unknown, or there is no account.
    """
    from kubernetes import client

    class TimedClient(client.ApiClient):  # type: ignore[misc]
        """Adds the time-out to every call, including the discovery of the dynamic client."""

        def call_api(self, *args: Any, **kwargs: Any) -> Any:
            kwargs["_request_timeout"] = timeout
            return super().call_api(*args, **kwargs)

    configuration = client.Configuration()
    configuration.retries = False  # `Cluster` retries
    if _GKE_NAME.fullmatch(cluster):
        _use_gke(configuration, cluster, timeout, folder)
    else:
        _use_kubeconfig(configuration, cluster)
    return TimedClient(configuration)


def _use_kubeconfig(configuration: Any, context: str) -> None:
    from kubernetes import config

    try:
        if not context and "KUBERNETES_SERVICE_HOST" in os.environ:
            config.load_incluster_config(client_configuration=configuration)
            return
        plugin = _require_plugin(context)
        config.load_kube_config(
            config_file=os.environ.get("KUBECONFIG"), context=context or None, client_configuration=configuration
        )
    # The client checks little: what is not YAML, or of another shape, fails where it is used.
    except (config.ConfigException, yaml.YAMLError, OSError, ValueError, TypeError, AttributeError, KeyError) as error:
        path = os.environ.get("KUBECONFIG") or "~/.kube/config"
        raise ConfigError(
            f"no cluster is configured: {path}: {' '.join(str(error).split())}. Set serving.cluster to a context of "
            "your kubeconfig (kubectl config get-contexts), or to projects/P/locations/L/clusters/C; or run it where a "
            "service account is mounted"
        ) from error
    if plugin and not (configuration.api_key or configuration.cert_file):
        # The client logs why, and goes on without any. The program's arguments may be secret.
        named = f" --context {shlex.quote(context)}" if context else ""
        raise ConfigError(
            f"the kubeconfig's program {plugin} gave no credentials: log in again; this shows why: kubectl{named} auth "
            "whoami"
        )


def _require_plugin(context: str) -> str:
    """The program that gives credentials, or empty; `ConfigError` if it is missing, which the client ignores."""
    from kubernetes.config import kube_config

    merged = kube_config.KubeConfigMerger(
        os.environ.get("KUBECONFIG") or kube_config.KUBE_CONFIG_DEFAULT_LOCATION
    ).config
    if merged is None:
        return ""
    name = merged["contexts"].get_with_name(context or merged["current-context"])["context"].safe_get("user")
    user = merged["users"].get_with_name(name, safe=True) if name and merged.safe_get("users") else None
    plugin = (user.safe_get("user") or {}).get("exec") if user else None
    if not plugin:
        return ""
    program = str(plugin["command"])
    if not shutil.which(program):
        install = _INSTALL.get(program) or plugin.get("installHint") or f"install {program}"
        raise ConfigError(
            f"the kubeconfig has the program {program} give the credentials of {name}, and it is not on the "
            f"PATH: {' '.join(install.split())}"
        )
    return program


def _use_gke(configuration: Any, name: str, timeout: tuple[int, int], folder: Path) -> None:
    """A GKE cluster, with Google's application default credentials, whose token is renewed when it expires."""
    from google.auth.exceptions import GoogleAuthError
    from google.auth.transport.requests import Request

    try:
        with google_login.session() as session:
            credentials = session.credentials
            answer = session.get(f"{GKE}/{name}", timeout=timeout)
        if answer.status_code != 200:
            raise ClusterError(f"GKE did not return the address of {name}: {answer.status_code}, {answer.text[:500]}")
        found = answer.json()
    except (GoogleAuthError, OSError) as error:  # requests' errors are OSErrors
        raise ClusterError(f"GKE cannot be asked for the address of {name}: {error}") from error
    dns = found.get("controlPlaneEndpointsConfig", {}).get("dnsEndpointConfig", {})
    if dns.get("allowExternalTraffic"):
        # It reaches private clusters too, and its certificate is a public one.
        configuration.host = f"https://{dns['endpoint']}"
    else:
        authority = folder / "ca.pem"
        authority.write_bytes(base64.b64decode(found["masterAuth"]["clusterCaCertificate"]))
        configuration.host, configuration.ssl_ca_cert = f"https://{found['endpoint']}", str(authority)

    def renew(of: Any) -> None:
        if not credentials.valid:
            credentials.refresh(Request())
        of.api_key["authorization"] = f"Bearer {credentials.token}"

    configuration.refresh_api_key_hook = renew
