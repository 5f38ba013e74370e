"""Options of one server process; `serving/protocol/limits.py` has the limits of requests."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ServerConfig:
    """Ports and times of a server.

    Attributes:
        host: Address to listen on. There is no authentication, so the default is the loopback interface.
        grpc_port: 0 takes a free one.
        rest_port: 0 takes a free one.
        poll_seconds: Interval between polls of the models; 0 polls once.
        max_load_retries: How often a version that cannot be loaded is tried again.
        retry_seconds: Interval between tries.
        allow_unavailable_labels: Whether an unused label may be given to a version that is not loaded.
        cors: Whether the pages of other origins may read answers over REST.
    """

    host: str = "127.0.0.1"
    grpc_port: int = 8500
    rest_port: int = 8501
    poll_seconds: float = 1.0
    max_load_retries: int = 5
    retry_seconds: float = 60.0
    allow_unavailable_labels: bool = False
    cors: bool = False
