"""`features` of `module.yaml`: columns of shared feature views, joined as of each row's time."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from slipway.module_api.base import Strict

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def seconds_of(age: str) -> int:
    """A length of time, such as `7d`, in seconds."""
    return int(age[:-1]) * _UNITS[age[-1]]


def _checked_age(age: str) -> str:
    if not re.fullmatch(r"[0-9]{1,6}[smhdw]", age):
        raise ValueError(f"{age!r} is no length of time; write 90s, 30m, 12h, 7d or 2w")
    return age


MaxAge = Annotated[str, AfterValidator(_checked_age)]
VIEW_NAME = r"[a-z][a-z0-9_]{0,62}/[a-z][a-z0-9_]{0,62}"  # <entity>/<view>


class JoinedView(Strict):
    """Columns of one view, `features/<entity>/<view>.sql`, as features of the module.

    A row gets the view's newest values for its key that were known at the row's time (`ingestion.event_time`), at
    exactly that time included; missing values where there are none, or none younger than `max_age`, by default the
    view's own. `on` gives the row's column of each key of the view (`{company: taxi_company}`), by default the one of
    the same name. With a `prefix` the columns get other names: so a view may be joined twice, by different keys.
    """

    view: Annotated[str, Field(pattern=f"^{VIEW_NAME}$")]
    columns: tuple[Annotated[str, Field(min_length=1)], ...] = Field(min_length=1)
    on: dict[str, str] = Field(default_factory=dict)
    max_age: MaxAge | None = None
    prefix: str = ""

    @property
    def names(self) -> dict[str, str]:
        """The name among the examples of each of the view's columns."""
        return {column: f"{self.prefix}{column}" for column in self.columns}
