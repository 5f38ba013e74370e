"""The record of a run that a command names, on this machine or of a cluster."""

from __future__ import annotations

from cli.output import echo
from delivery.environment import Environment
from delivery.records import complete_records
from delivery.targets.base import RemoteRun, Target, newest_run
from slipway.errors import SlipwayError
from slipway.runs.store import RunView, load_run
from slipway.targets import RemoteTarget


def recorded(environment: Environment, name: str | None, target: RemoteTarget | None) -> RunView:
    """The record of a run; the newest without a name. Without a target, a run of this machine comes first."""
    if target:
        cluster = environment.target(target)
        found = cluster.show(name) if name else newest_run(cluster)
        complete(environment, cluster, [found])
        return load_run(environment.remote.runs, found.name)
    here = environment.settings.home / "runs"
    return load_run(here if name and (here / name).is_dir() else environment.state.runs, name)


def complete(environment: Environment, cluster: Target, runs: list[RemoteRun]) -> None:
    """Completes the records of runs, and says so. Who may not read or write records sees the runs all the same."""
    try:
        for view in complete_records(cluster, environment.remote.runs, runs):
            echo(f"recorded {view.name} as {view.state}, which its exit handler did not", err=True)
    except SlipwayError as error:
        echo(f"warning: records were not compared with {cluster.name}: {error}", err=True)
