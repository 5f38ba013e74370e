"""Windows: stretches of time that follow each other from 1970 on, in UTC."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from slipway.errors import ConfigError


@dataclass(frozen=True)
class Window:
    """A stretch of time, from `start` until just before `end`."""

    start: datetime
    end: datetime

    @property
    def name(self) -> str:
        """Its start, `2026-11-26T00:00:00Z`."""
        return self.start.strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_length(text: str) -> timedelta:
    """The length of a window: `1h`, `7d`."""
    return timedelta(**{{"h": "hours", "d": "days"}[text[-1]]: int(text[:-1])})


def find_window(start: str, length: timedelta, now: datetime) -> Window:
    """The window of a start, or the newest that is over without one.

    Raises:
        ConfigError: it is no moment, no start of a window, or the window is not over yet.
    """
    if not start:
        return last_window(now, length)
    try:
        moment = datetime.fromisoformat(start)
    except ValueError as error:
        raise ConfigError(f"window {start!r} is no moment of ISO 8601; write it as 2026-11-26T00:00:00Z") from error
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    if not 1970 < moment.year < 9000:
        raise ConfigError(f"window {start!r}: no log has requests of {moment.year}; write it as 2026-11-26T00:00:00Z")
    window = last_window(moment.astimezone(UTC) + length, length)
    if window.start != moment:
        raise ConfigError(f"no window of {length} starts at {start}; one starts at {window.name}")
    if window.end > now:
        raise ConfigError(f"the window of {start} is not over before {Window(window.end, window.end).name}; wait")
    return window


def window_of(start: str, length: str) -> Window:
    """The window of a start and a length, as `Window.name` and `parse_length` have them."""
    first = datetime.fromisoformat(start)
    return Window(first, first + parse_length(length))


def last_window(now: datetime, length: timedelta) -> Window:
    """The newest window of a length that is over; windows follow each other from 1970 on, in UTC."""
    ended = datetime.fromtimestamp(now.timestamp() // length.total_seconds() * length.total_seconds(), UTC)
    return Window(ended - length, ended)
