"""Which models a page shows: one of a server's, or those of a store."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from serving.predict_page.app import Shown
from serving.predict_page.asking import ServedModel
from serving.predict_page.describe import form_of_version
from serving.predict_page.form import Form
from slipway.errors import ConfigError, ModuleError, StoreError
from slipway.module_api import ModuleConfig
from slipway.module_kit.config import read_config
from slipway.stores.model_store import ModelStore, Version

if TYPE_CHECKING:
    from serving.server.server import ModelServer

TIMEOUT_SECONDS = 5.0
LOOK_AGAIN_SECONDS = 5.0  # after this long, whether another version is in production


class OneModel:
    """The model of a server, with a form from a file, or of the server's signature."""

    def __init__(self, served: ServedModel, form: Form | None) -> None:
        self._shown = Shown(served, form)

    def names(self) -> list[str]:
        """The model's name."""
        return [self._shown.served.name]

    def open(self, name: str) -> Shown:
        """The model."""
        if name != self._shown.served.name:
            raise KeyError(name)
        return self._shown

    def close(self) -> None:
        """Closes the connections."""
        self._shown.served.close()


class StoredModels:
    """The models of a store, with the form of the version in production; by threads, and to be closed.

    Each is served on this machine as soon as it is asked for, by `slipway serve`'s own server.
    """

    def __init__(self, open_store: Callable[[], ModelStore], modules: Path, cache: Path) -> None:
        self._open_store = open_store
        self._modules = modules
        self._cache = cache
        self._lock = threading.Lock()
        self._forms: dict[str, tuple[float, Form]] = {}
        self._served: dict[str, ServedModel] = {}
        self._servers: list[ModelServer] = []

    @cached_property
    def _store(self) -> ModelStore:
        return self._open_store()

    def names(self) -> list[str]:
        """Names of the models, sorted."""
        return self._store.models()

    def open(self, name: str) -> Shown:
        """The model, with the form of its version in production."""
        with self._lock:
            looked, form = self._forms.get(name, (0.0, None))
            if form is None or time.monotonic() - looked > LOOK_AGAIN_SECONDS:
                if name not in self._store.models():
                    raise KeyError(name)
                version = self._store.production(name)
                if version is None:
                    raise StoreError(f"no version of {name} may serve: each is quarantined. Train and push another one")
                if form is None or form.version != version.number:
                    form = form_of_version(self._store, version, module_config(self._modules, version))
                self._forms[name] = time.monotonic(), form
            if name not in self._served:
                self._served[name] = ServedModel(self._serve(name), name, TIMEOUT_SECONDS)
            return Shown(self._served[name], form)

    def close(self) -> None:
        """Closes the connections, and ends the servers."""
        for served in self._served.values():
            served.close()
        for server in self._servers:
            server.stop()

    def _serve(self, name: str) -> str:
        # TensorFlow's runtime is loaded for a page that is looked at, and not with the console.
        from serving.server.config import ServerConfig
        from serving.server.model_sources import StoreModels
        from serving.server.server import ModelServer

        server = ModelServer(StoreModels(self._store, [name], self._cache), ServerConfig(grpc_port=0, rest_port=0))
        server.start()
        self._servers.append(server)
        return f"127.0.0.1:{server.rest_port}"


def module_config(modules: Path, version: Version) -> ModuleConfig | None:
    """The configuration of a version's module, if that is on this machine, and sound."""
    try:
        return read_config(modules / version.model)
    except (ModuleError, ConfigError):
        return None
