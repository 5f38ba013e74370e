"""`slipway data`: data that have versions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli import options
from cli.output import echo, iso_times, local_time, print_fact, print_json, print_table
from delivery.environment import open_environment
from slipway.data.examples.source import parts_of
from slipway.data.snapshots.store import Snapshot, list_snapshots, load_snapshot
from slipway.data.snapshots.take import take_snapshot

app = typer.Typer(no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="Name of a snapshot.")]
SHORT = 12  # letters of a digest


@app.command()
def snapshot(
    uri: Annotated[str, typer.Argument(help=options.DATA_HELP)],
    name: Annotated[str, typer.Option(help="The name, as trips-2026-11; it never moves.")],
    window: Annotated[int, typer.Option(min=1, help="How many of the newest spans, where the URI holds {SPAN}.")] = 1,
    env: options.Env = None,
    as_json: options.Json = False,
) -> None:
    """Keep the data behind a URI, byte by byte, under a name: `--data snapshot:NAME` reads them from then on.

    They are kept below remote_home where the settings have one, else on this machine. Interrupted, the command goes on
    when it is typed again.
    """
    root = open_environment(env).state.data
    whole = ",".join(parts_of(uri, Path.cwd()))

    def tell(file: str, copied: bool) -> None:
        if not as_json:
            echo(f"  {file}: {'copied' if copied else 'there already'}")

    taken = take_snapshot(whole, name, root, window, tell)
    if as_json:
        print_json(_as_json(taken.snapshot) | {"new": taken.is_new, "copied_bytes": taken.copied})
        return
    its = taken.snapshot
    said = "is new" if taken.is_new else "was there, with the same data"
    echo(f"snapshot:{name} {said}: {len(its.files)} files, {its.size:,} bytes, digest {its.digest[:SHORT]}")


@app.command("list")
def list_(env: options.Env = None, as_json: options.Json = False) -> None:
    """List the snapshots, oldest first."""
    root = open_environment(env).state.data
    found = list_snapshots(root)
    if as_json:
        print_json([_as_json(one) for one in found])
    elif found:
        rows = [
            [one.name, local_time(one.created), one.format, f"{len(one.files):,}", f"{one.size:,}",
             one.digest[:SHORT], one.uri] for one in found
        ]  # fmt: skip
        print_table(["name", "taken", "format", "files", "bytes", "digest", "from"], rows, numbers=["files", "bytes"])
    else:
        echo(f"There are no snapshots in {root}; `slipway data snapshot URI --name NAME` takes one.")


@app.command()
def show(name: Name, env: options.Env = None, as_json: options.Json = False) -> None:
    """Show a snapshot: where it was taken from, by whom, and its files."""
    found = load_snapshot(open_environment(env).state.data, name)
    if as_json:
        print_json(_as_json(found))
        return
    facts = {"name": found.name, "from": found.uri, "taken": f"{local_time(found.created)} by {found.by}",
             "format": found.format, "digest": found.digest, "spans": ", ".join(map(str, found.spans))}  # fmt: skip
    for fact, value in facts.items():
        if value:
            print_fact(fact, value)
    rows = [[file.name, f"{file.size:,}", file.sha256[:SHORT]] for file in found.files]
    print_table(["file", "bytes", "sha256"], rows, numbers=["bytes"])


def _as_json(one: Snapshot) -> dict[str, object]:
    return iso_times(one.model_dump(), "created") | {"bytes": one.size}
