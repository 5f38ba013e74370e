"""The one policy of retries: a bounded number of attempts, with pauses that double from one to the next.

Only google-cloud-storage and gRPC retry by themselves: the former resumes transfers, the latter knows its channel.
"""

from collections.abc import Callable
from time import sleep
from typing import Any

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception,
    retry_if_result,
    stop_after_attempt,
    stop_before_delay,
    wait_exponential,
)

ATTEMPTS = 4
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 30.0
# Statuses of HTTP that may be gone the next time: time-outs, too many requests, overload and restarts of a server.
TRANSIENT_STATUSES = frozenset({408, 429, 500, 502, 503, 504})

Transient = type[Exception] | tuple[type[Exception], ...] | Callable[[BaseException], bool]


def retrying(
    transient: Transient,
    *,
    is_busy: Callable[[Any], bool] = lambda answer: False,  # whether an answer means the same; the last one is returned
    attempts: int = ATTEMPTS,
    seconds: float = float("inf"),  # no attempt starts later than this
    first_seconds: float = FIRST_PAUSE_SECONDS,  # doubled for each pause that follows
    longest_seconds: float = LONGEST_PAUSE_SECONDS,
    asked_seconds: Callable[[BaseException], float | None] = lambda error: None,  # pause that the server asks for
    pause: Callable[[float], None] | None = None,
) -> Retrying:
    """A caller that calls a function again while it fails for a reason that may pass.

    It returns the function's result, or raises its last error, which `tried` then describes. `transient` errors may be
    gone at the next attempt: types, or a predicate.
    """
    is_transient = (lambda error: isinstance(error, transient)) if isinstance(transient, type | tuple) else transient
    doubling = wait_exponential(multiplier=first_seconds, max=longest_seconds)

    def wait(state: RetryCallState) -> float:
        error = state.outcome and state.outcome.exception()
        asked = asked_seconds(error) if error else None
        return doubling(state) if asked is None else min(asked, longest_seconds)

    return Retrying(
        retry=retry_if_exception(is_transient) | retry_if_result(is_busy),
        stop=stop_after_attempt(attempts) | stop_before_delay(seconds),
        wait=wait,
        sleep=pause or sleep,
        retry_error_callback=_give_up,
    )


def tried(error: BaseException) -> str:
    """`, tried 4 times in 7 s` for an error that remained after several attempts; empty for any other."""
    return "".join(note for note in getattr(error, "__notes__", ()) if note.startswith(", tried "))


def _give_up(state: RetryCallState) -> Any:
    assert state.outcome is not None
    if error := state.outcome.exception():
        error.add_note(f", tried {state.attempt_number} times in {state.seconds_since_start or 0:.0f} s")
    return state.outcome.result()
