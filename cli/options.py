"""Options that several commands share."""

from __future__ import annotations

import os
import time
from typing import Annotated

import typer

from slipway.runs.process import start_time
from slipway.targets import RemoteTarget

MAX_PORT = 65535
DATA_HELP = "File, glob, {SPAN} pattern, gs:// or bq:// URI."


def _began() -> float:
    """When this process began, in seconds since 1970: on a busy machine long before its imports are done."""
    ticks = start_time(os.getpid())
    if ticks is None:  # no /proc
        return time.time() - time.process_time()
    # Ticks are rounded down, and what ended before this process began was there when its command was typed.
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + (ticks + 1) / os.sysconf("SC_CLK_TCK")


# A command means what was so when it was typed.
TYPED = _began()

Env = Annotated[str | None, typer.Option(help="Settings: settings/<ENV>.yaml over base.yaml; SLIPWAY_ENV by default.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="KEY=VALUE: override a setting or a key of module.yaml.")]
Target = Annotated[RemoteTarget, typer.Option(help="The cluster's platform.")]
Store = Annotated[str | None, typer.Option(help="A model store, local or gs://; the environment's by default.")]
Pipeline = Annotated[str, typer.Option(help="Name of the pipeline.")]
Image = Annotated[str | None, typer.Option(help="Image, as REPOSITORY@sha256:…; the settings' by default.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be done, and change nothing.")]
Wait = Annotated[bool, typer.Option("--wait", help="Follow the submitted runs, and fail if one does.")]
Model = Annotated[str, typer.Argument(help="Name of a model.")]
MaybeModel = Annotated[str | None, typer.Argument(help="Name of a model; taxi by default.")]
# Spellings of before 0019.
OldModel = Annotated[str | None, typer.Option("--model", hidden=True)]
OldModule = Annotated[str | None, typer.Option("--module", hidden=True)]
Why = Annotated[str, typer.Option(help="The reason, for the history.")]
Leave = Annotated[int | None, typer.Option("--from", help="Leave this version only; the stable one by default.")]
Sample = Annotated[float, typer.Option(min=0, max=1, help="Share of requests that are logged.")]
Fields = Annotated[str, typer.Option(help="Features that may be logged: a,b,c, or '*' for all; none by default.")]


def named(argument: str | None, old: str | None) -> str:
    """The model or module of a command, by its argument or by the option that it was before."""
    if argument and old and argument != old:
        raise typer.BadParameter(f"{argument} and {old} are two names; give one, as the argument")
    return argument or old or "taxi"


def asked(context: typer.Context) -> float:
    """When a command was typed, in seconds since 1970."""
    return context.obj or time.time()


def silence_tensorflow() -> None:
    """Hides TensorFlow's notes on absent GPUs, which it logs as errors; to be called before its import."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = os.environ.get("TF_CPP_MIN_LOG_LEVEL", "2").replace("2", "3")


def split_fields(fields: str) -> tuple[str, ...]:
    """Names between commas, without the spaces around them."""
    return tuple(name for each in fields.split(",") if (name := each.strip()))


def describe_fields(fields: tuple[str, ...], flag: str) -> str:
    """The logged features, in words."""
    if not fields:
        return f"no features are logged; allow them by name with {flag}"
    return "all features are logged" if "*" in fields else f"logged features: {', '.join(fields)}"
