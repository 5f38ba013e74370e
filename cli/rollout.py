"""`slipway rollout`: a version into a cluster through a canary, and back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.asked import LeaveOption, asked
from cli.output import JsonOption, local_time, print_json, print_table

if TYPE_CHECKING:
    from delivery.rollout import Serving
    from serving.rollout import Rollout
    from settings.schema import Settings

HELD = 3

app = typer.Typer(
    help="Bring a version into a cluster through a canary, or back. Exit code 3: too little traffic to decide.",
    no_args_is_help=True,
)

EnvOption = Annotated[
    str, typer.Option("--env", help="Settings of settings/<ENV>.yaml: they name cluster and overlay.")
]
ModelOption = Annotated[str, typer.Option("--model", help="Name of the model.")]
WhyOption = Annotated[str, typer.Option("--why", help="For the model's history.")]
ForceOption = Annotated[
    bool, typer.Option("--force-conflicts", help="Take fields over that somebody changed by hand in the cluster.")
]


@app.command()
def start(
    env: EnvOption,
    version: Annotated[int | None, typer.Argument(help="In the model store; the newest by default.")] = None,
    model: ModelOption = "taxi",
    force: ForceOption = False,
) -> None:
    """Start a version's rollout, or go on with one whose process died: canary, checks, then promotion or rollback."""
    with _open(env, model, force) as rollout:
        rollout.start(version or _newest(rollout))


@app.command()
def promote(
    env: EnvOption, model: ModelOption = "taxi", why: WhyOption = "decided by hand", force: ForceOption = False
) -> None:
    """Promote the version whose canary waits for a decision."""
    with _open(env, model, force) as rollout:
        rollout.promote(why)


@app.command()
def abort(env: EnvOption, model: ModelOption = "taxi", why: WhyOption = "decided by hand") -> None:
    """Take the canary away; its version may be started again."""
    with _open(env, model) as rollout:
        rollout.abort(why)


@app.command()
def rollback(
    context: typer.Context,
    env: EnvOption,
    model: ModelOption = "taxi",
    leave: LeaveOption = None,
    why: WhyOption = "rolled back by hand",
    force: ForceOption = False,
) -> None:
    """Go back to the version that was promoted before; the one that serves when this is typed gets quarantined."""
    from cli.notify import tell_of_rollback
    from settings.load import load_settings

    with _open(env, model, force) as rollout:
        state = rollout.rollback(why, leave=leave, asked=asked(context))
    assert state.previous is not None
    happened = f"back at version {state.version}, from version {state.previous}"
    reasons = [f"{state.who}: {reason}" for reason in state.reasons]
    tell_of_rollback(load_settings(env), rollout.store, model, state.previous, happened, reasons)


@app.command()
def refresh(env: EnvOption, force: ForceOption = False) -> None:
    """Roll the overlay, as it is now, out for every model in production; the versions stay."""
    from settings.load import load_settings

    with _held():
        refresh_all(load_settings(env), force)


@app.command()
def status(env: EnvOption, model: ModelOption = "taxi", as_json: Annotated[bool, JsonOption] = False) -> None:
    """Show what serves, who is at a rollout, and what was last decided."""
    with _open(env, model) as rollout:
        found = rollout.status()
    if as_json:
        print_json(found)
    else:
        _print(found)


def serving_of(settings: Settings) -> Serving:
    """Where an environment serves.

    Raises:
        ConfigError: its settings name no overlay.
    """
    from cli.workspace import PROJECT
    from delivery.rollout import Serving
    from slipway.errors import ConfigError

    content = settings.serving.model_dump()
    overlay, cluster = content.pop("overlay"), content.pop("cluster")
    if not overlay:
        raise ConfigError(
            "these settings name no cluster to serve in: set serving.overlay in settings/<environment>.yaml"
        )
    return Serving(PROJECT / "manifests" / "overlays" / overlay, settings.image, cluster, content)


def refresh_all(settings: Settings, force: bool = False) -> None:
    """Rolls an environment's overlay out for all models that are served, each by way of a canary.

    Raises:
        RolloutInconclusiveError: too little traffic; the canary stays.
        RolloutError: another rollout is at work, or a version does not come up with the overlay.
    """
    from slipway.stores.model_store import open_store

    store = open_store(_store_uri(settings))
    for model in store.models():
        version = store.production(model)
        if version and store.stage(model, version.number) == "stable":
            with _rollout(settings, model, force) as rollout:
                rollout.start(version.number)


def _store_uri(settings: Settings) -> str:
    from cli.workspace import local_locations, remote_locations

    locations = remote_locations(settings) if settings.remote_home else local_locations(settings)
    return locations.store


@contextmanager
def _open(env: str, model: str, force: bool = False) -> Iterator[Rollout]:
    from settings.load import load_settings

    with _held(), _rollout(load_settings(env), model, force) as rollout:
        yield rollout


@contextmanager
def _rollout(settings: Settings, model: str, force: bool) -> Iterator[Rollout]:
    """Rollouts of one model; people are told if a version is taken back meanwhile."""
    from cli.notify import tell_of_rollback
    from slipway.errors import RolledBackError

    with serving_of(settings).rollout(model, _store_uri(settings), typer.echo, force=force) as rollout:
        try:
            yield rollout
        except RolledBackError as error:
            happened = f"version {error.version} was rolled back"
            tell_of_rollback(settings, rollout.store, model, error.version, happened, [str(error)])
            raise


@contextmanager
def _held() -> Iterator[None]:
    from slipway.errors import RolloutInconclusiveError

    try:
        yield
    except RolloutInconclusiveError as error:
        typer.echo(f"held: {error}", err=True)
        raise typer.Exit(HELD) from error


def _newest(rollout: Rollout) -> int:
    from slipway.errors import StoreError

    versions = rollout.store.versions(rollout.model)
    if not versions:
        raise StoreError(f"the model store has no version of {rollout.model}; `slipway run` pushes one")
    return versions[-1].number


def _print(found: dict[str, Any]) -> None:
    typer.echo(
        f"{found['model']} in {found['namespace']}; production in the model store: {found['production'] or 'none'}"
    )
    rows = [
        [track, str(its["version"]), f"{its['ready']} of {its['replicas']}"] if its else [track, "none", ""]
        for track, its in ((track, found[track]) for track in ("stable", "canary"))
    ]
    print_table(["", "version", "ready"], rows)
    if found["holder"]:
        typer.echo(f"at work: {found['holder']} since {found['held_since']}")
    if last := found["rollout"]:
        when = local_time(last["updated"])
        typer.echo(f"version {last['version']}: {last['phase']} since {when}, by {last['who']}")
        for reason in last["reasons"]:
            typer.echo(f"  - {reason}")
