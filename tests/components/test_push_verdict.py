"""The page of push_model's verdict."""

from typing import Any

import pytest

from components.push_model.verdict import describe_verdict
from slipway.evaluation.results import Evaluation, SliceResult, Verdict
from slipway.lineage import Lineage
from slipway.runs.record import Outcome, RunContext
from slipway.stores import storage

LINEAGE = Lineage(run="taxi-1", module="taxi", module_digest="m", data_uri="trips.csv")
RUN = RunContext(uri="gs://bucket/runs/taxi-1", lineage=LINEAGE)
BASELINE = "gs://bucket/models/taxi/1700000000"
CANDIDATE = {"auc": 0.95, "log_loss": 0.21, "calibration": 0.9, "accuracy": None}
THEIRS = {"auc": 0.94, "log_loss": 0.2, "calibration": 1.2, "accuracy": 0.9}


def evaluation(**changes: Any) -> Evaluation:
    overall = SliceResult(examples=9, candidate=CANDIDATE, baseline=THEIRS)
    verdict = Verdict(blessed=True, checks=[])
    given = {"baseline_uri": BASELINE, "overall": overall, **changes}
    return Evaluation(task="binary", label="y", engine="vectorised", examples=9, verdict=verdict, **given)


def page(*reasons: str, version: int | None = None, run: RunContext = RUN, **changes: Any) -> str:
    path = f"gs://bucket/models/taxi/{version}" if version else None
    outcome = Outcome(verdict="pushed" if version else "refused", reasons=list(reasons), version=version, path=path)
    return describe_verdict(outcome, evaluation(**changes), run)


def test_verdict_says_first_whether_the_model_was_pushed() -> None:
    assert page("low").splitlines()[:3] == ["# Refused: taxi was not pushed", "", "- low"]
    assert page(version=17).splitlines()[0] == "# Pushed: taxi, version 17"


def test_verdict_compares_with_the_baseline_in_the_direction_of_each_metric() -> None:
    lines = page().splitlines()
    assert any(BASELINE.rpartition("/")[2] in line for line in lines)
    rows = {line.split(" | ")[0].strip("| "): line for line in lines if line.startswith("| ")}
    assert "+0.0100 | better" in rows["auc"]
    assert "+0.0100 | worse" in rows[r"log\_loss"]
    assert "-0.3000 | better" in rows["calibration"], "0.9 is nearer to 1 than 1.2"
    assert rows["accuracy"].endswith("|  |  |")


def test_verdict_links_to_report_and_version_by_addresses_that_a_browser_opens() -> None:
    said = page(version=17, run=RUN.model_copy(update={"uri": "gs://bucket/a b/taxi-1"}))
    assert "(https://storage.cloud.google.com/bucket/a%20b/taxi-1/report.html)" in said
    assert "(https://console.cloud.google.com/storage/browser/bucket/models/taxi/17)" in said


@pytest.mark.parametrize(
    "home", ["/home/me", "gs://anonymous@bucket/home?scheme=http&endpoint_override=localhost:9023"]
)
def test_verdict_of_a_place_that_no_browser_shows_names_it(home: str) -> None:
    folder = storage.join(home, "runs", "taxi-1")
    said = page(run=RUN.model_copy(update={"uri": folder}), baseline_uri=None)
    assert f"`{storage.join(folder, 'report.html')}`" in said
    assert "https://" not in said


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"baseline_uri": None}, "no other version"),
        ({"baseline_problem": "it needs tips", "overall": SliceResult(examples=9, candidate={})}, "it needs tips"),
    ],
)
def test_verdict_without_a_comparison_says_why(changes: dict[str, Any], said: str) -> None:
    assert said in page(**changes)
    assert "| auc" not in page(**changes)


def test_verdict_shows_values_of_the_data_as_they_are() -> None:
    said = page("auc on pay=[x](javascript:alert(1))|<b>*a*\n# b https://x is below 0.9")
    assert said.splitlines()[2] == (
        r"- auc on pay=\[x\]\(javascript:alert\(1\)\)\|\<b\>\*a\* \# b https\://x is below 0.9"
    )
