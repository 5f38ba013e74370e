"""The text of a notification: what happened, why, and a link."""

from dataclasses import dataclass, field

from markupsafe import Markup

from slipway.runs.explain import explain_run
from slipway.runs.notifications.config import Event
from slipway.runs.record import RolloutOutcome, Summary
from slipway.runs.store import REPORT, RunView
from slipway.runs.summary import TUNING, read_record
from slipway.stores import storage
from slipway.tuning.result import TuningRecord

# Mail programs show such a subject in one line; Slack truncates messages at 40,000 letters.
SUBJECT_LENGTH, DETAILS_LENGTH, REASONS = 160, 20_000, 12


@dataclass(frozen=True)
class Message:
    """One notification, sent if the settings ask for one of its events."""

    events: frozenset[Event]
    subject: str  # what happened, in one line
    reasons: list[str] = field(default_factory=list)
    link: str = ""  # of the run's page: an address, or the URI or path of its report
    details: str = ""  # all that is known, as plain text

    @property
    def header(self) -> str:
        """The subject without line breaks and control characters."""
        text = "".join(letter if letter.isprintable() else " " for letter in f"[slipway] {self.subject}")
        return " ".join(text.split())[:SUBJECT_LENGTH]

    def text(self) -> str:
        """All of it, as plain text."""
        return "\n\n".join(part for part in (self.brief(), self.details[:DETAILS_LENGTH]) if part)

    def brief(self) -> str:
        """Without the details."""
        lines = [f"- {reason}" for reason in self.reasons[:REASONS]]
        more = len(self.reasons) - REASONS
        return "\n".join(filter(None, [self.header, *lines, f"- and {more} more" if more > 0 else "", self.link]))

    def html(self) -> str:
        """All of it, as a page for mail programs."""
        reasons = Markup("").join(Markup("<li>{}</li>").format(reason) for reason in self.reasons[:REASONS])
        anchor = Markup('<a href="{0}">{0}</a>') if self.link.startswith(("https://", "http://")) else Markup("{0}")
        return Markup("<html><body><h3>{}</h3><ul>{}</ul><p>{}</p><pre>{}</pre></body></html>").format(
            self.header, reasons, anchor.format(self.link), self.details[:DETAILS_LENGTH]
        )


def run_message(view: RunView, page: str = "") -> Message:
    """The notification of a run that ended. `page` is its address on its target; its report if there is none."""
    summary, rollout = view.summary, view.rollout
    events, happened = _judge(summary, rollout)
    reasons = summary.reasons
    if rollout and rollout.verdict != "promoted":
        search = read_record(view.uri, TUNING, TuningRecord)
        reasons = [*rollout.reasons, *([search.tuned.reason] if search and search.tuned else [])]
    if rollout and rollout.ended:
        events, happened = events | {"rollback"}, f"{happened}, after a rollback that it ended"
        reasons = [*rollout.ended, *reasons]
    return Message(
        events=frozenset(events),
        subject=f"{summary.lineage.module}: {happened} ({summary.lineage.run})",
        reasons=reasons,
        link=page or storage.join(view.uri, REPORT),
        details=explain_run(view).text(),
    )


def _judge(summary: Summary, rollout: RolloutOutcome | None) -> tuple[set[Event], str]:
    if rollout and rollout.verdict != "promoted":
        became = {"rolled-back": "was rolled back", "held": "waits for a decision", "failed": "could not be rolled out"}
        events: set[Event] = {"failure", "rollback"} if rollout.verdict == "rolled-back" else {"failure"}
        return events, f"version {rollout.version} {became[rollout.verdict]}"
    if summary.told and summary.told.tone == "bad":
        return {"failure", "refused"}, summary.told.news
    if summary.state != "succeeded":
        was = {"failed": "failed", "unknown": "ended in an unknown state"}.get(summary.state, f"was {summary.state}")
        return {"failure"}, f"the run {was}" + (f" at {summary.failed_step}" if summary.failed_step else "")
    if rollout:
        return {"success"}, f"version {rollout.version} is in production"
    if summary.told is None:
        return {"success"}, "the run succeeded"
    return {"refused" if summary.told.tone == "warn" else "success"}, summary.told.news
