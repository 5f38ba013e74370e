"""Windows of requests, written by the real request log."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from serving.request_log import LogOptions, RequestLog
from serving.request_log.call_rows import LoggedCall


def write_requests(
    log: str | Path,
    model: str,
    version: int | None,
    start: datetime,
    rows: Sequence[Mapping[str, Any]],
    scores: Sequence[Any],
    *,
    seconds: float = 3600.0,
    prefix: str = "r",
    failed: int = 0,
) -> list[str]:
    """Logs a call of REST for each row, spread over `seconds` from `start` on; answers their ids.

    A feature whose value is None is left out of the request. `failed` more calls fail.
    """
    ids = [f"{prefix}-{start:%Y%m%d%H}-{version}-{number}" for number in range(len(rows))]
    with RequestLog(LogOptions(str(log), fields=("*",), queue_calls=len(rows) + failed + 1)) as sink:
        for number, (row, score) in enumerate(zip(rows, scores, strict=True)):
            instance = {name: value for name, value in row.items() if value is not None}
            sink.offer(
                LoggedCall(
                    request_id=ids[number],
                    protocol="rest",
                    method="predict",
                    model=model,
                    version=version,
                    request=json.dumps({"signature_name": "raw", "instances": [instance]}).encode(),
                    response=json.dumps({"predictions": [score]}).encode(),
                    started=start.timestamp() + seconds * number / len(rows),
                    latency_seconds=0.004,
                )
            )
        for number in range(failed):
            sink.offer(
                LoggedCall(
                    request_id=f"{prefix}-failed-{start:%Y%m%d%H}-{number}",
                    protocol="rest",
                    method="predict",
                    model=model,
                    version=version,
                    request=b"",
                    response=b"",
                    started=start.timestamp() + number,
                    latency_seconds=0.004,
                    error="UNAVAILABLE",
                )
            )
    return ids
