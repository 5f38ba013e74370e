"""`slipway run` and `slipway submit`: a run of a pipeline on this machine, and on Kubeflow or Vertex."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from cli import options
from cli.options import DATA_HELP
from cli.output import COLOURS, echo, print_json, step_line
from slipway.errors import ConfigError, TargetError
from slipway.pages.printable import printable
from slipway.targets import DEFAULT_PIPELINE

if TYPE_CHECKING:  # the help needs no environment
    from collections.abc import Callable, Iterator

    from delivery.environment import Environment
    from delivery.package import Package
    from delivery.targets.base import RemoteRun, Target
    from delivery.targets.step_process import StepProcesses
    from slipway.runs.record import Step
    from slipway.runs.store import RunView

INTERRUPTED = 130

CommandClass = options.OldSpellings
Module = Annotated[str, typer.Argument(help="Folder under modules/.")]


def run(
    module: Module = options.TAXI,
    data: Annotated[str | None, typer.Option(help=f"{DATA_HELP} The module's own by default.")] = None,
    set_: options.Set = None,
    pipeline: options.Pipeline = DEFAULT_PIPELINE,
    env: options.Env = None,
    notify: Annotated[bool, typer.Option("--notify", help="Send the configured notifications at the end.")] = False,
    require_push: options.RequirePush = False,
    again: Annotated[
        str | None, typer.Option(metavar="RUN", help="Repeat a run with the same bytes, code and settings; see below.")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Run a pipeline on this machine, from raw data to a pushed model.

    --again repeats a run by its record, where it ran, and says whether the metrics are the same to the last digit: the
    exit status is 1 if not. No step comes from the cache, and no model is pushed.
    """
    from delivery.targets.step_process import StepProcesses

    with StepProcesses() as processes:  # which import what steps need, while this process imports what it does itself
        from cli.run_output import print_outcome, view_as_json
        from delivery.environment import open_environment
        from delivery.submission import local_request
        from delivery.targets.local import gpus, run_local
        from slipway.runs.store import load_run
        from slipway.stores.storage import join

        environment = open_environment(env, set_)
        if not (environment.settings.home / "cache").is_dir():
            processes.warm_up(tensorflow=True)  # no step can come from the cache
        if again is not None:
            if data or set_ or require_push or notify or pipeline != DEFAULT_PIPELINE:
                raise typer.BadParameter("the record says all else: give it alone, or with --env", param_hint="--again")
            _run_again(environment, processes, again, module, quiet=as_json)
            return
        request = local_request(environment, module, data, notify=notify, pipeline=pipeline)
        asked = environment.accelerators("kubeflow") or environment.accelerators("vertex")
        if asked and "training_accelerator" in request.arguments and not gpus():
            echo(
                f"{', '.join(asked)}: the settings ask for a GPU; this machine has none, and trains on its CPU",
                err=True,
            )
        if not as_json:
            echo(f"run {request.lineage.run}")
        with progress(quiet=as_json, record=join(environment.local.runs, request.lineage.run)) as update:
            finished = run_local(request, environment.settings.home, update, processes=processes)
        view = load_run(environment.local.runs, request.lineage.run)
        if as_json:
            print_json(view_as_json(view))
        else:
            print_outcome(view)
        if any(step.state == "failed" for step in finished.steps):
            raise typer.Exit(1)
        if require_push:
            _require_push(view)


def _run_again(environment: Environment, processes: StepProcesses, name: str, module: str, *, quiet: bool) -> None:
    from cli.run_output import print_outcome, print_repeated, view_as_json
    from cli.run_record import recorded
    from delivery.again import differences, repeat_run, submission_of
    from delivery.targets.local import run_local
    from slipway.stores.storage import join

    before = recorded(environment, name, None)
    if module not in (options.TAXI, before.summary.lineage.module):
        raise typer.BadParameter(
            f"{before.name} is a run of {before.summary.lineage.module}, not of {module}", param_hint="--again"
        )
    repeat = repeat_run(environment, before)
    for line in repeat.differs:
        echo(f"warning: {line}", err=True)
    run, target = repeat.request.lineage.run, None
    if before.summary.lineage.target == "local":
        if not quiet:
            echo(f"run {run}")
        with progress(quiet=quiet, record=join(environment.local.runs, run)) as update:
            run_local(repeat.request, environment.settings.home, update, cached=False, processes=processes)
    else:
        with submission_of(environment, repeat) as (target, submission):
            cluster = environment.target(target)
            started = cluster.submit(submission)
            run = started.name
            if not quiet:
                echo(f"run {run}\n{started.url}")
            _follow(cluster, started, submission.package, quiet=quiet)
    after = recorded(environment, run, target)
    changed = differences(before, after)
    same = bool(after.summary.metrics) and not changed
    if quiet:
        print_json(view_as_json(after) | {"same_metrics": same, "differences": changed})
    else:
        print_outcome(after)
        print_repeated(before.name, changed, same=same)
    if not same:
        raise typer.Exit(1)


