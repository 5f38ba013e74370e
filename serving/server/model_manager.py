"""Loads and unloads the versions of all models, and lends them to requests.

One thread polls, loads and unloads, one step after the other, as TensorFlow Serving does by default. A new version is
loaded before an old one is unloaded; while no wanted version can be loaded, the old one stays. A version is closed when
no request uses it any more.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Mapping
from typing import Any

import grpc

from serving.protocol.errors import ServingError, invalid_argument, not_found
from serving.server.config import ServerConfig
from serving.server.model_sources import ModelSource, Wanted
from serving.server.model_versions import ModelVersions, ServedVersion, State, no_version
from serving.server.warmup import load_servable
from slipway.errors import StoreError

LOGGER = logging.getLogger(__name__)


class ModelManager:
    """Keeps the versions loaded that a source wants."""

    def __init__(self, source: ModelSource, config: ServerConfig) -> None:
        self._source = source
        self._config = config
        self._models: dict[str, ModelVersions] = {}
        # Replaced as a whole, so that a request needs no lock to look its version up.
        self._serving: dict[tuple[str, int | str | None], ServedVersion] = {}
        self._changed = threading.Condition()
        self._wake = threading.Event()
        self._is_started = self._is_stopping = False
        self._thread = threading.Thread(target=self._run, name="model-manager", daemon=True)

    def start(self) -> None:
        """Returns once every model can be served, or has failed to load while another one can.

        Those that cannot be served are tried again as the configuration says, and whenever their source has changed.

        Raises:
            StoreError: no model has a version to serve, none can be loaded, or the store cannot be read.
        """
        self._want(self._source.poll())
        models = self._models.values()
        without = [name for name, model in self._models.items() if not model.wanted.versions]
        reasons = [self._nothing_to_serve(name) for name in without]
        if reasons and len(without) == len(models):
            raise StoreError("; ".join(reasons))
        self._thread.start()
        with self._changed:
            self._changed.wait_for(
                lambda: (
                    self._is_stopping
                    or all(model.is_settled() for model in models)
                    or (any(model.available() for model in models) and all(model.is_tried() for model in models))
                )
            )
            is_serving = not self._is_stopping and any(model.available() for model in models)
        if problems := self._problems(self._models):
            reasons.append(f"cannot serve: {problems}")
        if not is_serving:
            self.stop()
            raise StoreError("; ".join(reasons) or "the server was stopped while its models were loaded")
        for reason in reasons:
            LOGGER.warning("%s. The other models are served", reason)
        self._is_started = True

    def stop(self, grace_seconds: float = 0.0) -> None:
        """Stops polling, and frees the versions that no request uses within the grace."""
        with self._changed:
            self._is_stopping = True
            # A reload may be waiting for its models.
            self._changed.notify_all()
        self._wake.set()
        if self._thread.ident:
            self._thread.join()
        self._serving = {}
        until = time.monotonic() + grace_seconds
        for version in self._versions():
            if version.state is State.AVAILABLE:
                version.withdraw()
            while version.state is State.UNLOADING and not version.close_if_unused() and time.monotonic() < until:
                time.sleep(0.01)

    def use(self, name: str, version: int | None = None, label: str | None = None) -> ServedVersion:
        """Lends a version to one request: `with manager.use("taxi") as servable: …`.

        Without version and label it is the source's default, or the newest loaded one.
        """
        key = (name, label or version)
        while found := self._serving.get(key):
            if found.acquire():
                return found
        if not name:
            raise invalid_argument("ModelSpec has no name specified.")
        if not self._is_started:
            raise ServingError(grpc.StatusCode.UNAVAILABLE, "The models are being loaded; send the request again later")
        if label:
            version = self._labelled(name, label)
        request = f"Latest({name})" if version is None else f"Specific({name}, {version})"
        raise not_found(f"Servable not found for request: {request}")

    def status(self, name: str, version: int | None = None, label: str | None = None) -> list[Any]:
        """`ModelVersionStatus` of one version or of all, newest first, including unloaded ones.

        A configured model that never had a version has one without a number, which says why. TensorFlow Serving has no
        answer for it: it would not start.
        """
        if label:
            version = self._labelled(name, label)
        with self._changed:
            model = self._models.get(name, ModelVersions())
            numbers = sorted(model.versions, reverse=True) if version is None else {version} & model.versions.keys()
            found = [model.versions[number].status() for number in numbers]
            is_awaited = model.is_configured and not model.versions and version is None
        if is_awaited:
            return [no_version(not_found(self._nothing_to_serve(name)))]
        if not found:
            missing = "any versions" if version is None else f"version {version}"
            raise not_found(f"Could not find {missing} of model {name}")
        return found

    def may_label(self, name: str, label: str, version: int) -> bool:
        """Whether a label may be given to a version: to a loaded one, or by configuration as long as it is unused."""
        with self._changed:
            model = self._models.get(name, ModelVersions())
            is_unused = model.labels.get(label, version) == version
            return version in model.available() or (self._config.allow_unavailable_labels and is_unused)

    def availability(self) -> dict[str, bool]:
        """Whether a version is loaded, by the name of each model that is configured or still there."""
        with self._changed:
            models = self._models.items()
            return {name: bool(there) for name, model in models if (there := model.available()) or model.is_configured}

    def reload(self, source: ModelSource) -> None:
        """Follows another source from now on; returns once its new models can be served.

        As in TensorFlow Serving, the source stays even if a new model cannot be loaded.
        """
        known, wanted = self._source.poll(), source.poll()
        new = [name for name in wanted if name not in known]
        for name in new:
            if wanted[name] is None:
                raise invalid_argument(f"model {name} cannot be served: {source.describe(name)}")
        self._source = source
        self._want(wanted)
        self._wake.set()
        with self._changed:
            self._changed.wait_for(lambda: self._is_stopping or all(self._models[name].is_settled() for name in new))
        problems = self._problems(new)
        self._publish()  # the new labels hold when the caller has its answer
        if self._is_stopping:
            raise ServingError(grpc.StatusCode.UNAVAILABLE, "The server is stopping")
        if problems:
            raise ServingError(grpc.StatusCode.UNKNOWN, f"Models did not become available: {problems}")

    def _problems(self, names: Iterable[str]) -> str:
        """The error text for models that cannot be served, empty if there are none."""
        with self._changed:
            failed = {name: model.versions for name in names if not (model := self._models[name]).available()}
        return "; ".join(
            f"{name} version {version.number}: {version.problem.code.name}: {version.problem.message}"
            for name, versions in failed.items()
            for version in versions.values()
            if version.problem
        )

    def _nothing_to_serve(self, name: str) -> str:
        try:
            reason = self._source.describe(name)
        except (OSError, StoreError) as error:
            reason = str(error)
        return f"there is nothing to serve of model {name}: {reason}"

    def _labelled(self, name: str, label: str) -> int:
        version = self._models.get(name, ModelVersions()).labels.get(label)
        if version is None:
            raise invalid_argument(f"Unrecognized servable version label: {label}")
        return version

    def _run(self) -> None:
        while not self._is_stopping:
            try:
                self._reconcile()
            except Exception:
                # If this thread ended, the server would silently keep its present versions.
                LOGGER.exception("the models could not be brought up to date; trying again")
            self._wake.wait(self._seconds_to_next_step())
            self._wake.clear()
            if not self._is_stopping:
                self._poll()

    def _seconds_to_next_step(self) -> float | None:
        waits = [self._config.poll_seconds] if self._config.poll_seconds > 0 else []
        for version in self._versions():
            if version.state is State.UNLOADING:
                waits.append(0.02)
            elif version.state is State.LOADING:
                waits.append(max(version.next_try - time.monotonic(), 0.0))
        return min(waits, default=None)

    def _poll(self) -> None:
        try:
            found = self._source.poll()
        except StoreError as error:  # loaded versions are served on
            LOGGER.warning("the models stay as they are: %s", error)
        except Exception:
            LOGGER.exception("the models cannot be polled; loaded versions stay")
        else:
            self._want(found)

    def _want(self, found: Mapping[str, Wanted | None]) -> None:
        with self._changed:
            for name in self._models.keys() - found.keys():
                self._models[name].is_configured = False
                self._models[name].want(Wanted({}))
            for name, wanted in found.items():
                model = self._models.setdefault(name, ModelVersions())
                model.is_configured = True
                if wanted is not None:
                    model.want(wanted)

    def _reconcile(self) -> None:
        for name, model in list(self._models.items()):
            for version in model.to_load():
                if self._is_stopping:
                    return
                self._load(name, version)
                self._publish()
            self._publish()
            for version in model.to_unload():
                LOGGER.info("unloading %s version %d", name, version.number)
                version.withdraw()
            self._publish()
        for version in self._versions():
            if version.state is State.UNLOADING:
                version.close_if_unused()
        self._publish()

    def _load(self, name: str, version: ServedVersion) -> None:
        version.state, version.problem = State.LOADING, None
        started = time.monotonic()
        try:
            version.servable = load_servable(name, version.number, version.path)
        except ServingError as error:
            version.problem = error
        except Exception as error:
            LOGGER.exception("loading %s version %d failed", name, version.number)
            version.problem = ServingError(grpc.StatusCode.UNKNOWN, f"{type(error).__name__}: {error}")
        else:
            LOGGER.info("serving %s version %d, loaded in %.2f s", name, version.number, time.monotonic() - started)
            version.state = State.AVAILABLE
            return
        finally:
            version.tries += 1
        is_last = version.tries > self._config.max_load_retries
        again = "" if is_last else f"; trying again in {self._config.retry_seconds:g} s"
        LOGGER.error("%s version %d at %s cannot be loaded: %s%s",
                     name, version.number, version.path, version.problem.message, again)  # fmt: skip
        version.next_try = time.monotonic() + self._config.retry_seconds
        if is_last:
            version.state = State.END

    def _publish(self) -> None:
        """Makes the loaded versions visible to requests, and wakes waiting threads."""
        with self._changed:
            self._serving = {
                (name, key): version
                for name, model in self._models.items()
                for key, version in model.by_request().items()
            }
            self._changed.notify_all()

    def _versions(self) -> list[ServedVersion]:
        with self._changed:
            return [version for model in self._models.values() for version in model.versions.values()]
