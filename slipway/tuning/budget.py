"""What the trainings of a search took, how much time is left for others, and how many ended with their process."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

from slipway.process import is_alive, start_time
from slipway.tuning.trials import Begun, Clock, TrialFiles


class Budget:
    """The seconds of a search, of which earlier runs spent some; None is as many as it takes."""

    def __init__(self, seconds: float | None, files: TrialFiles) -> None:
        self.seconds = seconds
        self._files = files
        self._clocks = dict(files.clocks())
        pid = os.getpid()
        self._here = Begun(host=socket.gethostname(), pid=pid, pid_started=start_time(pid))

    @contextmanager
    def training(self, name: str) -> Iterator[None]:
        """Counts the time of a training, however it ends. Before, its clock tells that this process began it."""
        clock, started = self._clocks.get(name, Clock()), time.time()
        begun = [one for one in clock.begun if one != self._here]
        self._files.write_clock(name, Clock(started=started, seconds=clock.seconds, begun=[*begun, self._here]))
        try:
            yield
        finally:
            seconds = clock.seconds + time.time() - started
            self._clocks[name] = Clock(started=started, seconds=seconds, begun=begun)
            self._files.write_clock(name, self._clocks[name])

    def took(self, name: str) -> float:
        """The seconds of a training; 0 if there was none."""
        return self._clocks[name].seconds if name in self._clocks else 0.0

    def deaths(self, name: str) -> int:
        """How many processes ended within a training: those that began it, told no end, and do not run here."""
        begun = self._clocks[name].begun if name in self._clocks else []
        return sum(one.host != self._here.host or not is_alive(one.pid, one.pid_started) for one in begun)

    def left(self) -> float | None:
        """The seconds that are not spent yet; negative if a training took more."""
        return None if self.seconds is None else self.seconds - sum(one.seconds for one in self._clocks.values())
