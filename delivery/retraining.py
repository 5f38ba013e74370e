"""The monitor's runs on this machine, and the trainings that it asked for.

A training is looked up by its key, and started if it is not there.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from delivery.environment import Environment
from delivery.launch import RunRequest
from delivery.submission import local_request, prepared
from delivery.targets.base import OnChange, RemoteRun, name_by_key
from delivery.targets.local import run_local
from slipway.monitoring.decision import confirmed
from slipway.monitoring.state import change_state, read_state
from slipway.runs.store import RunView, list_runs, load_run
from slipway.stores import storage
from slipway.targets import RemoteTarget

MONITORING = "monitoring"
KEY_LETTERS = 12
ATTEMPTS = 3  # at a training that is cut short each time


def monitor_request(
    environment: Environment, module: str, data: str | None, log_uri: str, *, window: str, ask: str, notify: bool
) -> RunRequest:
    """A run of the monitor on this machine.

    Args:
        environment: Where.
        module: What is served.
        data: Of the next training, as `local_request` takes it.
        log_uri: The log of requests; a path is one from the working directory.
        window: Start of the window; the newest that is over if empty.
        ask: `hand` to train whatever the window shows.
        notify: Whether the configured notifications are sent.
    """
    request = local_request(environment, module, data, notify=notify, pipeline=MONITORING)
    where = log_uri if "://" in log_uri or not log_uri else str(Path(log_uri).absolute())
    return replace(request, arguments=request.arguments | {"log_uri": where, "window_start": window, "ask": ask})


def finish_retraining(
    environment: Environment, module: str, data: str | None, *, notify: bool, on_change: OnChange
) -> RunView | None:
    """Runs the training that the monitor's state asks for, to its end; None if it asks for none, or another runs it.

    The state is confirmed when the training has ended, well or not. One that was cut short is started again by the
    next monitor; its steps so far are cached. The lock of a killed process is released by the kernel.
    """
    folder = storage.join(environment.local.monitoring, module)
    with _alone(Path(folder)) as alone:
        key = read_state(folder).pending[:KEY_LETTERS]
        if not key or not alone:
            return None
        known = [view for view in list_runs(environment.local.runs) if view.name.endswith(f"-{key}")]
        ended = [view for view in known if view.state != "interrupted"]
        if not ended and len(known) < ATTEMPTS:
            request = local_request(environment, module, data, notify=notify, key=key)
            run_local(request, environment.settings.home, on_change)
            ended = [load_run(environment.local.runs, request.lineage.run)]
        change_state(folder, lambda state: (None, confirmed(state, key)))
        return (ended or known)[0]


def submit_retraining(
    environment: Environment, target: RemoteTarget, module: str, data: str | None = None
) -> RemoteRun | None:
    """Starts the training that the monitor's state below remote_home asks for; None if it asks for none.

    A run that was started before, by somebody who was killed before the state was confirmed, is found by its name.
    """
    folder = storage.join(environment.remote.monitoring, module)
    key, cluster = read_state(folder).pending[:KEY_LETTERS], environment.target(target)
    if not key:
        return None
    started = cluster.find(name_by_key(module, key))
    if started is None:
        with prepared(environment, target, module, data, key=key) as submission:
            started = cluster.submit(submission)
    change_state(folder, lambda state: (None, confirmed(state, key)))
    return started


@contextmanager
def _alone(folder: Path) -> Iterator[bool]:
    """Whether no other process of this machine runs a training of this model for its monitor."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "training.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
