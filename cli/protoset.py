"""`slipway protoset`: the messages of a model server, for tools such as grpcurl."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.output import echo
from slipway.stores.storage import write_bytes


def protoset(
    output: Annotated[Path, typer.Option("-o", "--output", help="File to write.")] = Path("serving.protoset"),
) -> None:
    """Write the gRPC services of a model server as a protoset, for grpcurl: the server has no reflection."""
    from serving.client.protoset import describe_services

    content = describe_services()
    write_bytes(str(output), content)
    echo(f"{output}: {len(content):,} bytes; use it as in `grpcurl -plaintext -protoset {output} …`")
