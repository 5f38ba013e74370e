"""What a command asks of the store is told before there are many versions: by counts, not by seconds."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from slipway.stores.model_store import LocalModelStore, State
from tests.model_files import provenance

NewModel = Callable[[int], Path]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often a store is listed and read, and a history searched for deleted versions."""
    counts: Counter[str] = Counter()

    def count(name: str, kind: type, attribute: str) -> None:
        original = getattr(kind, attribute)
        function: Callable[..., object] = original.__get__ if isinstance(original, property) else original

        def counted(*arguments: object) -> object:
            counts[name] += 1
            return function(*arguments)

        monkeypatch.setattr(kind, attribute, property(counted) if isinstance(original, property) else counted)

    count("listings", LocalModelStore, "_list")
    count("reads", LocalModelStore, "_get")
    count("searches", State, "deleted")
    return counts


def test_reading_commands_list_the_store_once(
    local_store: LocalModelStore, new_model: NewModel, asked: Counter[str]
) -> None:
    number = local_store.push(new_model(1), provenance()).version.number
    for command in (
        lambda: local_store.look("taxi"),
        lambda: local_store.versions("taxi"),
        lambda: local_store.version("taxi", number),
        lambda: local_store.production("taxi"),
        lambda: local_store.stage("taxi", number),
        lambda: local_store.stages("taxi"),
        lambda: local_store.history("taxi"),
    ):
        asked.clear()
        command()
        assert (asked["listings"], asked["reads"]) <= (1, 2)


def test_changing_commands_list_the_store_twice_before_and_once_within_the_change(
    local_store: LocalModelStore, new_model: NewModel, asked: Counter[str]
) -> None:
    first = local_store.push(new_model(1), provenance()).version.number
    local_store.promote("taxi", first)
    asked.clear()
    second = local_store.push(new_model(2), provenance()).version.number
    assert asked["listings"] == 2
    asked.clear()
    local_store.promote("taxi", second)
    assert asked["listings"] == 2
    asked.clear()
    local_store.rollback("taxi")
    assert asked["listings"] == 3


def test_prune_of_many_versions_reads_no_more_than_that_of_few(
    local_store: LocalModelStore, new_model: NewModel, asked: Counter[str]
) -> None:
    def prune(count: int) -> dict[str, int]:
        for number in range(count):
            local_store.push(new_model(100 * count + number), provenance())
        asked.clear()
        assert len(local_store.prune("taxi", 1)) >= count - 3
        return dict(asked)

    assert prune(3) == prune(9)
