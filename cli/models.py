"""`slipway models`: the versions in the model store, and which of them serves."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from cli import options
from cli.output import echo, format_metrics, iso_times, local_time, print_fact, print_json, print_table
from delivery.environment import open_environment
from delivery.rollout import model_of
from delivery.tracking import mirror_versions
from delivery.versions import VersionChange, describe_change, still_served
from slipway.errors import StoreError
from slipway.pages.numbers import MISSING
from slipway.runs.explain import find_version
from slipway.runs.store import assignments
from slipway.stores.model_store import Stage, Version
from slipway.stores.model_store.fetch import fetch_version
from slipway.stores.model_store.state import production

app = typer.Typer(no_args_is_help=True)

OneVersion = Annotated[str, typer.Argument(help="A version: VERSION or MODEL/VERSION.")]
Who = Annotated[str, typer.Option(help="Your name for the history, beside the account.")]


@app.command("list")
def list_(
    model: Annotated[str | None, typer.Argument(help="Name of a model; all by default.")] = None,
    store: options.Store = None,
    env: options.Env = None,
    as_json: options.Json = False,
) -> None:
    """List all versions, newest first, with their stages; the one in production is marked."""
    opened = open_environment(env).store(store)
    versions: list[tuple[Version, Stage, bool]] = []
    for name in opened.models() if model is None else [model_of(opened, model)]:
        state, there = opened.look(name)
        pin = production(state, [version.number for version in there])
        versions += [(version, state.stages[version.number], version.number == pin) for version in reversed(there)]
    if as_json:
        print_json([_as_json(*found) for found in versions])
    elif not versions:
        echo("The model store is empty; `slipway run` pushes a model when it passes its gate.")
    else:
        rows = [
            [
                version.model,
                str(version.number),
                stage,
                "production" if in_production else "",
                local_time(version.manifest.created),
                format_metrics(dict(list(version.manifest.metrics.items())[:3])),
                version.manifest.lineage.run,
            ]
            for version, stage, in_production in versions
        ]
        print_table(["model", "version", "stage", "", "pushed", "metrics", "run"], rows)


@app.command()
def show(
    version: Annotated[str, typer.Argument(help="VERSION or MODEL/VERSION; or MODEL for its production.")],
    store: options.Store = None,
    env: options.Env = None,
    as_json: options.Json = False,
) -> None:
    """Show one version: its stage, where it came from, its metrics and its files."""
    opened = open_environment(env).store(store)
    found = (opened.production(version) if version in opened.models() else None) or find_version(opened, version)
    stage, in_production = opened.stage(found.model, found.number), found == opened.production(found.model)
    if as_json:
        print_json(_as_json(found, stage, in_production))
        return
    manifest, lineage = found.manifest, found.manifest.lineage
    facts = {
        "model": found.model,
        "version": str(found.number),
        "stage": f"{stage}, in production" if in_production else stage,
        "path": found.uri,
        "pushed": f"{local_time(manifest.created)} {manifest.pushed_by and f'by {manifest.pushed_by}'}",
        "run": lineage.run,
        "data": lineage.data_uri,
        "data digest": manifest.data_digest,
        "module": f"{lineage.module} {lineage.module_digest}",
        "hyperparameters": assignments(lineage.hyperparameters) or MISSING,
        "overrides": assignments(lineage.overrides) or MISSING,
        "git": lineage.git_revision,
        "image": lineage.image,
        **({"GPU image": lineage.gpu_image} if lineage.gpu_image else {}),
        "baseline": str(manifest.baseline_version or "none"),
        "model digest": manifest.model_digest,
        "files": _files(found),
        "metrics": format_metrics(manifest.metrics),
    }
    for name, value in [*facts.items(), *(("", f"- {reason}") for reason in manifest.reasons)]:
        print_fact(name, value, width=15)


@app.command()
def promote(
    version: OneVersion, why: options.Why = "", who: Who = "", store: options.Store = None, env: options.Env = None
) -> None:
    """Make a version stable after verifying its files; the previous one is retired."""
    environment = open_environment(env)
    found = find_version(opened := environment.store(store), version)
    event = VersionChange(environment, opened, found.model, why, who).promote(found.number)
    echo(describe_change(event, found.model))


@app.command()
def rollback(
    context: typer.Context,
    model: options.Model,
    to: Annotated[int | None, typer.Option(help="A version that was promoted; the last stable by default.")] = None,
    leave: options.Leave = None,
    why: options.Why = "",
    who: Who = "",
    store: options.Store = None,
    env: options.Env = None,
) -> None:
    """Roll back to the previously promoted version, and quarantine the one that is stable now.

    Notifies the channels of the environment; with --store and no environment, no notification is sent.
    """
    environment = open_environment(env)
    opened, notifies = environment.store(store), not (store and environment.name is None)
    change = VersionChange(environment, opened, model_of(opened, model), why, who, notifies=notifies)
    echo(describe_change(change.roll_back(to, leave=leave, asked=options.asked(context)), model))
    if not notifies:
        echo("No notification was sent: channels belong to an environment, and --store names none; add --env.")


@app.command()
def quarantine(
    version: OneVersion, why: options.Why = "", who: Who = "", store: options.Store = None, env: options.Env = None
) -> None:
    """Withdraw a version until it is released; for the stable one, use `rollback`."""
    environment = open_environment(env)
    found = find_version(opened := environment.store(store), version)
    before = opened.production(found.model)
    event = VersionChange(environment, opened, found.model, why, who).quarantine(found.number)
    echo(describe_change(event, found.model))
    if still_served(opened, found.model, found.number):
        status, abort = f"`slipway rollout status {found.model}`", f"`slipway rollout abort {found.model}`"
        told = (
            f"Only the store is changed; a cluster that serves it goes on: {status} shows it, {abort} removes a canary"
        )
        echo(f"{told}.")
    if before and before.number == found.number:
        now = opened.production(found.model)
        echo(f"It was in production, as the newest version; now {f'version {now.number}' if now else 'none'} is.")


@app.command()
def release(
    version: OneVersion, why: options.Why = "", who: Who = "", store: options.Store = None, env: options.Env = None
) -> None:
    """Lift the quarantine of a version: it, and the same bytes, may be pushed and promoted again."""
    environment = open_environment(env)
    opened = environment.store(store)
    model, _, number = version.rpartition("/")
    # Bytes may be released whose files were deleted, so the version need not be one that can be served.
    model = model_of(opened, model or None)
    if not number.isdigit():
        raise StoreError(f"{version!r} is no version; give VERSION or MODEL/VERSION")
    event = VersionChange(environment, opened, model, why, who).release(int(number))
    echo(describe_change(event, model))


@app.command()
def history(
    model: options.Model, store: options.Store = None, env: options.Env = None, as_json: options.Json = False
) -> None:
    """List all changes of a model's versions, with time, user and reason; newest first."""
    opened = open_environment(env).store(store)
    events = opened.history(model_of(opened, model))[::-1]
    if as_json:
        print_json([iso_times(event.model_dump(), "when") for event in events])
        return
    rows = [
        [local_time(one.when), one.action, str(one.version), str(one.previous or ""), one.actor, one.why, one.run]
        for one in events
    ]
    headers = ["when", "action", "version", "before", "who", "why", "run"]
    print_table(headers, rows, numbers=["version", "before"])


