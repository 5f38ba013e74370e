"""The version that an upstream says, where it is slow to say it."""

import socket
import time

from serving.request_log.rest_proxy import UpstreamVersions


def test_upstream_whose_status_hangs_is_not_waited_for_at_every_call() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        versions = UpstreamVersions(f"127.0.0.1:{silent.getsockname()[1]}")
        begin = time.monotonic()
        assert {versions("m", "") for _ in range(3)} == {None}
        assert time.monotonic() - begin < 1.9
