"""A run's page, what it leads to, and how far a run is that goes on."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from console.runs.progress import progress
from console.site import Site
from slipway.data.examples.dataset import QUARANTINE
from slipway.runs.record import StepsFile
from slipway.runs.report import render_report
from slipway.runs.store import OUTCOME, STEPS, SUMMARY, load_run
from slipway.runs.training_log import EPOCH_LINE, read_logged
from slipway.stores import storage
from tests.console.served import Answer, get, served
from tests.recorded_runs import NO_PROCESS, Ending, write_run


def with_logs(folder: Path) -> Path:
    for step in StepsFile.model_validate_json((folder / STEPS).read_text()).steps:
        if step.log:
            Path(step.log).write_text(f"{step.name} says <b>hello</b>\n")
    if (examples := folder / "artifacts" / "examples").is_dir():
        (examples / QUARANTINE).write_text('{"row": 7, "why": "no number"}\n')
    return folder


@pytest.mark.parametrize("ending", ["pushed", "refused", "failed", "bad-data", "interrupted"])
def test_every_link_of_a_run_leads_to_a_page(home: Path, site: Site, ending: Ending) -> None:
    with_logs(write_run(home, "taxi-1", ending))
    seen: set[str] = set()

    async def follow() -> None:
        async with served(site) as client:
            todo = ["/runs/taxi-1"]
            while todo:
                path = todo.pop()
                seen.add(path)
                async with client.get(path) as answer:
                    assert answer.status == 200, (path, await answer.text())
                    text = await answer.text()
                found = [link for link in Answer(200, {}, text).links if link.startswith("/runs/taxi-1")]
                todo += set(found) - seen - set(todo)

    asyncio.run(follow())
    assert any(path.endswith("/logs/resolve_source.log") for path in seen)
    assert any("/files/record" in path for path in seen)
    if ending in ("pushed", "refused"):
        assert any(path.endswith(QUARANTINE) for path in seen)


def test_a_run_shows_its_report_without_inline_style(home: Path, site: Site) -> None:
    write_run(home, "taxi-1", "refused")
    page = get(site, "/runs/taxi-1").text
    for part in ("0.912", "Steps", "Lineage", "ROC curve", "Training", "Confusion matrix"):
        assert part in page
    assert " style=" not in page
    assert "<script>" not in page


@pytest.mark.parametrize("name", ["nix", "..", "%2e%2e", "taxi", "%00", "taxi-1%2f..", "a" * 3000])
def test_another_name_is_no_run(home: Path, site: Site, name: str) -> None:
    """Not even the beginning of one: an address must not change its meaning with the next run."""
    write_run(home, "taxi-1", "pushed")
    assert get(site, f"/runs/{name}").status == 404


def running(home: Path, epochs: int) -> Path:
    folder = with_logs(write_run(home, "taxi-1", "running"))
    lines = [
        f"INFO {EPOCH_LINE % (number, 20, 0.5 / number, 0.6 / number, ' (best)', 1.25)}"
        for number in range(1, epochs + 1)
    ]
    (folder / "logs" / "train_model.log").write_text("\n".join(lines))
    return folder


def test_progress_tells_steps_epochs_and_rows(home: Path) -> None:
    running(home, 3)
    text = str(progress(load_run(home / "runs", "taxi-1")))
    for part in ("7 of 15", "train model", "3 of 20", "0.1667", "14,169", "<svg"):
        assert part in text


def test_epochs_are_read_as_train_model_logs_them() -> None:
    logged = [EPOCH_LINE % (3, 20, 0.25, 0.5, " (best)", 1.5), EPOCH_LINE % (4, 20, 0.25, float("nan"), "", 1.5)]
    epochs, most = read_logged("\n".join(f"12:00:01 INFO {line}" for line in logged))
    assert most == 20
    assert [(one.epoch, one.loss, one.seconds) for one in epochs] == [(3, 0.25, 1.5), (4, 0.25, 1.5)]
    assert epochs[0].val_loss == 0.5
    assert read_logged("epoch x/20: nothing") == ([], 0)


def test_a_run_that_goes_on_is_shown_again_until_it_ends(home: Path, site: Site) -> None:
    folder = running(home, 2)

    async def follow() -> None:
        async with served(site) as client:
            async with client.get("/runs/taxi-1") as answer:
                page = await answer.text()
            assert '<noscript><meta http-equiv="refresh"' in page
            assert 'data-live="/runs/taxi-1/live"' in page
            async with client.get("/runs/taxi-1/live") as answer:
                assert "2 of 20" in await answer.text()
            file = StepsFile.model_validate_json((folder / STEPS).read_text())
            assert file.pid == os.getpid()
            storage.write_text(str(folder / STEPS), file.model_copy(update={"pid": NO_PROCESS}).model_dump_json())
            async with client.get("/runs/taxi-1/live") as answer:
                assert answer.status == 204
            async with client.get("/runs/taxi-1") as answer:
                assert "http-equiv" not in await answer.text()

    asyncio.run(follow())


def test_progress_reads_no_log_but_that_beside_the_record(home: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = running(home, 2)
    secret = tmp_path_factory.mktemp("outside") / "x.log"
    secret.write_text("the secret")
    file = StepsFile.model_validate_json((folder / STEPS).read_text())
    for step in file.steps:
        step.log = str(secret)
        if step.state == "running":
            step.name = os.path.relpath(secret.with_suffix(""), folder / "logs")
    storage.write_text(str(folder / STEPS), file.model_dump_json())
    assert "the secret" not in str(progress(load_run(home / "runs", "taxi-1")))


def test_report_reads_no_artifact_outside_of_the_home(
    home: Path, site: Site, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder, outside = write_run(home, "taxi-1", "pushed"), tmp_path_factory.mktemp("outside")
    (folder / "artifacts" / "evaluation").rename(outside / "evaluation")
    for name in (STEPS, OUTCOME, SUMMARY):
        text = (folder / name).read_text()
        text = text.replace(str(folder / "artifacts" / "evaluation"), str(outside / "evaluation"))
        storage.write_text(str(folder / name), text)
    assert "ROC curve" in render_report(load_run(home / "runs", "taxi-1"))
    assert "ROC curve" not in get(site, "/runs/taxi-1").text
    write_run(home, "taxi-2", "pushed")
    assert get(site, "/runs/compare?run=taxi-1&run=taxi-2").status == 200


@pytest.mark.parametrize("log", [None, b"", b"\xff\xfe\x00", b"x" * 3_000_000])
def test_progress_does_without_a_readable_log(home: Path, log: bytes | None) -> None:
    folder = running(home, 2)
    file = folder / "logs" / "train_model.log"
    file.unlink() if log is None else file.write_bytes(log)
    assert "7 of 15" in str(progress(load_run(home / "runs", "taxi-1")))


def test_runs_are_compared_side_by_side(home: Path, site: Site) -> None:
    for name in ("taxi-1", "taxi-2"):
        write_run(home, name, "refused" if name == "taxi-2" else "pushed")
    page = get(site, "/runs/compare?run=taxi-1&run=taxi-2")
    assert page.status == 200
    for part in ("Metrics", "Parameters", "Slices", "Curves", "Training", "0.912", 'href="/runs/taxi-2"'):
        assert part in page.text
    assert page.text.count('<path class="line s2"') >= 4  # ROC, precision and recall, calibration, loss
    assert " style=" not in page.text


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 400),
        ("run=taxi-1", 400),
        ("run=taxi-1&run=taxi-1", 400),
        ("run=taxi-1&run=nix", 404),
        ("&".join(f"run={number}" for number in range(50)), 400),
    ],
)
def test_a_comparison_needs_runs(home: Path, site: Site, query: str, status: int) -> None:
    write_run(home, "taxi-1", "pushed")
    assert get(site, f"/runs/compare?{query}").status == status
