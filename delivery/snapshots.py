"""What names the snapshots of an environment: its modules, shared features, schedules, runs, versions and windows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from delivery.environment import Environment
from slipway.data.examples.source import SNAPSHOT
from slipway.data.feature_views import FOLDER, read_views
from slipway.errors import StoreError
from slipway.lineage import Lineage
from slipway.module_kit.config import read_config
from slipway.monitoring.result import FILE, read_result
from slipway.runs.store import list_runs
from slipway.stores import storage


def users_of_snapshots(environment: Environment) -> dict[str, list[str]]:
    """By the name of a snapshot, what names it.

    Raises:
        StoreError: a record cannot be read, so what it names is unknown.
    """
    found: dict[str, list[str]] = defaultdict(list)
    for user, uri in _uses(environment):
        if uri.startswith(SNAPSHOT):
            found[uri.removeprefix(SNAPSHOT)].append(user)
    return dict(found)


def _uses(environment: Environment) -> Iterator[tuple[str, str]]:
    """What reads data, and their URI."""
    for folder in environment.module_folders():
        yield f"modules/{folder.name}/module.yaml names it", read_config(folder).data or ""
    for view in read_views(environment.project):
        yield f"{FOLDER}/{view.name}.sql names it", view.header.data
    for name, schedule in environment.settings.schedules.items():
        yield f"the schedule {name} names it", schedule.data or ""
    for runs in {environment.local.runs, environment.state.runs}:
        for run in list_runs(runs):
            if not run.summary.lineage.module and run.problem:
                raise StoreError(
                    f"{run.uri}: {run.problem}, so which data it names is unknown; restore them, or remove the run"
                )
            yield from ((f"the run {run.name} read it", uri) for uri in _read_by(run.summary.lineage))
    store = environment.store()
    for model in store.models():
        for version in store.versions(model):
            trained = f"version {version.number} of {model} was trained on it"
            yield from ((trained, uri) for uri in _read_by(version.manifest.lineage))
    windows = environment.state.monitoring
    for model in storage.list_names(windows):
        for start in storage.list_names(storage.join(windows, model)):
            window = storage.join(windows, model, start)
            if storage.exists(storage.join(window, FILE)):
                yield f"the window {model}/{start} watched a model of it", read_result(window).data


def _read_by(lineage: Lineage) -> set[str]:
    """The data that a run read, those of its shared features included."""
    return {lineage.data_uri, *lineage.features_data.values()}
