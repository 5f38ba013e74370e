"""The `slipway` command: one file per noun, errors told without a stack trace."""

from __future__ import annotations

import os
import sys

import typer

from cli import compile as compile_command
from cli import (
    deploy,
    explain,
    gate,
    models,
    module,
    notify,
    parity,
    plan,
    predict,
    protoset,
    report,
    rollout,
    runs,
    schedules,
    schema,
    serve,
    submit,
    sync,
)
from cli import request_log as request_log_command
from cli import run as run_command
from cli.asked import TYPED
from slipway.errors import SlipwayError

app = typer.Typer(
    name="slipway",
    help="Takes a TensorFlow model from raw data to served, watched predictions.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("run")(run_command.run)
app.command("compile")(compile_command.compile_pipeline)
app.command("submit")(submit.submit)
app.command("sync")(sync.sync)
app.command("plan")(plan.plan)
app.command("deploy")(deploy.deploy)
app.command("predict")(predict.predict)
app.command("serve")(serve.serve)
app.command("request-log")(request_log_command.request_log)
app.command("parity")(parity.parity)
app.command("protoset")(protoset.protoset)
app.command("report")(report.report)
app.command("explain")(explain.explain)
app.add_typer(runs.app, name="runs")
app.add_typer(schedules.app, name="schedules")
app.add_typer(models.app, name="models")
app.add_typer(rollout.app, name="rollout")
app.add_typer(module.app, name="module")
app.add_typer(notify.app, name="notify")
app.add_typer(schema.app, name="schema")
app.add_typer(gate.app, name="gate")


def run() -> None:
    """Entry point: 0 done, 1 an error of the user's to mend, 2 wrong usage, 130 interrupted."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow greets on standard error otherwise
    try:
        app(obj=TYPED)
    except SlipwayError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    run()
