from __future__ import annotations

from pathlib import Path

import pytest

from slipway.runs.notifications.message import Message, run_message
from slipway.runs.record import RolloutOutcome
from slipway.runs.store import ROLLOUT, load_run
from slipway.runs.summary import TUNING
from slipway.tuning.result import Tuned, TuningRecord
from slipway.tuning.space import Values
from tests.recorded_runs import VERSION, WHY_FAILED, WHY_REFUSED, Ending, write_run


def told(home: Path, ending: Ending, page: str = "") -> Message:
    write_run(home, "r", ending)
    return run_message(load_run(home / "runs", "r"), page)


@pytest.mark.parametrize(
    ("ending", "events", "subject", "why"),
    [
        ("failed", {"failure"}, "taxi: the run failed at validate_examples (r)", WHY_FAILED),
        ("bad-data", {"failure", "refused"}, "taxi: the data was refused (r)", "'trip_miles', split train"),
        ("interrupted", {"failure"}, "taxi: the run was interrupted at train_model (r)", "train_model failed"),
        ("refused", {"refused"}, "taxi: the model was refused (r)", WHY_REFUSED),
        ("pushed", {"success"}, f"taxi: version {VERSION} was pushed (r)", "auc 0.956 is at least 0.93"),
    ],
)
def test_run_message_says_what_and_why(
    tmp_path: Path, ending: Ending, events: set[str], subject: str, why: str
) -> None:
    message = told(tmp_path, ending)
    assert (set(message.events), message.subject) == (events, subject)
    assert any(why in reason for reason in message.reasons), message.reasons


def test_run_message_has_what_explain_says_and_links_to_the_run_or_its_report(tmp_path: Path) -> None:
    message = told(tmp_path, "refused", "https://ui/runs/1")
    assert "r was not pushed: the gate refused its model." in message.details
    assert "failed: auc 0.9120 on payment_type=Cash (min 0.9300, n 1,204)" in message.details
    assert message.link == "https://ui/runs/1"
    report = run_message(load_run(tmp_path / "runs", "r")).link
    assert Path(report).name == "report.html"
    assert Path(report).is_file()


@pytest.mark.parametrize(
    ("verdict", "events", "happened"),
    [
        ("rolled-back", {"rollback", "failure"}, "version 7 was rolled back"),
        ("held", {"failure"}, "version 7 waits for a decision"),
        ("failed", {"failure"}, "version 7 could not be rolled out"),
        ("promoted", {"success"}, "version 7 is in production"),
    ],
)
def test_run_message_of_a_rollout_says_what_became_of_it(
    tmp_path: Path, verdict: str, events: set[str], happened: str
) -> None:
    folder = write_run(tmp_path, "r", "pushed")
    outcome = RolloutOutcome.model_validate({"verdict": verdict, "version": 7, "reasons": ["p99 doubled"]})
    (folder / ROLLOUT).write_text(outcome.model_dump_json())
    message = run_message(load_run(tmp_path / "runs", "r"))
    assert (set(message.events), message.subject) == (events, f"taxi: {happened} (r)")
    assert (message.reasons == ["p99 doubled"]) == (verdict != "promoted")


def test_run_message_of_a_run_that_ended_a_rollback_is_one_of_a_rollback(tmp_path: Path) -> None:
    folder = write_run(tmp_path, "r", "pushed")
    ended = ["back at version 5, from version 6: complaints"]
    outcome = RolloutOutcome(verdict="promoted", version=7, reasons=["fine"], ended=ended)
    (folder / ROLLOUT).write_text(outcome.model_dump_json())
    message = run_message(load_run(tmp_path / "runs", "r"))
    assert set(message.events) == {"rollback", "success"}
    assert message.reasons[0] == ended[0]
    assert "after a rollback" in message.subject


def test_run_message_of_a_rollout_tells_what_the_search_came_to(tmp_path: Path) -> None:
    folder = write_run(tmp_path, "r", "pushed")
    outcome = RolloutOutcome.model_validate({"verdict": "rolled-back", "version": 7, "reasons": ["p99 doubled"]})
    (folder / ROLLOUT).write_text(outcome.model_dump_json())
    tuned = Tuned(
        ended="target", metric="auc", better="high", target=0.9, value=0.91, winner=4, values=Values(), trials=7
    )
    (folder / TUNING).write_text(TuningRecord(tuned=tuned).model_dump_json())
    why, search = run_message(load_run(tmp_path / "runs", "r")).reasons
    assert why == "p99 doubled"
    assert "target was met" in search
    assert "0.91" in search


def test_message_in_brief_is_cut_where_nobody_reads_on() -> None:
    message = Message(frozenset(), "x" * 999, [f"reason {number}" for number in range(30)], details="y" * 99_999)
    lines = message.brief().splitlines()
    assert len(lines[0]) == 160
    assert lines[-2:] == ["- reason 11", "- and 18 more"]
    assert len(message.text()) < 21_000


@pytest.mark.parametrize("link", ["javascript:alert(1)", "gs://bucket/runs/r/report.html", "/home/runs/r/report.html"])
def test_message_links_only_to_addresses(link: str) -> None:
    page = Message(frozenset(), "failed", link=link).html()
    assert "<a" not in page
    assert link in page


def test_message_as_a_page_escapes_all_that_came_from_outside() -> None:
    bad = '"><script>alert(1)</script>'
    assert "<script" not in Message(frozenset(), bad, [bad], f"https://ui/{bad}", bad).html()
