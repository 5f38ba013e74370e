"""docs/settings.md has each setting as the schema has it."""

import json
import os

import pytest

from settings.load import known_keys, load_settings
from settings.schema import Settings
from slipway.compute import Compute
from tests.docs.settings_page import PAGE, page, settings_of


def test_settings_page_is_what_the_schema_says() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m tests.docs.settings_page"


def test_settings_page_has_every_key() -> None:
    shown = {setting.key for setting in settings_of(Settings)}
    groups = {key.rpartition(".")[0] for key in known_keys(Settings)}
    mappings = {"compute", "schedules"}
    assert {key for key in known_keys(Settings) if key not in groups | mappings} <= shown


def test_settings_variables_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("SLIPWAY_")]:
        monkeypatch.delenv(name)
    named = {setting.variable: setting for setting in settings_of(Settings) if "SCHEDULES" not in setting.variable}
    for variable, setting in named.items():
        monkeypatch.setenv(variable.replace("<TASK>", "TRAIN_MODEL"), json.dumps(setting.field["default"]))
    monkeypatch.setenv("SLIPWAY_SCHEDULES", "{nightly: {module: taxi, cron: 0 3 * * *}}")
    found = load_settings()
    assert found.compute["train_model"] == Compute()
    assert found.schedules["nightly"].module == "taxi"
