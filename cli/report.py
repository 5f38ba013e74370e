"""`slipway report`: a run as one HTML page."""

from __future__ import annotations

from cli import options
from cli.output import echo, print_json
from delivery.environment import open_environment
from slipway.runs.report import write_report
from slipway.stores import storage


def report(
    run: options.Run = None,
    target: options.TargetOrState = None,
    env: options.Env = None,
    as_json: options.Json = False,
) -> None:
    """Write a run's report, one HTML page that needs no network, and print its path.

    The report of a run on a cluster is copied to this machine.
    """
    environment = open_environment(env)
    view = environment.run(run, target)
    if storage.is_remote(view.uri):
        path = str(environment.settings.home / "reports" / f"{view.name}.html")
        storage.copy(view.report or write_report(view), path)
    else:
        path = write_report(view)
    if as_json:
        print_json({"run": view.name, "report": path})
    else:
        echo(path)
