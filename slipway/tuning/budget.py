"""What the trainings of a search took, how much time is left for others, and which runs ended within one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from slipway.errors import TrainingError
from slipway.tuning.trials import Clock, TrialFiles

# A training with which so many processes ended is not begun again.
DEATHS = 2


class Budget:
    """The clocks of a search.

    Args:
        seconds: Of all its trainings, also of those of earlier runs; None is as many as it takes.
        files: Keep the clocks.
        run: The run that searches.
        has_failed: Whether another run failed: one that was interrupted, or goes on, says nothing against a training.
    """

    def __init__(self, seconds: float | None, files: TrialFiles, run: str, has_failed: Callable[[str], bool]) -> None:
        self.seconds = seconds
        self._files, self._run, self._has_failed = files, run, has_failed
        self._clocks = dict(files.clocks())

    @contextmanager
    def training(self, name: str) -> Iterator[None]:
        """Counts the time of a training, however it ends. Before, its clock tells that this run began it."""
        clock, started = self._clocks.get(name, Clock()), time.time()
        self._files.write_clock(name, clock.model_copy(update={"started": started, "begun": [*clock.begun, self._run]}))
        try:
            yield
        finally:
            seconds = clock.seconds + time.time() - started
            self._clocks[name] = Clock(started=started, seconds=seconds, begun=clock.begun)
            self._files.write_clock(name, self._clocks[name])

    def took(self, name: str) -> float:
        """The seconds of a training; 0 if there was none."""
        return self._clocks[name].seconds if name in self._clocks else 0.0

    def check_deaths(self, name: str) -> None:
        """Raises TrainingError if processes ended with a training: of runs that failed, or of this run's attempts."""
        begun = self._clocks[name].begun if name in self._clocks else []
        if sum(run == self._run or self._has_failed(run) for run in begun) >= DEATHS:
            raise TrainingError(
                f"the process ended {DEATHS} times, as for lack of memory, while it trained with these values"
            )

    def left(self) -> float | None:
        """The seconds that are not spent yet; negative if a training took more."""
        return None if self.seconds is None else self.seconds - sum(one.seconds for one in self._clocks.values())
