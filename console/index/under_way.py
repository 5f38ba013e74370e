"""Runs under way on a cluster, as its platform lists them: their records come when they end.

The platform is asked behind the pages, which show what it said last. One that does not answer holds up no page.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from threading import Thread

from markupsafe import Markup

from delivery.environment import Environment
from delivery.targets.base import RemoteRun
from slipway.errors import SlipwayError
from slipway.pages.numbers import MISSING, format_time
from slipway.pages.page import Cell, badge, notice, section, table
from slipway.pages.printable import printable
from slipway.targets import RemoteTarget

TARGETS: tuple[RemoteTarget, ...] = ("kubeflow", "vertex")
LISTED = 50  # of a platform's newest runs
EVERY_SECONDS = 5.0
REQUEST_SECONDS = 5.0
LATE_SECONDS = 3.0  # after which a page says that there is no answer


@dataclass
class Platform:
    """What one platform said last, and whether it is asked just now."""

    environment: Environment
    name: RemoteTarget
    runs: list[RemoteRun] = field(default_factory=list)
    problem: str = ""
    answered: float = float("-inf")
    asked: float = float("-inf")

    @property
    def is_asked(self) -> bool:
        """Whether its answer is on its way."""
        return self.asked > self.answered

    def look(self) -> None:
        """Asks it, in a thread that no end of the console waits for, if the last answer is old."""
        if not self.is_asked and time.monotonic() - self.answered > EVERY_SECONDS:
            self.asked = time.monotonic()
            Thread(target=self._ask, name=f"runs of {self.name}", daemon=True).start()

    def _ask(self) -> None:
        try:
            found = _patient_for(self.environment, self.name).target(self.name).list(LISTED)
            self.runs, self.problem = [run for run in found if not run.ended], ""
        except SlipwayError as error:
            self.problem = str(error)
        except Exception as error:  # of a client, whose thread must not end without a word
            self.problem = f"{self.name} answers what cannot be read ({type(error).__name__})"
        finally:
            self.answered = time.monotonic()


class UnderWay:
    """The platforms of an environment."""

    def __init__(self, environment: Environment) -> None:
        self._platforms = [Platform(environment, name) for name in TARGETS if environment.has_target(name)]

    def look(self) -> None:
        """Asks the platforms whose last answer is old."""
        for one in self._platforms:
            one.look()

    def drawn(self, recorded: Collection[str]) -> Markup:
        """The runs under way, but for those of which there is a record, and what is not known of them."""
        return Markup("").join(_drawn(one, recorded) for one in self._platforms)


def _patient_for(environment: Environment, name: RemoteTarget) -> Environment:
    """The environment with a short time for each request."""
    its = getattr(environment.settings, name)
    short = its.model_copy(update={"timeout_seconds": min(its.timeout_seconds, REQUEST_SECONDS)})
    return replace(environment, settings=environment.settings.model_copy(update={name: short}))


def _drawn(platform: Platform, recorded: Collection[str]) -> Markup:
    said = Markup("")
    late = time.monotonic() - platform.asked
    if platform.is_asked and late > LATE_SECONDS:
        said = notice(f"{platform.name} has not answered for {late:.0f} s, so runs under way may be missing.", "warn")
    elif platform.problem:
        said = notice(f"Runs under way on {platform.name} are not known: {printable(platform.problem)[:500]}", "warn")
    elif platform.answered < 0:
        said = notice(f"{platform.name} is being asked for runs under way.")
    link = Markup('<a href="{}" rel="noreferrer">{}</a>')
    rows: list[tuple[Cell, ...]] = [
        (badge(run.state), link.format(run.url, printable(run.title or run.name)), _since(run))
        for run in platform.runs
        if run.name not in recorded
    ]
    if not rows:
        return said
    return section(f"Under way on {platform.name}", said, table(("state", "run", "since, UTC"), rows, text_columns=3))


def _since(run: RemoteRun) -> str:
    return format_time(run.created) if run.created else MISSING
