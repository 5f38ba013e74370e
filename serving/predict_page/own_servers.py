"""Servers of this process for the models of a store, started when a model is asked for: the last few of them.

Each holds a model and TensorFlow's threads. So the one that was not asked for the longest time ends where there are too
many, but none that is about to answer.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from serving.predict_page.asking import Loaded, Prediction, ServedModel
from serving.predict_page.form import Value
from slipway.stores.model_store import ModelStore

if TYPE_CHECKING:
    from serving.server.server import ModelServer

MOST_SERVERS = 4
TIMEOUT_SECONDS = 5.0


@dataclass(eq=False)
class _Running:
    """A server, or one that is yet to start; `users` are requests under way."""

    starting: threading.Lock = field(default_factory=threading.Lock)
    server: ModelServer | None = None
    served: ServedModel | None = None
    users: int = 0

    def stop(self) -> None:
        if self.served and self.server:
            self.served.close()
            self.server.stop()


class OwnServers:
    """The servers; for several threads, and to be closed."""

    def __init__(self, store: Callable[[], ModelStore], cache: Path) -> None:
        self._store = store
        self._cache = cache
        self._lock = threading.Lock()  # never held while a server starts or ends
        self._running: OrderedDict[str, _Running] = OrderedDict()  # who was asked last stands last

    def model(self, name: str) -> OwnModel:
        """A model, whose server starts when it is asked."""
        return OwnModel(self, name)

    @contextmanager
    def asked(self, name: str) -> Iterator[ServedModel]:
        """A model on its server, which goes on until the end of the block."""
        with self._lock:
            one = self._running.setdefault(name, _Running())
            self._running.move_to_end(name)
            one.users += 1
        try:
            with one.starting:
                if one.served is None:
                    one.server = self._start(name)
                    one.served = ServedModel(f"127.0.0.1:{one.server.rest_port}", name, TIMEOUT_SECONDS)
            yield one.served
        finally:
            with self._lock:
                one.users -= 1
                ended = self._take_idle()
            for other in ended:
                other.stop()

    def close(self) -> None:
        """Ends the servers."""
        for one in self._running.values():
            one.stop()

    def _take_idle(self) -> list[_Running]:
        idle = [name for name, one in self._running.items() if not one.users]
        surplus = max(len(self._running) - MOST_SERVERS, 0)
        return [self._running.pop(name) for name in idle[:surplus]]

    def _start(self, name: str) -> ModelServer:
        # TensorFlow's runtime is loaded for a page that is looked at, and not with the console.
        from serving.server.config import ServerConfig
        from serving.server.model_sources import StoreModels
        from serving.server.server import ModelServer

        server = ModelServer(StoreModels(self._store(), [name], self._cache), ServerConfig(grpc_port=0, rest_port=0))
        server.start()
        return server


@dataclass(frozen=True)
class OwnModel:
    """A model on one of these servers, for one request after the other: it may have ended in between."""

    servers: OwnServers
    name: str

    def start(self) -> None:
        """Has the model served."""
        with self.servers.asked(self.name):
            pass

    def loaded(self) -> Loaded:
        """As of `ServedModel`."""
        with self.servers.asked(self.name) as served:
            return served.loaded()

    def predict(self, rows: Sequence[Mapping[str, Value]]) -> Prediction:
        """As of `ServedModel`."""
        with self.servers.asked(self.name) as served:
            return served.predict(rows)
