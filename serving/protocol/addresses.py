"""Listening sockets, and the error of a port that is taken."""

from __future__ import annotations

import errno
import socket
from typing import Any

from slipway.errors import ConfigError


def address_of(host: str, port: int) -> str:
    """HOST:PORT as gRPC and URLs want it: an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parse_address(address: str, flag: str) -> tuple[str, int]:
    """Host and port of `HOST:PORT`.

    Raises:
        ConfigError: it is none; names the command's flag for it.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise ConfigError(f"{flag} is {address!r}: give HOST:PORT, such as 127.0.0.1:8600")
    return host.strip("[]"), int(port)


def listen(host: str, port: int, protocol: str, flag: str) -> socket.socket:
    """A listening socket; port 0 takes a free one.

    Raises:
        ConfigError: the port is taken, or this machine does not have the address; names the protocol, and the command's
            flag for the port.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With its protocol named: asyncio sends at once (TCP_NODELAY) on such sockets only.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(1024)
    except OSError as error:
        listener.close()
        raise port_taken(host, port, protocol, flag, error) from error
    return listener


def add_grpc_port(server: Any, host: str, port: int, flag: str) -> int:
    """Makes a gRPC server listen and returns the port; otherwise as `listen`."""
    # gRPC does not say why a port is not available; a socket does.
    listen(host, port, "gRPC", flag).close()
    try:
        found: int = server.add_insecure_port(address_of(host, port))
    except RuntimeError as error:
        raise port_taken(host, port, "gRPC", flag, error) from error
    return found


def port_taken(host: str, port: int, protocol: str, flag: str, error: Exception) -> ConfigError:
    """The error of a port that is not available."""
    if isinstance(error, socket.gaierror) or (isinstance(error, OSError) and error.errno == errno.EADDRNOTAVAIL):
        advice = "Give an address of this machine with --host: 127.0.0.1 for itself alone, 0.0.0.0 for all networks"
    else:
        advice = f"Another server may have the port: stop it, or give another one with {flag}; 0 takes a free one"
    return ConfigError(f"cannot listen on {address_of(host, port)} for {protocol}: {error}. {advice}")
