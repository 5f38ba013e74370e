"""Starts the workers of one training, watches them, and begins again with all of them when one is lost.

The training runs in processes of its own, never in the step's: TensorFlow cannot leave a group that has broken, and
what is exported afterwards must not belong to one. The step takes history and weights from the last checkpoint.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, Protocol, Self

from components.train_model.config import TrainConfig
from components.train_model.features import Spec
from components.train_model.fitting import Checkpoints
from components.train_model.kubernetes_workers import KubernetesWorkers
from components.train_model.together import WorkerInputs, WorkerLostError, train_worker
from slipway.compute import Distribution
from slipway.errors import ConfigError, SlipwayError, TrainingError
from slipway.stores import storage

RESTARTS = 5
# How long the reason for which a worker was lost may take to be known, after the chief noticed.
REASON_SECONDS = 20.0
log = logging.getLogger(__name__)


class Others(Protocol):
    """The workers besides this one, while they run."""

    hosts: list[str]  # of all workers, the chief's first
    index: int  # of this one
    poll_seconds: float  # between two checks

    def check(self) -> None:
        """Raises a WorkerLostError if one was lost, and another SlipwayError if one failed."""


def train_on_workers(
    spread: Distribution, transformed: Any, spec: Spec, model_uri: str, config: TrainConfig, accelerator: str,
    checkpoints: Checkpoints,
) -> bool:  # fmt: skip
    """Trains on several workers, a child of this process being one; whether it is the chief.

    The last of the checkpoints has history and weights. `transformed` is kfp's artifact; each worker has the
    `accelerator` that the step asked its platform for.

    Raises:
        TrainingError: workers were lost too often.
        SlipwayError: one of them failed.
    """
    inputs = WorkerInputs(
        transformed_uri=transformed.path,
        features=WorkerInputs.features_of(spec),
        model_uri=model_uri,
        config=config,
        distribution=spread,
        accelerator=accelerator,
        checkpoints_uri=checkpoints.uri,
    )

    inputs_uri = storage.join(checkpoints.uri, "inputs.json")  # a wide module's are too long for a command
    if spread.target == "kubeflow":
        storage.write_text(inputs_uri, inputs.model_copy(update={"transformed_uri": transformed.uri}).model_dump_json())

    def start(attempt: int) -> AbstractContextManager[Others]:
        if spread.target == "vertex":
            return VertexWorkers(spread.workers)
        if spread.target == "kubeflow":
            return KubernetesWorkers(inputs_uri, spread.workers, attempt)
        return LocalWorkers(inputs, spread.workers)

    if checkpoints.hold_finished():
        return spread.target != "vertex" or VertexWorkers(spread.workers).index == 0
    # Vertex itself starts a custom job again, with all of its replicas.
    return run_workers(inputs, start, 0 if spread.target == "vertex" else RESTARTS)


def run_workers(inputs: WorkerInputs, start: Callable[[int], AbstractContextManager[Others]], restarts: int) -> bool:
    """Runs this process's worker beside the others that `start` starts, given the attempt; whether it is the chief."""
    for attempt in range(1, restarts + 2):
        try:
            with _ended_by_sigterm(), start(attempt) as others:
                _run_own(inputs, others)
                return others.index == 0
        except WorkerLostError as error:
            if attempt > restarts:
                raise TrainingError(
                    f"{error}. That was attempt {attempt}, the last. Start the step again: it goes on from the last "
                    "checkpoint"
                ) from error
            log.warning("%s: all workers begin again from the last checkpoint (%d of %d)", error, attempt, restarts)
    raise AssertionError


