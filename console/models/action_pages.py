"""The pages of an action: its form, its confirmation, and a job under way."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from aiohttp import web
from markupsafe import Markup

from console.forms import post_form
from console.layout import button, field, select
from console.models.overview import run_link
from console.site import site_of
from slipway.errors import ConfigError
from slipway.pages.numbers import MISSING, format_seconds
from slipway.pages.page import Tone, badge, facts, log, notice, section, table

if TYPE_CHECKING:
    from console.models.actions import Plan
    from console.models.catalog import Model
    from console.models.jobs import JobView

LONGEST_REASON = 500
KEPT = 1000  # characters of a reason that is to be corrected
TONES: dict[str, Tone] = {
    "running": "plain", "succeeded": "good", "held": "warn", "failed": "bad", "interrupted": "bad"
}  # fmt: skip


def check_data(chosen: str, model: Model) -> str:
    """The data of a training, if they are offered."""
    if chosen not in {name for name, _ in data_choices(model)}:
        raise ConfigError("Choose one of the data that are offered.")
    return chosen


def check_reason(text: str) -> str:
    """A reason as the history keeps it, on one line; a ConfigError says what is wrong with another."""
    reason = " ".join(text.split())
    if not reason:
        raise ConfigError("Give a reason: the history shows it to those who ask later.")
    if len(reason) > LONGEST_REASON:
        raise ConfigError(f"The reason has {len(reason):,} characters; at most {LONGEST_REASON} are kept.")
    if bad := sorted({f"U+{ord(one):04X}" for one in reason if not one.isprintable()}):
        raise ConfigError(f"The reason holds characters that cannot be shown: {', '.join(bad)}. Type it again.")
    return reason


def action_form(
    request: web.Request,
    plan: Plan,
    model: Model,
    hidden: dict[str, str],
    typed: Mapping[str, str] = MappingProxyType({}),
    problem: str = "",
) -> Markup:
    """What the action changes, and the question why; with what was typed before a problem came up."""
    asked = [_hidden(hidden), field("Reason, for the history", "why", typed.get("why", "")[:KEPT], required=True)]
    if plan.kind == "retrain":
        asked.append(select("Data", "data", data_choices(model), typed.get("data", "own")))
    wrong = notice(problem, "bad") if problem else Markup("")
    path = request.path.removesuffix("/do")
    return wrong + _changes(request, plan) + post_form(request, path, *asked, button("Go on"))


def confirmation(request: web.Request, plan: Plan, reason: str, hidden: dict[str, str], path: str) -> Markup:
    """What will change, and the button that does it."""
    said = facts([("reason", reason)])
    back = Markup('<p><a href="/models/{}">Do not</a></p>').format(plan.model)
    done = post_form(request, f"{path}/do", _hidden(hidden | {"why": reason}), button(plan.title))
    return _changes(request, plan) + said + done + back


def data_choices(model: Model) -> list[tuple[str, str]]:
    """What a training may learn from."""
    choices = [("own", "the data that module.yaml names, or the module's sample")]
    if model.production:
        data = model.production.manifest.lineage.data_uri
        choices.append(("production", f"the data of version {model.production.number}: {data[:100]}"))
    return choices


def job_page(view: JobView) -> Markup:
    """A job: how far it is, what it says, how it ended."""
    job, tone = view.job, TONES[view.state]
    said = view.said
    if view.state == "running":
        said = (
            f"It has been running for {format_seconds(time.time() - job.asked)}. It is a process of its own: it goes "
            "on when this page is closed and when the console is stopped."
        )
    if view.state == "interrupted":
        goes_on = "begins anew; finished steps come from the cache" if job.kind == "retrain" else "goes on where it was"
        said += f" The same action {goes_on}."
    parts = [
        notice(Markup("{} {}").format(badge(view.state, tone), said), tone),
        facts([("reason", job.why), ("asked by", job.by),
               ("version", str(job.number or MISSING)), ("run", run_link(view.run))]),
        section("What it says", log(view.log or "nothing yet")),
        Markup('<p><a href="/models/{0}">{0}</a></p>').format(job.model),
    ]  # fmt: skip
    return Markup("").join(parts)


def _changes(request: web.Request, plan: Plan) -> Markup:
    name = site_of(request).environment.name
    told = (
        notice(plan.told, "warn" if plan.kind in ("rollback", "quarantine") else "plain") if plan.told else Markup("")
    )
    headers = (f"in {name}" if name else "on this machine", "now", "then")
    return table(headers, plan.changes, text_columns=3) + told


def _hidden(values: dict[str, str]) -> Markup:
    one = Markup('<input type="hidden" name="{}" value="{}">')
    return Markup("").join(one.format(name, value) for name, value in values.items())
