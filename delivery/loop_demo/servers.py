"""Model servers on this machine, and the clients that ask them about trips."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import cycle
from pathlib import Path
from typing import Any

import httpx
from prometheus_client import CollectorRegistry

from delivery.loop_demo.weeks import LATER, Trip
from serving.protocol.urls import model_path
from serving.request_log import LoggedCall, LogOptions, RequestLog
from serving.rollout.traffic import PATH, Reading, parse_metrics
from serving.server.config import ServerConfig
from serving.server.model_sources import ModelSource
from serving.server.server import ModelServer
from slipway.errors import RequestError

WAIT_SECONDS, POLL_SECONDS = 60.0, 0.1


class TripLog(RequestLog):
    """The request log on a fast clock: a call is logged at the time of its trip."""

    def __init__(self, folder: Path) -> None:
        self._counters = CollectorRegistry()
        self._times: dict[str, float] = {}
        super().__init__(LogOptions(str(folder), fields=("*",), rotate_seconds=0.5), self._counters)

    def expect(self, trips: Mapping[str, Trip]) -> None:
        """Takes calls about these trips, whose request ids are their names; no other call is logged."""
        self._times.update({name: float(trip["trip_start_timestamp"]) for name, trip in trips.items()})

    def offer(self, call: LoggedCall) -> None:
        """Takes a call at the time of its trip."""
        if call.request_id in self._times:
            super().offer(replace(call, started=self._times[call.request_id]))

    def wait(self) -> None:
        """Until all expected calls are written; RequestError where they are not in time."""

        def written() -> int:
            return int(self._counters.get_sample_value("slipway_request_log_logged_total") or 0)

        _until(lambda: written() == len(self._times), f"the request log does not hold {len(self._times)} requests")


@dataclass(frozen=True)
class Server:
    """A running server of one model."""

    model: str
    address: str
    http: httpx.Client

    def ask(self, path: str, body: Any, request_id: str = "") -> bytes:
        """The answer to a body of JSON; RequestError if it is refused."""
        answer = self.http.post(self.address + path, content=json.dumps(body), headers={"x-request-id": request_id})
        if answer.is_error:
            raise RequestError(f"{self.address}{path} refused a request: {answer.text}")
        return answer.content

    def read(self) -> Reading:
        """The counters of its requests so far."""
        return parse_metrics(self.http.get(self.address + PATH).text, self.model)

    def wait_for(self, version: int) -> None:
        """Until this version answers; RequestError if another one stays."""

        def answers() -> int:
            found = self.http.get(f"{self.address}{model_path(self.model)}/metadata").json()
            return int(found["model_spec"]["version"])

        _until(lambda: answers() == version, f"{self.address} does not serve version {version}")


@contextmanager
def serving(model: str, source: ModelSource, log: RequestLog) -> Iterator[Server]:
    """A server on free ports of the loopback interface, until the block ends."""
    config = ServerConfig(grpc_port=0, rest_port=0, poll_seconds=POLL_SECONDS)
    with ModelServer(source, config, log) as server, httpx.Client(trust_env=False, timeout=WAIT_SECONDS) as http:
        yield Server(model, f"http://{config.host}:{server.rest_port}", http)


def ask_about(trips: Mapping[str, Trip], servers: Sequence[Server]) -> None:
    """Asks about each trip, the servers in turn."""
    for server, (name, trip) in zip(cycle(servers), trips.items(), strict=False):
        known = {key: value for key, value in trip.items() if key not in LATER}
        server.ask(f"{model_path(server.model)}:predict", {"signature_name": "raw", "instances": [known]}, name)


def _until(is_so: Callable[[], bool], problem: str) -> None:
    until = time.monotonic() + WAIT_SECONDS
    while not is_so():
        if time.monotonic() > until:
            raise RequestError(f"{problem} within {WAIT_SECONDS:g} s")
        time.sleep(POLL_SECONDS)
