"""Unix cron expressions that both Kubeflow and Vertex accept."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from cronsim import CronSim, CronSimError

_NAMED = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_FIELDS = "minute (0-59), hour (0-23), day of month (1-31), month (1-12), day of week (0-6, Sunday is 0)"


def normalise_cron(text: str) -> str:
    """Checks an expression and writes it as both platforms accept it: `@daily` spelled out, Sunday as 0.

    Raises:
        ValueError: a field is out of range, uses an extension that only some parsers know, or no such day exists.
    """
    fields = _NAMED.get(text.strip().lower(), text).split()
    if len(fields) != 5:
        raise ValueError(f"{len(fields)} fields; Unix cron has five: {_FIELDS}")
    try:
        parsed = CronSim(" ".join(fields), datetime(2000, 1, 1, tzinfo=UTC))
    except CronSimError as error:
        field = str(error).removeprefix("Bad ").replace("-", " ")
        raise ValueError(f"the {field} is wrong, or never comes; the fields are {_FIELDS}") from error
    days = [*parsed.days, *parsed.weekdays]
    if not all(isinstance(day, int) and day >= 0 for day in days):
        raise ValueError("L, W and # are extensions that Kubeflow refuses; name the days")
    # Kubeflow's parser (robfig/cron 1.2, `spec.go`) takes 0 to 6 only.
    if re.search(r"(^|[,-])0*7($|[,/-])", fields[4]):
        fields[4] = ",".join(map(str, sorted({day % 7 for day in parsed.weekdays if isinstance(day, int)})))
    return " ".join(fields)
