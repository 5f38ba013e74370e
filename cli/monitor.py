"""`slipway monitor`: watches what is served, and trains again where that is decided."""

from __future__ import annotations

import signal
import threading
from typing import Annotated

import typer

from cli import options
from cli.output import echo, print_json, print_state, print_table
from cli.run import progress
from delivery.environment import Environment, open_environment
from slipway.errors import StoreError
from slipway.monitoring.decision import Asked
from slipway.stores import storage

app = typer.Typer(no_args_is_help=True)

Module = Annotated[str, typer.Argument(help="Folder under modules/.")]
Window = Annotated[str, typer.Argument(help="Start of a window, or its beginning; the newest by default.")]


@app.command()
def run(
    module: Module,
    log: Annotated[str | None, typer.Option(help="Log of requests; request_log of the settings by default.")] = None,
    window: Annotated[str, typer.Option(help="Start of a window; the newest that is over by default.")] = "",
    data: Annotated[str | None, typer.Option(help="Data of the next training; the module's own by default.")] = None,
    train: Annotated[bool, typer.Option("--train", help="Train whatever the window shows.")] = False,
    decide_only: Annotated[bool, typer.Option("--decide-only", help="Start no training; the next run does.")] = False,
    set_: options.Set = None,
    env: options.Env = None,
    notify: Annotated[bool, typer.Option("--notify", help="Send the configured notifications.")] = False,
    as_json: options.Json = False,
) -> None:
    """Watch one window of requests on this machine; where that is decided, train, judge and push."""
    from cli.run_output import print_outcome, view_as_json
    from delivery.retraining import finish_retraining, monitor_request
    from delivery.targets.local import run_local
    from slipway.runs.store import load_run

    environment = open_environment(env, set_)
    where = log or environment.settings.request_log
    ask = "hand" if train else ""
    request = monitor_request(environment, module, data, where, window=window, ask=ask, notify=notify)
    if not as_json:
        echo(f"run {request.lineage.run}")
    with progress(quiet=as_json) as update:
        finished = run_local(request, environment.settings.home, update)
    view = load_run(environment.local.runs, request.lineage.run)
    if not as_json:
        print_outcome(view)
    trained = None
    if not decide_only and not any(step.state == "failed" for step in finished.steps):
        with progress(quiet=as_json) as update:
            trained = finish_retraining(environment, module, data, notify=notify, on_change=update)
    if trained and not as_json:
        print_outcome(trained)
    if as_json:
        print_json(view_as_json(view) | {"training": view_as_json(trained) if trained else None})
    if any(step.state == "failed" for step in finished.steps) or (trained and trained.state != "succeeded"):
        raise typer.Exit(1)


@app.command()
def submit(
    module: Module,
    target: options.Target,
    data: Annotated[str | None, typer.Option(help="gs://, s3:// or bq:// URI; the module's own by default.")] = None,
    set_: options.Set = None,
    env: options.Env = None,
    as_json: options.Json = False,
) -> None:
    """Start the training that a monitor on a cluster asked for, once; without one, do nothing."""
    from cli.run_output import remote_as_json
    from delivery.retraining import submit_retraining

    started = submit_retraining(open_environment(env, set_), target, module, data)
    if as_json:
        print_json(remote_as_json(started) if started else None)
    else:
        echo(f"run {started.name}\n{started.url}" if started else f"no monitor asked for a training of {module}")


@app.command()
def ask(
    module: Module,
    target: options.Target,
    why: Annotated[Asked, typer.Option(help="`hand` trains whatever the cool-down says.")] = "new_data",
    data: Annotated[str | None, typer.Option(help="gs://, s3:// or bq:// URI; the module's own by default.")] = None,
    set_: options.Set = None,
    env: options.Env = None,
    as_json: options.Json = False,
) -> None:
    """Train on a cluster if the data are new, or by schedule or hand: for events, which may come twice."""
    from cli.run_output import remote_as_json
    from delivery.retraining import ask_for_retraining, submit_retraining

    environment = open_environment(env, set_)
    decision = ask_for_retraining(environment, target, module, data, why)
    started = submit_retraining(environment, target, module, data)
    if as_json:
        print_json({"decision": decision.model_dump(), "run": remote_as_json(started) if started else None})
        return
    echo(f"{decision.action}: {decision.reason}")
    if started:
        echo(f"run {started.name}\n{started.url}")


