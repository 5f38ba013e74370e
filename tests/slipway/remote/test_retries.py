import pytest

from slipway.remote.retries import retrying, tried


class Flaky:
    """Fails so many times, then answers."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        if self.calls <= self.failures:
            raise ConnectionError("down")
        return "answer"


def is_transient(error: BaseException) -> bool:
    return isinstance(error, ConnectionError)


def test_pauses_double_up_to_the_longest() -> None:
    pauses: list[float] = []
    flaky = Flaky(4)
    assert retrying(is_transient, attempts=5, longest_seconds=3, pause=pauses.append)(flaky) == "answer"
    assert pauses == [1.0, 2.0, 3.0, 3.0]


def test_last_error_says_how_often_and_for_how_long() -> None:
    flaky = Flaky(9)
    with pytest.raises(ConnectionError) as caught:
        retrying(ConnectionError, attempts=3, pause=lambda seconds: None)(flaky)
    assert flaky.calls == 3
    assert tried(caught.value) == ", tried 3 times in 0 s"


def test_error_that_stays_is_raised_at_once() -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        retrying(is_transient)(lambda: 1 / 0)
    assert tried(caught.value) == ""


def test_no_attempt_starts_after_the_deadline() -> None:
    flaky = Flaky(9)
    with pytest.raises(ConnectionError):
        retrying(is_transient, seconds=0.5)(flaky)
    assert flaky.calls == 1


def test_pause_that_the_server_asks_for_counts() -> None:
    pauses: list[float] = []
    asked = {"asked_seconds": lambda error: 0.5}
    assert retrying(is_transient, pause=pauses.append, **asked)(Flaky(1)) == "answer"  # type: ignore[arg-type]
    assert pauses == [0.5]


def test_busy_answer_is_asked_for_again_and_the_last_one_returned() -> None:
    answers = iter(["busy", "busy", "busy"])
    assert (
        retrying(is_transient, is_busy=lambda answer: answer == "busy", attempts=2, pause=lambda seconds: None)(
            lambda: next(answers)
        )
        == "busy"
    )
    assert list(answers) == ["busy"]
