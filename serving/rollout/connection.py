"""How the API server is found, and who asks it: the pod's own account, or a kubeconfig."""

from __future__ import annotations

import os
from typing import Any

from slipway.errors import ConfigError


def timed_client(context: str, timeout: tuple[int, int]) -> Any:
    """A client each of whose calls has a timeout, and none of which is tried again in secret.

    Args:
        context: Of the kubeconfig; empty for the pod's own account inside a cluster, else for the current one.
        timeout: Seconds to connect and seconds to wait for an answer.

    Raises:
        ConfigError: there is neither.
    """
    from kubernetes import client, config

    class TimedClient(client.ApiClient):  # type: ignore[misc]
        """Gives every call a timeout: the discovery of the dynamic client has none of its own."""

        def call_api(self, *args: Any, **kwargs: Any) -> Any:
            kwargs["_request_timeout"] = timeout
            return super().call_api(*args, **kwargs)

    configuration = client.Configuration()
    configuration.retries = False  # ours are the only ones
    try:
        if not context and "KUBERNETES_SERVICE_HOST" in os.environ:
            config.load_incluster_config(client_configuration=configuration)
        else:
            config.load_kube_config(
                config_file=os.environ.get("KUBECONFIG"), context=context or None, client_configuration=configuration
            )
    except config.ConfigException as error:
        raise ConfigError(
            f"no cluster to talk to: {error}. Name a context of your kubeconfig in the settings (serving.context), "
            "or run it where a service account is mounted"
        ) from error
    return TimedClient(configuration)
