"""The monitor's runs on this machine, and the trainings that it asked for.

A training is looked up by its key, and started if it is not there.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from socket import gethostname

from delivery.environment import Environment
from delivery.launch import RunRequest
from delivery.submission import local_request, prepared, remote_request
from delivery.targets.base import OnChange, RemoteRun
from delivery.targets.local import run_local
from slipway.data.snapshots.resolve import resolve
from slipway.errors import StoreError, TargetError
from slipway.lineage import user
from slipway.monitoring.claim import CLAIM_SECONDS, claimed
from slipway.monitoring.decision import Asked, Decision, Findings, confirmed, decide
from slipway.monitoring.history import newest_window
from slipway.monitoring.state import change_state, read_state
from slipway.runs.naming import KEY_LETTERS
from slipway.runs.store import RunView, list_runs, load_run
from slipway.stores import storage
from slipway.targets import RemoteTarget

MONITORING = "monitoring"
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
        state = read_state(folder)
        key = state.pending[:KEY_LETTERS]
        if not key or not alone:
            return None
        known = [view for view in list_runs(environment.local.runs) if view.name.endswith(f"-{key}")]
        ended = [view for view in known if view.state != "interrupted"]
        if not ended and len(known) < ATTEMPTS:
            monitor = f"monitor at window {state.windows[-1]}" if state.windows else "monitor"
            request = local_request(environment, module, data, notify=notify, key=key, started_by=monitor)
            run_local(request, environment.settings.home, on_change)
            ended = [load_run(environment.local.runs, request.lineage.run)]
        change_state(folder, lambda state: (None, confirmed(state, key)))
        return (ended or known)[0]


def ask_for_retraining(
    environment: Environment, target: RemoteTarget, module: str, data: str | None, asked: Asked
) -> Decision:
    """Decides by the state below remote_home, and by model and data, without a window; starts nothing.

    The same model and data are never trained twice, so an event may come as often as it wants.

    Raises:
        StoreError: no version was pushed yet.
    """
    given = remote_request(environment, target, module, data, publish=False).arguments
    uri, spans, policy = given["data_uri"], given["window"], environment.module(module)[1].monitoring.retraining
    production = environment.store().production(module)
    if production is None:
        raise StoreError(f"{module} has no version in {environment.state.store}: train and push a first one")
    source = resolve(uri, spans, given["snapshots_uri"])
    folder = storage.join(environment.remote.monitoring, module)
    newest = newest_window(folder)  # what it found broken is no reason to train, whoever asks
    findings = Findings(model_version=production.number, data_digest=source.digest, asked=asked,
                        broken=newest.broken if newest else [])  # fmt: skip
    return change_state(folder, lambda state: decide(state, time.time(), findings, policy))


def submit_retraining(
    environment: Environment, target: RemoteTarget, module: str, data: str | None = None
) -> RemoteRun | None:
    """Starts the training that the monitor's state below remote_home asks for; None if it asks for none.

    As the monitor's last step does it, with the module and the settings of today. A run that was started before, by
    somebody who was killed before the state was confirmed, is found by its name.

    Raises:
        TargetError: the target refuses, or another one submits it right now; it stays pending.
    """
    folder, cluster = storage.join(environment.remote.monitoring, module), environment.target(target)
    with claimed(folder, f"{user()} on {gethostname()}, process {os.getpid()}") as claim:
        if claim.other:
            raise TargetError(
                f"the training of {module} is being submitted by {claim.other}; if that died, it can be tried again "
                f"{CLAIM_SECONDS / 60:.0f} minutes after it began"
            )
        if not claim.key:
            return None
        if started := cluster.find_by_key(module, claim.key):
            return started
        with prepared(environment, target, module, data, key=claim.key) as submission:
            return cluster.submit(submission)


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
