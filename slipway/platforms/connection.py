"""A connection to a platform: bounded retries, and errors that name the fix."""

from __future__ import annotations

import itertools
import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

from slipway.errors import ConfigError, TargetError
from slipway.remote.retries import TRANSIENT_STATUSES, retrying, tried

_CRON_FIX = "change schedules.<name>.cron in the settings to what this server reads"


class Connection(ABC):
    """Sends requests to a platform.

    Attributes:
        setting: The group of the settings that messages name.
        timeouts: Errors of the client for a request that took too long: exactly these, since urllib3 derives its error
            for a refused connection from one.
        lost: Errors of the client that may be gone at the next attempt.
    """

    setting: ClassVar[str]
    timeouts: ClassVar[tuple[type[Exception], ...]]
    lost: ClassVar[tuple[type[Exception], ...]]

    def __init__(self, url: str, timeout_seconds: float) -> None:
        self.url = url
        self.timeout_seconds = timeout_seconds

    def call(
        self,
        what: str,
        request: Callable[..., Any],
        /,
        *,
        already: Callable[[], Any] = lambda: None,
        missing_ok: bool = False,
        **arguments: Any,
    ) -> Any:
        """Sends one request, with retries of transient failures.

        Args:
            what: Description that completes "cannot …".
            request: A method of the client.
            already: Looks up the object that the request is to create. A failed attempt may have created it although
                its response was lost, or another process may have been faster.
            missing_ok: Whether to return None for the status 404.
            arguments: Arguments of the method.

        Raises:
            TargetError: it is refused, or all attempts failed; the message names the fix.
        """
        attempts = itertools.count()

        def attempt() -> Any:
            found = already() if next(attempts) else None
            return self._send(request, arguments) if found is None else found

        try:
            return retrying(self._is_transient)(attempt)
        except (TargetError, ConfigError):
            raise
        except Exception as error:
            status = self._status(error)
            if status == 404 and missing_ok:
                return None
            if status == 409 and (found := already()) is not None:
                return found
            raise TargetError(f"cannot {what}{tried(error)}: {self._explain(error)}") from error

    def _is_transient(self, error: BaseException) -> bool:
        return self._status(error) in TRANSIENT_STATUSES or isinstance(error, self.lost)

    def _explain(self, error: Exception) -> str:
        """Reason of a failure, and the fix; without the request, which may contain a secret."""
        if status := self._status(error):
            said = self._said(error)
            about_cron = status == 400 and re.search(r"\bcron\b", said, re.IGNORECASE)
            return f"{self.url} answers {status}{said}: {_CRON_FIX if about_cron else self._fix(status)}"
        if type(error) in self.timeouts:
            return (
                f"{self.url} does not answer within {self.timeout_seconds:g} s: is {self.setting}.endpoint right, and "
                f"reachable from here? {self.setting}.timeout_seconds sets the time"
            )
        return self._explain_connection(error)

    @abstractmethod
    def _send(self, request: Callable[..., Any], arguments: dict[str, Any]) -> Any: ...

    @abstractmethod
    def _status(self, error: BaseException) -> int | None: ...

    @abstractmethod
    def _said(self, error: Any) -> str: ...

    @abstractmethod
    def _fix(self, status: int) -> str: ...

    @abstractmethod
    def _explain_connection(self, error: Exception) -> str: ...
