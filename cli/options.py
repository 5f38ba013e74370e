"""Options that several commands share."""

from __future__ import annotations

import os
import re
import time
from typing import Annotated, Any, ClassVar

import typer
import typer.core

from slipway.hints import remember
from slipway.runs.process import start_time
from slipway.targets import RemoteTarget

MAX_PORT = 65535
TAXI = "taxi"
DATA_HELP = (
    "File, glob, {SPAN} pattern, gs://, s3:// or bq:// URI, snapshot:NAME, or pointer of DVC, x.csv.dvc@REVISION."
)


def _began() -> float:
    """Start time of this process (Unix time); on a busy machine, imports end much later."""
    ticks = start_time(os.getpid())
    if ticks is None:  # no /proc
        return time.time() - time.process_time()
    # Ticks are rounded down: one more, so that whatever happened before this process started is not after it.
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + (ticks + 1) / os.sysconf("SC_CLK_TCK")


# Rollbacks leave the version that was stable at this time.
TYPED = _began()


def keep(_: typer.Context, parameter: Any, value: str | None) -> str | None:
    """Keeps an option's value for the commands that messages tell to run."""
    remember(parameter.name, value)
    return value


Env = Annotated[
    str | None,
    typer.Option(help="Settings: settings/<ENV>.yaml over base.yaml; SLIPWAY_ENV by default.", callback=keep),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="KEY=VALUE: override a setting or a key of module.yaml.")]
Target = Annotated[RemoteTarget, typer.Option(help="The cluster's platform.", callback=keep)]
Store = Annotated[
    str | None, typer.Option(help="A model store, local, gs:// or s3://; the environment's by default.", callback=keep)
]
Pipeline = Annotated[str, typer.Option(help="Name of the pipeline.")]
Image = Annotated[str | None, typer.Option(help="Image, as REPOSITORY@sha256:…; the settings' by default.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be done, and change nothing.")]
Wait = Annotated[bool, typer.Option("--wait", help="Follow the submitted runs, and fail if one does.")]
RequirePush = Annotated[
    bool, typer.Option("--require-push", help="Exit with 1 if the run pushes no model, as where the gate refuses it.")
]
Model = Annotated[str, typer.Argument(help="Name of a model.")]
Why = Annotated[str, typer.Option(help="The reason, for the history.")]
Leave = Annotated[int | None, typer.Option("--from", help="Leave this version only; the stable one by default.")]
Sample = Annotated[float, typer.Option(min=0, max=1, help="Share of requests that are logged.")]
Fields = Annotated[str, typer.Option(help="Features that may be logged: a,b,c, or '*' for all; none by default.")]


class OldSpellings(typer.core.TyperCommand):
    """Accepts the hidden older spellings of the argument, `--model NAME` and `--module NAME`."""

    # Patterns in the arguments between zero bytes, and what stands for them.
    old: ClassVar = {r"(^|\0)--(model|module)[=\0]": r"\1"}

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parses the arguments in their new spelling."""
        text = "\0".join(args)
        for pattern, new in self.old.items():
            text = re.sub(pattern, new, text)
        return super().parse_args(ctx, text.split("\0") if args else args)


def asked(context: typer.Context) -> float:
    """When the command was started, as Unix time."""
    return context.obj or time.time()


def silence_tensorflow() -> None:
    """Hides TensorFlow's error messages about missing GPUs; to be called before importing it."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = os.environ.get("TF_CPP_MIN_LOG_LEVEL", "2").replace("2", "3")


def split_fields(fields: str) -> tuple[str, ...]:
    """Names between commas, without the spaces around them."""
    return tuple(name for each in fields.split(",") if (name := each.strip()))


def describe_fields(fields: tuple[str, ...], flag: str) -> str:
    """The logged features, in words."""
    if not fields:
        return f"no features are logged; allow them by name with {flag}"
    return "all features are logged" if "*" in fields else f"logged features: {', '.join(fields)}"
