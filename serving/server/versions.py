"""Which versions are loaded, and who uses them.

One thread polls, loads and unloads, one thing after the other, as TensorFlow Serving does by default. A new version is
loaded before an old one goes; while none of the wanted ones can be loaded, the old one stays. A request holds on to its
version until it is answered; only then the version's session is closed.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc

from serving.server.errors import ServingError, invalid_argument, not_found
from serving.server.lifecycle import Lease, ModelVersions, State, VersionStatus
from serving.server.servable import Servable
from serving.server.sources import Source, Wanted
from slipway.errors import StoreError

LOGGER = logging.getLogger(__name__)

Loader = Callable[[str, int, Path], Servable]


class ModelManager:
    """Loads what a source wants, and lends it to requests.

    Args:
        source: What should be served.
        load: Loads and warms up one version; raises ServingError if it cannot.
        poll_seconds: Between two looks at the source; 0 looks once.
        max_load_retries: How often a version that cannot be loaded is tried again.
        retry_seconds: Between two tries.
    """

    def __init__(
        self,
        source: Source,
        load: Loader,
        *,
        poll_seconds: float = 1.0,
        max_load_retries: int = 5,
        retry_seconds: float = 60.0,
    ) -> None:
        self._source = source
        self._load_version = load
        self._poll_seconds = poll_seconds
        self._max_load_retries = max_load_retries
        self._retry_seconds = retry_seconds
        self._models: dict[str, ModelVersions] = {}
        # Replaced as a whole, so that a request needs no lock to look its version up.
        self._serving: dict[tuple[str, int | str | None], Lease] = {}
        self._changed = threading.Condition()
        self._wake = threading.Event()
        self._is_stopping = False
        self._thread = threading.Thread(target=self._run, name="model-manager", daemon=True)

    def start(self) -> None:
        """Returns once every model can be served.

        Raises:
            StoreError: there is nothing to serve of a model, or none of it can be loaded.
        """
        self._poll()
        for name, model in self._models.items():
            if not model.wanted.versions:
                raise StoreError(f"there is nothing to serve of model {name}: {self._source.describe(name)}")
        self._thread.start()
        problems = self._await(self._models)
        if problems:
            self.stop()
            raise StoreError(f"cannot serve: {problems}")

    def stop(self, grace_seconds: float = 0.0) -> None:
        """Stops polling and frees the versions that no request holds within the grace."""
        with self._changed:
            self._is_stopping = True
            # A reload may be waiting for its models.
            self._changed.notify_all()
        self._wake.set()
        if self._thread.ident:
            self._thread.join()
        self._serving = {}
        until = time.monotonic() + grace_seconds
        for lease in self._leases():
            if lease.state is State.AVAILABLE:
                self._withdraw(lease)
            while lease.state is State.UNLOADING and not self._close_idle(lease) and time.monotonic() < until:
                time.sleep(0.01)

    def use(self, name: str, version: int | None = None, label: str | None = None) -> Lease:
        """A version for one request: `with manager.use("taxi") as servable: …`.

        Args:
            name: The model.
            version: A version; the newest one that is loaded by default.
            label: Or a label.

        Raises:
            ServingError: it is not served; code and text are TensorFlow Serving's.
        """
        key = (name, label or version)
        while lease := self._serving.get(key):
            if lease.acquire():
                return lease
        if not name:
            raise invalid_argument("ModelSpec has no name specified.")
        if label:
            version = self._labelled(name, label)
        request = f"Latest({name})" if version is None else f"Specific({name}, {version})"
        raise not_found(f"Servable not found for request: {request}")

    def status(self, name: str, version: int | None = None, label: str | None = None) -> list[VersionStatus]:
        """States of one version or of all, newest first, those that are gone included.

        Raises:
            ServingError: nothing is known of it.
        """
        if label:
            version = self._labelled(name, label)
        with self._changed:
            model = self._models.get(name, ModelVersions())
            found = [model.leases[number].status() for number in sorted(model.leases, reverse=True)]
        if version is not None:
            found = [status for status in found if status.version == version]
            if not found:
                raise not_found(f"Could not find version {version} of model {name}")
        if not found:
            raise not_found(f"Could not find any versions of model {name}")
        return found

    def labels(self, name: str) -> dict[str, int]:
        """Version by label, as requests find them now."""
        with self._changed:
            model = self._models.get(name)
            return {label: version for label, version in model.labels.items() if label} if model else {}

    def models(self) -> list[str]:
        """Names of the models that are configured now."""
        with self._changed:
            return [name for name, model in self._models.items() if model.wanted.versions or model.available()]

    def reload(self, source: Source) -> None:
        """Follows another source from now on; returns once its new models can be served.

        Raises:
            ServingError: a new model cannot be loaded, or the server stops meanwhile. The source stays nevertheless, as
                in TensorFlow Serving.
        """
        wanted = source.poll()
        new = [name for name in wanted if name not in self._source.poll()]
        for name in new:
            if wanted[name] is None:
                raise invalid_argument(f"model {name} cannot be served: {source.describe(name)}")
        with self._changed:
            self._source = source
            for name, wishes in wanted.items():
                if wishes is not None:
                    self._models.setdefault(name, ModelVersions()).want(wishes)
        self._wake.set()
        problems = self._await(new)
        self._publish()  # labels point where they were told when the caller has its answer
        if self._is_stopping:
            raise ServingError(grpc.StatusCode.UNAVAILABLE, "The server is stopping")
        if problems:
            raise ServingError(grpc.StatusCode.UNKNOWN, problems)

    def _await(self, names: Iterator[str] | list[str] | dict[str, ModelVersions]) -> str:
        """Waits for models; TensorFlow Serving's text for those that did not become available."""
        awaited = list(names)
        with self._changed:
            self._changed.wait_for(
                lambda: self._is_stopping or all(self._models[name].is_settled() for name in awaited)
            )
            failed = [
                f"{{{{name: {name} version: {lease.number}}} due to error: {lease.problem.code.name}: "
                f"{lease.problem.message}}}, "
                for name in awaited
                if not self._models[name].available()
                for lease in self._models[name].leases.values()
                if lease.problem
            ]
        return f"{len(failed)} model(s) did not become available: {{{''.join(failed)}}}" if failed else ""

    def _labelled(self, name: str, label: str) -> int:
        model = self._models.get(name)
        version = model.labels.get(label) if model else None
        if version is None:
            raise invalid_argument(f"Unrecognized servable version label: {label}")
        return version

    def _run(self) -> None:
        while not self._is_stopping:
            try:
                self._reconcile()
            except Exception:
                # A thread that ended would leave the server on its versions for ever, and say nothing.
                LOGGER.exception("the models could not be brought up to date; trying again")
            self._wake.wait(self._next_look())
            self._wake.clear()
            if not self._is_stopping:
                self._poll()

    def _next_look(self) -> float | None:
        """Seconds until there may be something to do."""
        waits = [self._poll_seconds] if self._poll_seconds > 0 else []
        for lease in self._leases():
            if lease.state is State.UNLOADING:
                waits.append(0.02)
            elif lease.state is State.LOADING:
                waits.append(max(lease.next_try - time.monotonic(), 0.0))
        return min(waits, default=None)

    def _poll(self) -> None:
        try:
            found = self._source.poll()
        except Exception:
            # Whatever is wrong with a directory or a store, what is loaded goes on being served.
            LOGGER.exception("the models cannot be polled; what is loaded stays")
            return
        with self._changed:
            for name in self._models.keys() - found.keys():
                self._models[name].want(Wanted({}))
            for name, wanted in found.items():
                model = self._models.setdefault(name, ModelVersions())
                if wanted is not None:
                    model.want(wanted)

    def _reconcile(self) -> None:
        for name, model in list(self._models.items()):
            for lease in model.to_load():
                if self._is_stopping:
                    return
                self._load(name, lease)
                self._publish()
            self._publish()
            for lease in model.to_unload():
                LOGGER.info("unloading %s version %d", name, lease.number)
                self._withdraw(lease)
            self._publish()
        for lease in self._leases():
            if lease.state is State.UNLOADING:
                self._close_idle(lease)

    def _load(self, name: str, lease: Lease) -> None:
        self._set_state(lease, State.LOADING)
        lease.problem = None
        try:
            started = time.monotonic()
            lease.servable = self._load_version(name, lease.number, lease.path)
        except ServingError as error:
            lease.problem = error
        except Exception as error:
            LOGGER.exception("loading %s version %d failed", name, lease.number)
            lease.problem = ServingError(grpc.StatusCode.UNKNOWN, f"{type(error).__name__}: {error}")
        lease.tries += 1
        if lease.servable:
            LOGGER.info("serving %s version %d, loaded in %.2f s", name, lease.number, time.monotonic() - started)
            self._set_state(lease, State.AVAILABLE)
            return
        assert lease.problem
        is_last = lease.tries > self._max_load_retries
        again = "" if is_last else f"; trying again in {self._retry_seconds:g} s"
        LOGGER.error("%s version %d at %s cannot be loaded: %s%s",
                     name, lease.number, lease.path, lease.problem.message, again)  # fmt: skip
        lease.next_try = time.monotonic() + self._retry_seconds
        self._set_state(lease, State.END if is_last else State.LOADING)

    def _publish(self) -> None:
        serving: dict[tuple[str, int | str | None], Lease] = {}
        with self._changed:
            for name, model in self._models.items():
                available = model.available()
                if not available:
                    continue
                model.move_labels()
                serving[name, None] = available[max(available)]
                serving.update(((name, number), lease) for number, lease in available.items())
                labelled = ((label or None, number) for label, number in model.labels.items() if number in available)
                serving.update(((name, label), available[number]) for label, number in labelled)
            self._serving = serving
            self._changed.notify_all()

    def _withdraw(self, lease: Lease) -> None:
        with lease.lock:
            lease.state = State.UNLOADING

    def _close_idle(self, lease: Lease) -> bool:
        with lease.lock:
            if lease.users:
                return False
        servable, lease.servable = lease.servable, None
        if servable:
            servable.close()
        self._set_state(lease, State.END)
        return True

    def _set_state(self, lease: Lease, state: State) -> None:
        with self._changed:
            lease.state = state
            self._changed.notify_all()

    def _leases(self) -> list[Lease]:
        with self._changed:
            return [lease for model in self._models.values() for lease in model.leases.values()]
