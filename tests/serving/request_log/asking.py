"""How a test asks through the sidecar."""

from __future__ import annotations

import http.client
from contextlib import closing
from typing import Any

import grpc

from serving.protocol.protos import prediction_service_pb2_grpc
from serving.request_log.sidecar import SidecarOptions

UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


class Reply:
    """An answer over REST, as it came."""

    def __init__(self, port: int, method: str, target: str, body: bytes | None = None, **headers: str) -> None:
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
            connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
            sent = {"Host": "models.example", **{name.replace("_", "-"): value for name, value in headers.items()}}
            if body is not None:
                sent["Content-Length"] = str(len(body))
            for name, value in sent.items():
                connection.putheader(name, value)
            connection.endheaders(body)
            response = connection.getresponse()
            self.status = response.status
            self.headers = {name.lower(): value for name, value in response.getheaders()}
            self.body = response.read()


def stub(ports: SidecarOptions) -> Any:
    return prediction_service_pb2_grpc.PredictionServiceStub(channel(ports))


def channel(ports: SidecarOptions) -> grpc.Channel:
    # A pool of its own: no test gets another's connection.
    options = [*UNLIMITED, ("grpc.use_local_subchannel_pool", 1)]
    return grpc.insecure_channel(f"127.0.0.1:{ports.grpc_port}", options=options)
