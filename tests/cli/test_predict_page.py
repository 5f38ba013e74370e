"""`slipway predict-page` in a process of its own, and what it writes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from serving.predict_page.form import Form
from slipway.errors import SlipwayError
from tests.cli.commands import slipway
from tests.serving.predict_page.stored import write_home


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    write_home(home)
    return home


@pytest.mark.slow
def test_predict_page_serves_the_stores_model_until_it_is_told_to_end(home: Path) -> None:
    command = [sys.executable, "-m", "cli.main", "predict-page", "tiny", "--port", "0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=os.environ | {"SLIPWAY_HOME": str(home)}
    ) as page:
        assert page.stdout
        try:
            url = page.stdout.readline().strip()
            answer = httpx.post(url, data={"size": "1.5", "town": "Ulm"}, timeout=30)
            assert (answer.status_code, "Version" in answer.text) == (200, True)
        finally:
            page.send_signal(signal.SIGTERM)
            assert page.wait(30) == 0


def test_predict_page_write_form_writes_what_the_page_reads(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLIPWAY_HOME", str(home))
    slipway("predict-page", "tiny", "--write-form", str(tmp_path / "tiny.json"))
    form = Form.model_validate_json((tmp_path / "tiny.json").read_text())
    assert [field.name for field in form.fields] == ["size", "rooms", "town"]
    assert json.loads((tmp_path / "tiny.json").read_text())["model"] == "tiny"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("other",), "'other'.*tiny"),
        (("tiny", "--form", "x.json"), "--address"),
        (("tiny", "--address", "nowhere"), "HOST:PORT"),
    ],
)
def test_predict_page_with_wrong_arguments_says_what_is_wrong(
    arguments: tuple[str, ...], said: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLIPWAY_HOME", str(home))
    with pytest.raises(SlipwayError, match=said):
        slipway("predict-page", *arguments)


def test_predict_page_refuses_a_form_of_another_model_and_what_is_no_form(tmp_path: Path) -> None:
    for name, content in (("a", Form(model="taxi", fields=()).model_dump_json()), ("b", "{}"), ("c", "no JSON")):
        (tmp_path / name).write_text(content)
        with pytest.raises(SlipwayError, match=str(tmp_path / name)):
            slipway("predict-page", "tiny", "--address", "localhost:1", "--form", str(tmp_path / name))
