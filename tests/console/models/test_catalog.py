"""The catalogue of a store under many who ask at once."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from console.models.catalog import Catalog
from delivery.environment import open_environment
from slipway.stores.model_store import LocalModelStore
from tests.console.models.shelf import push_versions

MODELS = [f"model{number}" for number in range(10)]


@pytest.fixture
def looked(home: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The models that were read from a store of ten, whose model0 does not answer until `answers` is set."""
    for name in MODELS:
        push_versions(home, 1, name)
    names: list[str] = []
    look = LocalModelStore.look

    def noted(self: LocalModelStore, model: str, known: Any) -> Any:
        names.append(model)
        if model == "model0":
            assert answers.wait(30)
        time.sleep(0.05)
        return look(self, model, known)

    answers.clear()
    monkeypatch.setattr(LocalModelStore, "look", noted)
    return names


answers = threading.Event()


def test_nobody_waits_for_another_model(looked: list[str]) -> None:
    catalog = Catalog(open_environment())
    with ThreadPoolExecutor(20) as people:
        stuck = [people.submit(catalog.model, "model0") for _ in range(10)]
        others = list(people.map(catalog.model, MODELS[1:], timeout=20))
        assert [one.name for one in others if one] == MODELS[1:]
        assert not any(one.done() for one in stuck)
        answers.set()
        assert {one.result(20).name for one in stuck if one.result(20)} == {"model0"}  # type: ignore[union-attr]


def test_of_a_hundred_at_once_one_reads_a_model(looked: list[str]) -> None:
    answers.set()
    catalog = Catalog(open_environment())
    with ThreadPoolExecutor(100) as people:
        found = list(people.map(catalog.model, MODELS * 10))
    assert all(found)
    assert sorted(looked) == MODELS


def test_names_are_those_of_the_last_time_while_somebody_lists(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    push_versions(home, 1)
    catalog = Catalog(open_environment())
    assert catalog.model("taxi")
    asked, names = catalog._names
    catalog._names = (asked - 60, names)
    listing, goes_on = threading.Event(), threading.Event()

    def slow(_: LocalModelStore) -> list[str]:
        listing.set()
        assert goes_on.wait(30)
        return ["taxi"]

    monkeypatch.setattr(LocalModelStore, "models", slow)
    with ThreadPoolExecutor(1) as person:
        first = person.submit(catalog.model, "taxi")
        assert listing.wait(30)
        assert catalog.model("taxi")
        goes_on.set()
        assert first.result(30)
