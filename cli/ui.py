"""`slipway ui`: the console, for people."""

from __future__ import annotations

import ipaddress
import os
import sys
from typing import Annotated

import typer

from cli import options
from cli.options import MAX_PORT
from cli.output import echo
from delivery.environment import open_environment


def ui(
    env: options.Env = None,
    host: Annotated[str, typer.Option(help="Address to listen on; no authentication.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 takes a free one.", min=0, max=MAX_PORT)] = 8600,
    allow_host: Annotated[
        list[str] | None, typer.Option(help="A name that a proxy calls the console by; repeatable.")
    ] = None,
    allow_actions: Annotated[
        bool, typer.Option("--allow-actions", help="Forms may promote, roll back, train.")
    ] = False,
) -> None:
    """Show runs, models, data and predictions in a browser, of this machine's state or an environment's."""
    from console.app import make_app
    from console.site import Site
    from serving.protocol.sites import serve_site

    site = Site(open_environment(env), allow_actions, tuple(name.lower() for name in allow_host or ()))
    if not _is_loopback(host):
        may = "change what is served" if allow_actions else "read all of it"
        echo(
            f"{host} is not this machine alone: the console has no authentication, and who reaches the port can {may}. "
            "Put an identity-aware proxy or a firewall before it; --allow-host NAME names what the proxy calls it.",
            err=True,
        )
    serve_site(make_app(site), host, port, lambda address: echo(f"{address}  (Ctrl-C ends it)"))
    # Python would wait for each thread that waits for a store. What one writes is written whole, or not at all.
    sys.stdout.flush()
    os._exit(0)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
