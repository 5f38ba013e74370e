"""Which models a page shows: one of a server's, or those of a store."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from serving.predict_page.app import Shown
from serving.predict_page.asking import ServedModel
from serving.predict_page.describe import form_of_version
from serving.predict_page.form import Form
from serving.predict_page.own_servers import TIMEOUT_SECONDS, OwnServers
from slipway.errors import ConfigError, ModuleError, StoreError
from slipway.module_api import ModuleConfig
from slipway.module_kit.config import read_config
from slipway.stores.model_store import ModelStore, Version

LOOK_AGAIN_SECONDS = 5.0  # after this long, whether another version is in production


class OneModel:
    """The model of a server, with a form from a file, or of the server's signature."""

    def __init__(self, served: ServedModel, form: Form | None) -> None:
        self._served = served
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
        self._served.close()


class StoredModels:
    """The models of a store, with the form of the version in production; by threads, and to be closed.

    Who answers is the server at `address`, in which `{model}` is the model; without one, a server of this process.
    A manifest's artifacts are read where `may_read` allows it.
    """

    def __init__(
        self,
        open_store: Callable[[], ModelStore],
        modules: Path,
        cache: Path,
        address: str = "",
        may_read: Callable[[str], bool] = lambda _: True,
    ) -> None:
        self._open_store = open_store
        self._modules = modules
        self._address = address
        self._may_read = may_read
        self._own = OwnServers(lambda: self._store, cache)
        self._remote: dict[str, ServedModel] = {}
        self._forms: dict[str, tuple[float, Form]] = {}
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)  # by model

    @cached_property
    def _store(self) -> ModelStore:
        return self._open_store()

    def names(self) -> list[str]:
        """Names of the models, sorted."""
        return self._store.models()

    def open(self, name: str) -> Shown:
        """The model, with the form of its version in production."""
        if self._is_old(name) and name not in self._store.models():
            raise KeyError(name)
        with self._locks[name]:
            if self._is_old(name):
                self._forms[name] = time.monotonic(), self._form(name)
            if self._address and name not in self._remote:
                self._remote[name] = ServedModel(self._address.replace("{model}", name), name, TIMEOUT_SECONDS)
        if self._address:
            return Shown(self._remote[name], self._forms[name][1])
        served = self._own.model(name)
        served.start()  # for the prediction that follows
        return Shown(served, self._forms[name][1])

    def close(self) -> None:
        """Closes the connections, and ends the servers."""
        for served in self._remote.values():
            served.close()
        self._own.close()

    def _is_old(self, name: str) -> bool:
        looked, _ = self._forms.get(name, (float("-inf"), None))
        return time.monotonic() - looked > LOOK_AGAIN_SECONDS

    def _form(self, name: str) -> Form:
        version = self._store.production(name)
        if version is None:
            raise StoreError(f"no version of {name} may serve: each is quarantined. Train and push another one")
        known = self._forms.get(name)
        if known and known[1].version == version.number:
            return known[1]
        artifacts = {key: uri for key, uri in version.manifest.artifacts.items() if self._may_read(uri)}
        own = replace(version, manifest=version.manifest.model_copy(update={"artifacts": artifacts}))
        return form_of_version(self._store, own, module_config(self._modules, version))


def module_config(modules: Path, version: Version) -> ModuleConfig | None:
    """The configuration of a version's module, if that is on this machine, and sound."""
    try:
        return read_config(modules / version.model)
    except (ModuleError, ConfigError):
        return None
