"""Pages in the frame of Kubeflow's UI, in a real browser: their links scroll, and lead nowhere else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from markupsafe import Markup
from tensorflow_metadata.proto.v0 import statistics_pb2

from pipelines.training import TRAINING
from slipway.data.statistics.page import render_statistics
from slipway.data.validation.page import render_validation
from slipway.data.validation.report import Validation
from slipway.evaluation.page import evaluation_page
from slipway.pages.page import render_page, section
from slipway.runs.report import render_report
from slipway.runs.store import load_run
from tests.recorded_runs import evaluation, statistics, write_run
from tests.slipway.pages.browser import clicked, clicking, framed


def links(page: str) -> list[str]:
    """Texts of the links to a section of the page; each other link opens a tab of its own."""
    found = re.findall(r'<a href="#[^"]+">([^<]*)</a>', page)
    assert len(found) + page.count('target="_blank"') == page.count("<a ")
    return found


def test_links_of_every_page_scroll_in_the_frame_of_the_ui(tmp_path: Path) -> None:
    write_run(tmp_path, "taxi-1", "pushed")
    pages = {
        "statistics": render_statistics(statistics_pb2.DatasetFeatureStatisticsList.FromString(statistics())),
        "validation": render_validation(Validation(anomalies=[])),
        "evaluation": evaluation_page(evaluation()),
        "report": render_report(load_run(tmp_path / "runs")),
    }
    clicks = clicked("".join(framed(clicking(name, page)) for name, page in pages.items()), len(pages))
    assert {name: [click.link for click in clicks if click.page == name] for name in pages} == {
        name: links(page) for name, page in pages.items()
    }
    assert len(clicks) > 10
    assert [click for click in clicks if not click.shows_its_section] == []


def test_links_of_a_steps_own_page_scroll_inside_the_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = render_page("Own", Markup("").join(section(f"Größe {part}", Markup("<p>x</p>" * 30)) for part in range(4)))
    monkeypatch.setitem(TRAINING.shows.pages, "Rows of the file", "evaluate_model.page")
    folder = write_run(tmp_path, "taxi-1", "pushed")
    (folder / "artifacts" / "page.html").write_text(clicking("own", own))
    clicks = clicked(render_report(load_run(tmp_path / "runs")), 1)
    assert [click.link for click in clicks] == links(own)
    assert [click for click in clicks if not click.shows_its_section] == []


def test_links_of_a_page_outside_of_frames_are_the_browsers_own() -> None:
    page = evaluation_page(evaluation())
    clicks = clicked(clicking("evaluation", page), 1)
    assert [click.address.partition("#")[2] for click in clicks] == re.findall('href="#([^"]+)"', page)
    assert [click for click in clicks if not click.shows_its_section] == []