def _run_own(inputs: WorkerInputs, others: Others) -> None:
    own = WorkerProcess(inputs, others.index, others.hosts)
    try:
        while own.is_alive():
            others.check()
            own.join(others.poll_seconds)
        try:
            own.check()
        except WorkerLostError:
            until = time.monotonic() + REASON_SECONDS
            while time.monotonic() < until:  # the lost one's reason says more
                others.check()
                time.sleep(others.poll_seconds)
            raise
    finally:
        own.end()


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Makes SIGTERM, by which platforms cancel, leave the block as an error does, so that nothing is left running."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(number: int, frame: Any) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class WorkerProcess:
    """A worker as a child of this process, with which it ends."""

    def __init__(self, inputs: WorkerInputs, index: int, hosts: list[str]) -> None:
        context = multiprocessing.get_context("spawn")  # TensorFlow does not survive a fork
        self._failure, failure = context.Pipe(duplex=False)
        arguments = (failure, inputs.model_dump_json(), index, hosts)
        self._process = context.Process(target=_work, args=arguments, name=f"worker {index}", daemon=True)
        self._process.start()
        failure.close()
        self.pid = self._process.pid
        self.is_alive, self.join, self.kill = self._process.is_alive, self._process.join, self._process.kill

    def check(self) -> None:
        """Raises what the worker failed with, or a WorkerLostError if it was killed."""
        if self.is_alive() or self._process.exitcode == 0:
            return
        try:
            error: SlipwayError = self._failure.recv()
        except EOFError:
            code = self._process.exitcode or 0
            if code < 0:
                raise WorkerLostError(f"{self._process.name} was ended by {signal.Signals(-code).name}") from None
            raise TrainingError(f"{self._process.name} failed with exit code {code}: the log above says why") from None
        raise error

    def end(self) -> None:
        """Ends it, if it has not ended."""
        self.kill()
        self.join()


def _work(failure: Any, inputs: str, index: int, hosts: list[str]) -> None:
    """A worker's process; a failure that a user can mend is sent to the parent."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if index == 0:  # the console reads how far it came
        logging.basicConfig(format="%(levelname)s %(message)s")
        logging.getLogger("components").setLevel(logging.INFO)
    try:
        train_worker(WorkerInputs.model_validate_json(inputs), index, hosts)
    except SlipwayError as error:
        failure.send(error)
        os._exit(1)
    os._exit(0)  # TensorFlow's group waits for all of its members otherwise


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent
    parent.join()
    os._exit(1)


class LocalWorkers:
    """Processes on this machine, for a trial of what a cluster will run; they share its cores."""

    index, poll_seconds = 0, 0.5

    def __init__(self, inputs: WorkerInputs, workers: int) -> None:
        self._inputs = inputs
        self.hosts = [f"127.0.0.1:{port}" for port in free_ports(workers)]
        self.processes: list[WorkerProcess] = []

    def __enter__(self) -> Self:
        for index in range(1, len(self.hosts)):
            self.processes.append(WorkerProcess(self._inputs, index, self.hosts))
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            process.end()

    def check(self) -> None:
        """Raises as `WorkerProcess.check` does."""
        for process in self.processes:
            process.check()


def free_ports(count: int) -> list[int]:
    """Ports of this machine on which nothing listens now."""
    with ExitStack() as opened:
        sockets = [opened.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


class VertexWorkers:
    """The replicas of a custom job of Vertex AI, which Vertex starts, watches and starts again, all of them together.

    Each runs the whole step. Where the others are is in TF_CONFIG:
    https://cloud.google.com/vertex-ai/docs/training/distributed-training
    """

    poll_seconds = 5.0

    def __init__(self, workers: int, environment: Mapping[str, str] = os.environ) -> None:
        given = environment.get("TF_CONFIG", "")
        try:
            cluster, task = (json.loads(given)[key] for key in ("cluster", "task"))
            kinds = [kind for kind in ("chief", "master", "worker") if kind in cluster]
            self.hosts = [host for kind in kinds for host in cluster[kind]]
            before = kinds[: kinds.index(task["type"])]
            self.index = sum(len(cluster[kind]) for kind in before) + int(task["index"])
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"TF_CONFIG = {given!r} does not name this replica among others: distribution.workers = {workers} "
                "needs a custom job of Vertex AI, into which a pipeline compiled for Vertex has the step made"
            ) from error
        if len(self.hosts) != workers:
            raise ConfigError(
                f"TF_CONFIG names {len(self.hosts)} replicas, not distribution.workers = {workers}: compile anew"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def check(self) -> None:
        """Vertex does."""