def submit(
    module: Module,
    target: options.Target,
    env: options.Env = None,
    data: Annotated[
        str | None,
        typer.Option(help="gs://, s3:// or bq:// URI, snapshot:NAME, or pointer of DVC; the module's own by default."),
    ] = None,
    set_: options.Set = None,
    pipeline: options.Pipeline = DEFAULT_PIPELINE,
    image: options.Image = None,
    package: Annotated[Path | None, typer.Option(help="Output of `slipway compile`.", exists=True)] = None,
    follow: options.Wait = False,
    require_push: options.RequirePush = False,
    as_json: options.Json = False,
) -> None:
    """Start a run on a cluster: publish the module, upload the pipeline if it is new, create the run."""
    from cli.run_output import print_end, print_verdict, remote_as_json
    from delivery.environment import open_environment
    from delivery.submission import packaged, prepared
    from slipway.runs.store import view_run
    from slipway.runs.summary import read_if_there
    from slipway.stores.storage import join

    if require_push and not follow:
        raise typer.BadParameter("what a run pushes is known at its end: add --wait", param_hint="--require-push")
    environment = open_environment(env, set_).with_image(image)
    cluster = environment.target(target)
    if package and set_:
        command = f"`slipway compile {module} --target {target} --output {package}`"
        raise ConfigError(f"--set changes what is compiled: give it to {command}, or leave --package out")
    made = prepared(environment, target, module, data, pipeline=pipeline)
    with nullcontext(packaged(environment, target, package, module, data)) if package else made as submission:
        started = cluster.submit(submission)
    if not as_json:
        echo(f"run {started.name}\n{started.url}")
    if follow:
        started = _follow(cluster, started, submission.package, quiet=as_json)
    if as_json:
        print_json(remote_as_json(started))
    elif follow:
        print_end(started)
    if started.ended and started.state != "succeeded":
        raise typer.Exit(1)
    if follow:
        view = read_if_there(lambda: view_run(join(environment.remote.runs, started.name)))
        if view and view.summary.told and not as_json:
            print_verdict(view)
        if require_push:
            _require_push(view)


def _require_push(view: RunView | None) -> None:
    """Ends the command with 1 if the run pushed no model, or its record cannot be read."""
    summary = view.summary if view else None
    if summary is None or not summary.pushed_version:
        why = f"the run's verdict is {summary.verdict!r}" if summary and summary.told else "its record holds no verdict"
        echo(f"error: --require-push: no model was pushed: {why}", err=True)
        raise typer.Exit(1)


def _follow(cluster: Target, started: RemoteRun, package: Package, *, quiet: bool) -> RemoteRun:
    from delivery.package import all_steps
    from delivery.targets.base import wait

    try:
        with progress(quiet=quiet) as update:
            return wait(cluster, started.id, lambda run: update(all_steps(package, run.steps, ended=run.ended)))
    except (KeyboardInterrupt, TargetError) as error:
        echo(f"{started.name} continues on the cluster.", err=True)
        echo(f"Look at it: `slipway runs show {started.name}`", err=True)
        echo(f"Cancel it:  `slipway runs cancel {started.name}`", err=True)
        if isinstance(error, TargetError):
            raise
        raise typer.Exit(INTERRUPTED) from None


@contextmanager
def progress(*, quiet: bool, record: str = "") -> Iterator[Callable[[list[Step]], None]]:
    """Draws the steps on a terminal; elsewhere prints a line for each finished step. Takes their newest states.

    `record` is that of a run on this machine: a search under way tells there how far it is.
    """
    # kfp's logs are redirected away from sys.stdout during a run; people still look at the real one.
    console = Console(file=sys.stdout, highlight=False, quiet=quiet)
    newest: list[Step] = []
    printed: set[str] = set()

    def update(steps: list[Step]) -> None:
        newest[:] = steps
        for step in () if console.is_terminal else steps:
            if step.state not in ("pending", "running") and step.name not in printed:
                printed.add(step.name)
                console.print(_drawn(step))

    def drawn() -> Group:
        return Group(*(_drawn(step, record) for step in newest))

    live = Live(get_renderable=drawn, console=console, refresh_per_second=8)
    with live if console.is_terminal and not quiet else nullcontext():
        yield update


def _drawn(step: Step, record: str = "") -> Text:
    told = ""
    if step.state == "running" and step.started:
        step = step.model_copy(update={"seconds": time.time() - step.started})
        told = f"  {_search(record)}" if record and step.name == "tune_model" else ""
    return Text(printable(step_line(step) + told), style=COLOURS.get(step.state, "dim"))


def _search(record: str) -> str:
    """How far the search of a run is."""
    from slipway.runs.summary import TUNING, read_record
    from slipway.tuning.result import TuningRecord

    found = read_record(record, TUNING, TuningRecord)
    return found.progress if found else ""
