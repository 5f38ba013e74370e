"""The `slipway` command: one file for each noun, errors without a stack trace."""

from __future__ import annotations

import os
import sys
from importlib.metadata import version
from typing import Annotated

import typer

from cli.lazy import Command, LazyGroup
from cli.options import TYPED
from cli.output import echo
from slipway.errors import SlipwayError

TABLE = [
    Command("Data", "module", "Start a module, and check one."),
    Command("Data", "schema", "Infer the schema of data."),
    Command("Runs", "run", "Run a pipeline on this machine, from raw data to a pushed model."),
    Command("Runs", "submit", "Start a run on a cluster."),
    Command("Runs", "runs", "List and show runs, read their logs, cancel and remove them."),
    Command("Runs", "report", "Write a run's report, one HTML page, and print its path."),
    Command("Runs", "explain", "Explain why a model was or was not pushed."),
    Command("Runs", "schedules", "Keep recurring runs on a cluster as the settings have them."),
    Command("Models", "models", "Show pushed models; promote, roll back, quarantine and delete versions."),
    Command("Models", "gate", "Test the gate between an evaluated model and production."),
    Command("Models", "parity", "Compare a model's answers in this process, over gRPC and over REST with training."),
    Command("Serving", "serve", "Serve models over gRPC and REST as TensorFlow Serving does."),
    Command("Serving", "predict", "Send rows to a model server and print its predictions."),
    Command("Serving", "rollout", "Bring a version into a cluster through a canary, or roll it back."),
    Command("Serving", "request-log", "Log a sample of the requests to TensorFlow Serving, as a proxy in front of it."),
    Command("Serving", "protoset", "Write the gRPC services of a model server as a protoset, for grpcurl."),
    Command("Delivery", "plan", "Show what a commit makes necessary: image, modules, runs, overlays."),
    Command("Delivery", "deploy", "Carry a plan out: build, sync, compile, submit, apply."),
    Command("Delivery", "compile", "Compile a pipeline for Kubeflow or Vertex."),
    Command("Delivery", "sync", "Publish modules to the place where runs find them."),
    Command("Delivery", "notify", "Test the channels for notifications of runs and rollbacks."),
]


class Commands(LazyGroup):
    """All commands."""

    table = TABLE


app = typer.Typer(
    name="slipway",
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(asked: bool) -> None:
    if asked:
        echo(f"slipway {version('slipway')}")
        raise typer.Exit


@app.callback()
def slipway(
    _: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Takes a TensorFlow model from raw data to served, watched predictions."""


def run() -> None:
    """Entry point: 0 done, 1 an error that the user can mend, 2 wrong usage, 130 interrupted."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow prints a banner on standard error otherwise
    try:
        app(obj=TYPED)
    except SlipwayError as error:
        echo(f"error: {error}", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        echo("interrupted", err=True)
        sys.exit(130)


if __name__ == "__main__":
    run()