@app.command()
def verify(
    version: Annotated[str | None, typer.Argument(help="VERSION, MODEL/VERSION or MODEL; all by default.")] = None,
    store: options.Store = None,
    env: options.Env = None,
) -> None:
    """Hash the stored files again and compare them with the pushed ones; 1 if any differs."""
    opened = open_environment(env).store(store)
    names = opened.models()
    if version is None or version in names:
        versions = [found for name in names if version in (None, name) for found in opened.versions(name)]
    else:
        versions = [find_version(opened, version)]
    damaged = 0
    for found in versions:
        problems = opened.verify(found)
        damaged += bool(problems)
        echo(f"{found.model}/{found.number}: {'damaged' if problems else f'intact, {_files(found)}'}")
        for problem in problems:
            echo(f"  - {problem}")
    if damaged:
        echo(f"{damaged} of {len(versions)} versions are damaged; push them again or roll back", err=True)
        raise typer.Exit(1)
    echo(f"{len(versions)} of {len(versions)} versions are what was pushed.")


@app.command()
def fetch(
    model: options.Model,
    version: Annotated[int, typer.Argument(help="Number of the version.")],
    to: Annotated[Path, typer.Option(help="Folder of the model, which a model server polls.")],
    store: options.Store = None,
    env: options.Env = None,
) -> None:
    """Copy a version to FOLDER/VERSION, with every file's SHA-256 checked; what was interrupted goes on."""
    found = open_environment(env).store(store).version(model, version)
    began = time.monotonic()
    target = fetch_version(found, to)
    echo(f"{target}: {_files(found)}, as pushed, in {time.monotonic() - began:.1f} s")


@app.command()
def prune(
    model: options.Model,
    keep: Annotated[int, typer.Option(min=0, help="How many to keep beyond those in use.")] = 5,
    why: options.Why = "",
    who: Who = "",
    store: options.Store = None,
    env: options.Env = None,
) -> None:
    """Delete old versions; production, the target of a rollback, a canary and the newest N others are kept."""
    environment = open_environment(env)
    opened = environment.store(store)
    deleted = opened.prune(model_of(opened, model), keep, why=why, says=who)
    if deleted:
        mirror_versions(environment, opened, model)
        echo(f"Deleted of {model}: {', '.join(map(str, deleted))}; their manifests and history stay.")
    else:
        echo(f"No version of {model} was deleted: each is in use or among the newest {keep}.")


def _files(version: Version) -> str:
    files = version.manifest.files
    return f"{len(files)} files, {sum(file.size for file in files):,} bytes"


def _as_json(version: Version, stage: Stage, in_production: bool) -> dict[str, Any]:
    manifest = iso_times(version.manifest.model_dump(mode="json"), "created")
    its = {"path": version.uri, "stage": stage, "production": in_production}
    return its | manifest | {"lineage": iso_times(manifest["lineage"], "started")}
