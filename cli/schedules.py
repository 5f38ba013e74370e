"""`slipway schedules`: recurring runs, as the settings have them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.output import JsonOption, print_json, print_table
from cli.targets import EnvOption, RemoteTarget

if TYPE_CHECKING:
    from delivery.schedules import Action
    from delivery.targets.base import Recurring
    from settings.schema import Settings

app = typer.Typer(help="Keep recurring runs on a cluster as the settings have them.", no_args_is_help=True)

MaybeTarget = Annotated[
    RemoteTarget | None, typer.Option("--target", help="Where they run; the one that the settings name by default.")
]


@app.command()
def apply(
    target: MaybeTarget = None,
    env: EnvOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and change nothing.")] = False,
    as_json: Annotated[bool, JsonOption] = False,
) -> None:
    """Create, replace and remove recurring runs until the target has those of the settings, and no others of ours."""
    from cli.targets import configured_target, open_target
    from delivery.schedules import apply as converge
    from delivery.schedules import plan
    from settings.load import load_settings

    settings = load_settings(env)
    name = target or configured_target(settings)
    schedules = open_target(settings, name, env).schedules
    taken: list[Action] = []

    def take(action: Action) -> None:
        taken.append(action)
        if not as_json:
            typer.echo(f"{action.verb} {action.name}: {action.why}")

    with wanted_schedules(settings, name, env, publish=not dry_run) as wanted:
        if dry_run:
            for action in plan(wanted, schedules.list()):
                take(action)
        else:
            converge(wanted, schedules, take)
    if as_json:
        print_json([{"action": action.verb, "name": action.name, "why": action.why} for action in taken])
    elif not taken:
        typer.echo(f"{name} has all schedules of the settings: nothing to do")


@app.command("list")
def list_(target: MaybeTarget = None, env: EnvOption = None, as_json: Annotated[bool, JsonOption] = False) -> None:
    """List what is there of ours, beside what the settings want."""
    from cli.targets import configured_target, open_target
    from settings.load import load_settings

    settings = load_settings(env)
    name = target or configured_target(settings)
    found = open_target(settings, name, env).schedules.list()
    wanted = {key for key, schedule in settings.schedules.items() if schedule.enabled}
    missing = sorted(wanted - {one.name for one in found})
    if as_json:
        there = [{"name": one.name, "id": one.id, "cron": one.cron, "enabled": one.enabled, "url": one.url,
                  "in_settings": one.name in wanted} for one in found]  # fmt: skip
        print_json(there + [{"name": name, "id": None, "in_settings": True} for name in missing])
        return
    rows = [
        [
            one.name,
            "enabled" if one.enabled else "paused",
            one.cron,
            "" if one.name in wanted else "not in the settings",
            one.url,
        ]
        for one in found
    ]
    advice = "`slipway schedules apply` makes it"
    rows += [[key, "missing", settings.schedules[key].cron, advice, ""] for key in missing]
    if rows:
        print_table(["schedule", "state", "cron (UTC)", "remark", "address"], rows)
    else:
        typer.echo("There are no schedules, on the target or in the settings.")


@app.command()
def delete(
    names: Annotated[list[str], typer.Argument(help="Names of schedules.", metavar="NAME...")],
    target: MaybeTarget = None,
    env: EnvOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and change nothing.")] = False,
) -> None:
    """Remove recurring runs of ours from the target; `apply` makes those of the settings again."""
    from cli.targets import configured_target, open_target
    from delivery.schedules import remove
    from settings.load import load_settings
    from slipway.errors import TargetError

    settings = load_settings(env)
    schedules = open_target(settings, target or configured_target(settings), env).schedules
    known = {one.name for one in schedules.list()}
    unknown = sorted(set(names) - known)
    if unknown:
        raise TargetError(f"there is no schedule {', '.join(unknown)}; there are {', '.join(sorted(known)) or 'none'}")
    if dry_run:
        for name in sorted(set(names)):
            typer.echo(f"delete {name}: asked for")
    else:
        remove(names, schedules, lambda action: typer.echo(f"delete {action.name}: {action.why}"))


@contextmanager
def wanted_schedules(
    settings: Settings, target: RemoteTarget, env: str | None, *, publish: bool
) -> Iterator[list[Recurring]]:
    """The schedules of the settings that are enabled, each with its pipeline compiled."""
    import json

    from cli.overrides import split_overrides
    from cli.targets import compiled, prepare
    from delivery.targets.base import Recurring
    from settings.load import load_settings

    wanted = []
    packages: dict[str, Path] = {}
    with ExitStack() as kept:
        for name, schedule in settings.schedules.items():
            if not schedule.enabled:
                continue
            pairs = [f"{key}={json.dumps(value)}" for key, value in schedule.overrides.items()]
            for_settings, for_module = split_overrides(pairs)
            own = load_settings(env, [("image", settings.image), *for_settings])
            # All that the package depends on.
            key = schedule.pipeline + own.model_dump_json(include={"image", "compute"})
            if key not in packages:
                packages[key] = kept.enter_context(compiled(own, target, pipeline=schedule.pipeline))
            submission = prepare(
                own,
                target,
                packages[key],
                schedule.module,
                schedule.data,
                for_module,
                pipeline=schedule.pipeline,
                settings_overrides=dict(for_settings),
                publish=publish,
            )
            place = getattr(own, target).model_dump()
            wanted.append(
                Recurring(name, schedule.cron, schedule.max_concurrency, schedule.catch_up, submission, place)
            )
        yield wanted
