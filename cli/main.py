"""The `slipway` command: its commands, imported when they are called, and errors without a stack trace."""

from __future__ import annotations

import gc
import os
import sys
from importlib import import_module
from typing import Annotated, Any, NamedTuple

import typer
import typer.core
import typer.main

from cli.options import TYPED
from cli.output import echo
from slipway import __version__
from slipway.errors import SlipwayError
from slipway.hints import complete, nothing_given


class Command(NamedTuple):
    """A line of the main help. The module has a function of the command's name, or an `app` with subcommands."""

    panel: str
    module: str
    name: str
    help: str

    def load(self) -> Any:
        """The command itself."""
        module = import_module(self.module)
        function = getattr(module, self.name.replace("-", "_"), None)
        if function is None:
            command: Any = typer.main.get_group(module.app)
        else:
            app = typer.Typer(add_completion=False)
            # TensorFlow Serving's flags have underscores.
            spelling = {"token_normalize_func": lambda name: name.replace("_", "-")}
            app.command(cls=getattr(module, "CommandClass", None), context_settings=spelling)(function)
            command = typer.main.get_command(app)
        command.name, command.help = self.name, command.help or self.help
        for one in (command, *getattr(command, "commands", {}).values()):
            for parameter in one.params:
                if isinstance(parameter, typer.core.TyperArgument):
                    parameter.metavar = parameter.metavar or str(parameter.name).upper()
        return command


TABLE = [
    Command("Data", "cli.module", "module", "Start a module, and check one."),
    Command("Data", "cli.data", "data", "Keep data under names that never move; list, compare and prune them."),
    Command("Data", "cli.schema", "schema", "Infer the schema of data."),
    Command("Data", "cli.features", "features", "List and show the features that modules share."),
    Command("Runs", "cli.run", "run", "Run a pipeline on this machine, from raw data to a pushed model."),
    Command("Runs", "cli.run", "submit", "Start a run on a cluster."),
    Command("Runs", "cli.runs", "runs", "List and show runs, read their logs, cancel and remove them."),
    Command("Runs", "cli.runs", "report", "Write a run's report, one HTML page, and print its path."),
    Command("Runs", "cli.runs", "explain", "Explain why a model was or was not pushed."),
    Command("Runs", "cli.schedules", "schedules", "Create and list the recurring runs of the settings on a cluster."),
    Command("Runs", "cli.monitor", "monitor", "Compare requests with training, and train again where they moved."),
    Command("Runs", "cli.tune", "tune", "Write what a search found into module.yaml."),
    Command("Runs", "cli.loop", "loop", "Play the whole loop on this machine: drift, retraining, canary, a bad model."),
    Command("Runs", "cli.track", "track", "Write runs and versions to MLflow that an outage left out."),
    Command("Runs", "cli.ui", "ui", "Show runs, models, data and predictions in a browser."),
    Command("Models", "cli.models", "models", "Show pushed models; promote, roll back, quarantine, delete versions."),
    Command("Models", "cli.gate", "gate", "Test the gate between an evaluated model and production."),
    Command("Models", "cli.parity", "parity", "Compare a served model's answers with those of training."),
    Command("Serving", "cli.serve", "serve", "Serve models over gRPC and REST as TensorFlow Serving does."),
    Command("Serving", "cli.predict", "predict", "Send rows to a model server and print its predictions."),
    Command("Serving", "cli.predict_page", "predict-page", "Show a page on which people get predictions of a model."),
    Command("Serving", "cli.rollout", "rollout", "Roll out a version to a cluster through a canary, or roll it back."),
    Command("Serving", "cli.request_log", "request-log", "Log requests to TensorFlow Serving; delete logged rows."),
    Command("Serving", "cli.protoset", "protoset", "Write the gRPC services of a model server for grpcurl."),
    Command("Delivery", "cli.deploy", "plan", "Show what a commit makes necessary: image, modules, runs, overlays."),
    Command("Delivery", "cli.deploy", "deploy", "Carry a plan out: build, sync, compile, submit, apply."),
    Command("Delivery", "cli.compile", "compile", "Compile a pipeline for Kubeflow or Vertex."),
    Command("Delivery", "cli.deploy", "sync", "Publish modules where runs load them from."),
    Command("Delivery", "cli.notify", "notify", "Test the channels for notifications of runs and rollbacks."),
]


class Commands(typer.core.TyperGroup):
    """The commands of `TABLE`, each imported when it is called or asked for its own help."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.table = {command.name: command for command in TABLE}
        for name, its in self.table.items():
            self.commands[name] = typer.core.TyperCommand(name, help=its.help, rich_help_panel=its.panel)

    def list_commands(self, ctx: Any) -> list[str]:
        """Names in the order of the table, not alphabetically."""
        return list(self.table)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that is called."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, self.table[name].load() if name and command else command, rest

    def invoke(self, ctx: Any) -> Any:
        """Runs a command; those that its error tells to run get its environment and store."""
        with nothing_given():
            try:
                return super().invoke(ctx)
            except SlipwayError as error:
                error.args = (complete(str(error)),)
                raise


app = typer.Typer(
    name="slipway",
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(asked: bool) -> None:
    if asked:
        echo(f"slipway {__version__}")  # not by its metadata, which the image has not
        raise typer.Exit


@app.callback()
def slipway(
    _: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Takes a TensorFlow model from raw data to a served, explained version."""


def run() -> None:
    """Entry point: 0 done, 1 an error that the user can fix, 2 wrong usage, 130 interrupted."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow prints a banner on standard error otherwise
    try:
        app(obj=TYPED)
    except SlipwayError as error:
        echo(f"error: {error}", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        echo("interrupted", err=True)
        sys.exit(130)
    finally:
        # At its end Python looks for garbage among all that was imported: a tenth of a command's time. DuckDB
        # prints what it holds unless this frees it.
        if "duckdb" not in sys.modules:
            gc.freeze()


if __name__ == "__main__":
    run()