@app.command()
def show(module: Module, window: Window = "", env: options.Env = None, as_json: options.Json = False) -> None:
    """Show one window: what moved, since when, and what was done."""
    print_window(open_environment(env), module, window, as_json=as_json)


@app.command()
def evidently(
    module: Module,
    window: Window = "",
    log: Annotated[str | None, typer.Option(help="Log of requests; request_log of the settings by default.")] = None,
    env: options.Env = None,
) -> None:
    """Write Evidently's drift page of one window, beside ours; an extra: pip install --editable '.[evidently]'."""
    from slipway.monitoring.evidently_page import FILE, evidently_page
    from slipway.monitoring.history import watched_window

    environment = open_environment(env)
    folder = _folder(environment, module)
    result = watched_window(folder, window)
    artifacts = environment.store().version(module, result.version).manifest.artifacts
    page, unseen = evidently_page(result, log or environment.settings.request_log, artifacts)
    uri = storage.join(folder, result.start, FILE)
    storage.write_text(uri, page)
    echo(uri)
    for one in unseen:
        echo(f"  - it does not show: {one}")


@app.command()
def history(module: Module, env: options.Env = None, as_json: options.Json = False) -> None:
    """List all windows, newest first."""
    from slipway.monitoring.history import read_windows

    windows = read_windows(_folder(open_environment(env), module))[::-1]
    if as_json:
        print_json([one.model_dump(mode="json") | {"verdict": one.verdict} for one in windows])
        return
    rows = [
        (one.start, one.verdict, f"{one.requests:,}", str(one.version), one.decision.reason if one.decision else "")
        for one in windows
    ]
    print_table(["window", "verdict", "requests", "version", "decision"], rows, numbers=["requests"])


@app.command()
def metrics(
    modules: Annotated[list[str] | None, typer.Argument(help="Folders under modules/; all by default.")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=options.MAX_PORT, help="Serve them on this port; 0 takes a free one.")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "0.0.0.0",  # noqa: S104
    env: options.Env = None,
) -> None:
    """Print the newest windows, pins and ends of runs for Prometheus, or serve them, read anew for each scrape."""
    from prometheus_client import CollectorRegistry, generate_latest, start_http_server

    from serving.protocol.addresses import port_taken
    from slipway.monitoring.metrics import WindowMetrics
    from slipway.monitoring.state_metrics import StateMetrics

    environment, registry = open_environment(env), CollectorRegistry()
    folder = environment.state.monitoring
    if port is None:  # who serves them may wait for a first window
        known = storage.list_names(folder)
        for module in modules or ():
            if module not in known:
                raise StoreError(
                    f"no window of {module} was watched in {folder}; watched are {', '.join(known) or 'none yet'}"
                )
    registry.register(WindowMetrics(folder, modules or ()))
    registry.register(StateMetrics(environment.state.runs, environment.store(), modules or ()))
    if port is None:
        echo(generate_latest(registry).decode().rstrip())
        return
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        server, thread = start_http_server(port, host, registry)
    except OSError as error:
        raise port_taken(host, port, "metrics", "--port", error) from error
    echo(f"metrics on http://{host}:{server.server_port}/metrics")
    stop.wait()
    server.shutdown()
    server.server_close()
    thread.join()


def print_window(environment: Environment, module: str, start: str, *, as_json: bool) -> None:
    """Prints one window; StoreError if there is none."""
    from slipway.monitoring.history import RECENT, describe_window, read_windows, watched_window

    folder = _folder(environment, module)
    result = watched_window(folder, start)
    said = describe_window(result, read_windows(folder, result.start, RECENT))
    if as_json:
        print_json(result.model_dump(mode="json") | {"verdict": result.verdict, "said": said})
        return
    print_state(f"{module}, window {result.start}", result.verdict)
    for one in said:
        echo(f"  - {one}")
    echo(f"  {storage.join(folder, result.start, 'report.html')}")


def _folder(environment: Environment, module: str) -> str:
    """Where the windows of a model are; StoreError if there are none."""
    folder = storage.join(environment.state.monitoring, module)
    if not storage.list_names(folder):
        raise StoreError(f"no window of {module} was watched in {folder}: `slipway monitor run {module}` does it")
    return folder
