"""The list of runs: what is shown, in which order, and what a search finds."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from console.index.runs import RunEntry, entry_of
from console.runs.listing import PAGE_ROWS, Wanted, choose, list_body
from console.site import Site
from slipway.errors import ConfigError
from slipway.runs.notes import write_notes
from slipway.runs.store import list_runs
from tests.console.served import get
from tests.recorded_runs import STARTED, Ending, write_run

HOSTILE = [
    "<script>alert(1)<",
    "\"'onmouseover=alert(1) x='",
    "..%2f..%2fetc",
    "{run}",
    "a\u202eb",
    "x\x1b]0;y\x07",
    "?run=a#b",
]


def names(entries: list[RunEntry]) -> list[str]:
    return [one.name for one in entries]


@pytest.fixture(scope="module")
def entries(tmp_path_factory: pytest.TempPathFactory) -> list[RunEntry]:
    home = tmp_path_factory.mktemp("home")
    made: list[tuple[str, Ending, str]] = [
        ("taxi-1", "pushed", "taxi"), ("taxi-2", "refused", "taxi"), ("loan-3", "failed", "loan"),
        ("taxi-4", "running", "taxi"),
    ]  # fmt: skip
    for number, (name, ending, module) in enumerate(made):
        write_run(home, name, ending, started=STARTED + number, module=module)
    write_notes(str(home / "runs" / "taxi-1"), tags={"team": "blue"}, note="Before the holidays")
    return [entry_of(view) for view in list_runs(home / "runs")]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Wanted(), ["taxi-4", "loan-3", "taxi-2", "taxi-1"]),
        (Wanted(module="loan"), ["loan-3"]),
        (Wanted(outcome="refused"), ["taxi-2"]),
        (Wanted(outcome="running"), ["taxi-4"]),
        (Wanted(module="loan", outcome="refused"), []),
        (Wanted(q="HOLIDAYS blue"), ["taxi-1"]),
        (Wanted(q="below 0.93"), ["taxi-2"]),
        (Wanted(q="auc > 0.9 and verdict = pushed"), ["taxi-1"]),
        (Wanted(q="tags.team = blue"), ["taxi-1"]),
        (Wanted(q="ADA loan"), ["loan-3"]),
        (Wanted(q="started_by = ada@lab and module = loan"), ["loan-3"]),
        (Wanted(sort="name"), ["loan-3", "taxi-1", "taxi-2", "taxi-4"]),
        (Wanted(sort="auc"), ["taxi-2", "taxi-1", "taxi-4", "loan-3"]),
        (Wanted(sort="longest", outcome="pushed"), ["taxi-1"]),
    ],
)
def test_runs_are_chosen_and_sorted(entries: list[RunEntry], wanted: Wanted, found: list[str]) -> None:
    assert names(choose(entries, wanted)) == found


def test_a_run_says_who_started_it(home: Path, site: Site) -> None:
    write_run(home, "taxi-1", "pushed")
    assert "by ada@lab" in get(site, "/runs").text
    assert "ada@lab" in get(site, "/runs/taxi-1").text


@pytest.mark.parametrize(("q", "said"), [("acu > 1", "auc"), ("auc >", "VALUE"), ("module > 3", "numbers")])
def test_a_wrong_condition_is_explained_on_the_page(home: Path, site: Site, q: str, said: str) -> None:
    write_run(home, "taxi-1", "pushed")
    answer = get(site, f"/runs?q={q.replace(' ', '+').replace('>', '%3E')}")
    assert answer.status == 200
    assert said in answer.text
    assert "--where" not in answer.text


def test_pages_hold_all_runs_once(entries: list[RunEntry]) -> None:
    many = [entries[0].model_copy(update={"name": f"run-{number:03}"}) for number in range(2 * PAGE_ROWS + 1)]
    shown = [str(list_body(many, choose(many, Wanted()), Wanted(page=page))) for page in (1, 2, 3)]
    assert [text.count("<tr>") - 1 for text in shown] == [PAGE_ROWS, PAGE_ROWS, 1]
    assert "page=2" in shown[0]
    assert 'rel="next"' not in shown[2]
    assert sum(text.count(">run-007<") for text in shown) == 1


@pytest.mark.parametrize("page", ["0", "-1", "x", "9" * 400, "1e3", "%D9%A3", "99"])
def test_any_page_number_is_answered(home: Path, site: Site, page: str) -> None:
    write_run(home, "taxi-1", "pushed")
    assert "taxi-1" in get(site, f"/runs?page={page}").text


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_text_and_lead_to_their_run(home: Path, site: Site, name: str) -> None:
    write_run(home, name, "refused")
    page = get(site, "/runs")
    assert "<script>alert" not in page.text
    assert not set("\x1b\x07\u202e") & set(re.sub('="[^"]*"', "", page.text))
    [link] = [link for link in page.links if link.startswith("/runs/")]
    run = get(site, link)
    assert (run.status, "<script>alert" in run.text) == (200, False)
    for path in run.links:
        if path.startswith("/runs/") and path.endswith("/files"):
            assert get(site, path).status == 200


@pytest.mark.parametrize(
    "query",
    [
        "q=%00",
        "q=" + "x" * 4000,
        "q=%3Cscript%3Ealert(1)%3C/script%3E",
        "module=%22%3E%3Cb%3E",
        "sort=%3Cb%3E",
        "outcome=%F0%9F",
    ],
)
def test_hostile_queries_are_text(home: Path, site: Site, query: str) -> None:
    write_run(home, "taxi-1", "pushed")
    answer = get(site, f"/runs?{query}")
    assert answer.status == 200
    assert "<script>alert" not in answer.text
    assert '<b>"' not in answer.text


def test_an_empty_state_says_what_makes_a_run(site: Site) -> None:
    assert "slipway run" in get(site, "/runs").text


def test_a_damaged_run_is_listed_with_its_problem(home: Path, site: Site) -> None:
    folder = write_run(home, "taxi-1", "pushed")
    (folder / "steps.json").write_text("{")
    assert "steps.json cannot be read" in get(site, "/runs").text


def test_condition_errors_are_errors(entries: list[RunEntry]) -> None:
    with pytest.raises(ConfigError, match="no run has"):
        choose(entries, Wanted(q="nix = 1"))
