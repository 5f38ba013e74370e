"""`slipway data`: data that have versions."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from cli import options
from cli.output import echo, iso_times, local_time, print_fact, print_json, print_table
from delivery.environment import open_environment
from slipway.data.examples.source import SNAPSHOT, parts_of
from slipway.data.snapshots.store import Snapshot, list_snapshots, load_snapshot
from slipway.data.snapshots.take import take_snapshot
from slipway.stores import storage

if TYPE_CHECKING:
    from tensorflow_metadata.proto.v0 import statistics_pb2

    from delivery.environment import Environment

app = typer.Typer(no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="Name of a snapshot.")]
SHORT = 12  # letters of a digest
MOST = 2**31  # parts of the rows in one split, so that there is one


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
    from delivery.snapshots import users_of_snapshots

    environment = open_environment(env)
    found = load_snapshot(environment.state.data, name)
    used = users_of_snapshots(environment).get(found.name, [])
    if as_json:
        paths = [storage.join(environment.state.data, file.path) for file in found.files]
        print_json(_as_json(found) | {"used": used, "paths": paths})
        return
    facts = {"name": found.name, "from": found.uri, "taken": f"{local_time(found.created)} by {found.by}",
             "format": found.format, "digest": found.digest, "spans": ", ".join(map(str, found.spans))}  # fmt: skip
    for fact, value in facts.items():
        if value:
            print_fact(fact, value)
    for fact, value in zip(["used", *[""] * len(used)], used, strict=False):
        print_fact(fact, value)
    rows = [[file.name, f"{file.size:,}", file.sha256[:SHORT]] for file in found.files]
    print_table(["file", "bytes", "sha256"], rows, numbers=["bytes"])


@app.command()
def diff(
    first: Annotated[str, typer.Argument(metavar="A", help="Name of a snapshot.")],
    second: Annotated[str, typer.Argument(metavar="B", help="Name of another one.")],
    env: options.Env = None,
    as_json: options.Json = False,
) -> None:
    """Compare two snapshots: rows, columns and types, and how far each column's values are apart for certain.

    What is marked moved is more than chance explains in one comparison of 1,000.
    """
    from console.data.differences import differences
    from slipway.data.statistics.describe import feature_name
    from slipway.data.statistics.features import TYPE_NAMES

    if first == second:
        raise typer.BadParameter("give two names", param_hint="B")
    environment = open_environment(env)
    sides = {name: _statistics(environment, name) for name in (first, second)}
    rows = [one.num_examples for one in sides.values()]
    types = [{feature_name(one): TYPE_NAMES.get(one.type, "other") for one in side.features} for side in sides.values()]
    found = differences(sides, sides, quantiles=False)
    columns = [
        {"column": name, "types": [side.get(name) for side in types], "apart": its.apart, "where": its.said,
         "moved": its.has_moved} for name, its in found.items()
    ]  # fmt: skip
    if as_json:
        print_json({"rows": rows, "columns": columns})
        return
    print_fact("rows", f"{rows[0]:,} → {rows[1]:,}")
    cells = [
        [name, *(side.get(name, "is not there") for side in types), f"{its.apart:.4f}" if its.apart < 1 else "",
         "moved" if its.has_moved else "", its.said] for name, its in found.items()
    ]  # fmt: skip
    print_table(["column", first, second, "apart", "", "where"], cells, numbers=["apart"])


def _statistics(environment: Environment, name: str) -> statistics_pb2.DatasetFeatureStatistics:
    """The statistics of nearly all rows of a snapshot."""
    from slipway.data.snapshots.resolve import resolve
    from slipway.module_api import HashSplit
    from slipway.module_kit.scaffold.recognise import read_table

    uri = f"{SNAPSHOT}{name.removeprefix(SNAPSHOT)}"
    with TemporaryDirectory(prefix="slipway-diff-") as folder:
        source = resolve(uri, 1, environment.state.data)
        whole = read_table(source, Path(folder), HashSplit(train=MOST, eval=1)).statistics
    return whole.datasets[0]


@app.command()
def prune(
    older_than: Annotated[
        float, typer.Option(min=0, metavar="DAYS", help="Remove only snapshots taken more than DAYS days ago.")
    ] = 0.0,
    dry_run: options.DryRun = False,
    env: options.Env = None,
    as_json: options.Json = False,
) -> None:
    """Remove the snapshots that nothing names, and bytes that no snapshot points to; say what is kept, and why.

    Kept are those that a module.yaml, a shared feature, a schedule, a run's record, a version of the model store or a
    monitor's window names. A run on a cluster has a record at its end only: prune while none is under way, or give
    --older-than.
    """
    from delivery.snapshots import users_of_snapshots
    from slipway.data.snapshots import prune as pruning

    environment = open_environment(env)
    root = environment.state.data
    work = pruning.find_prunable if dry_run else pruning.prune
    found = work(root, users_of_snapshots(environment), older_than)
    removed = [one.name for one in found.removed]
    if as_json:
        print_json(
            {"dry_run": dry_run, "removed": removed, "kept": found.kept, "orphans": found.orphans, "bytes": found.size}
        )
        return
    for name, why in found.kept.items():
        others = f", and {len(why) - 1} more" if len(why) > 1 else ""
        echo(f"  kept {name}: {why[0]}{others}")
    for name in removed:
        echo(f"  {'would remove' if dry_run else 'removed'} {name}: nothing names it")
    echo(
        f"{'Would remove' if dry_run else 'Removed'} from {root}: {found.size / 2**20:,.1f} MiB; "
        f"snapshots: {len(removed)}, files without a name: {len(found.orphans)}"
    )


def _as_json(one: Snapshot) -> dict[str, object]:
    return iso_times(one.model_dump(), "created") | {"bytes": one.size}
