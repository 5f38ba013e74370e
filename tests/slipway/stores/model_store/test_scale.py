"""What a command asks of the store is told before there are many versions: by counts, not by seconds."""

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from slipway.stores.model_store import LocalModelStore, State, open_store
from tests.fakes.fault_proxy import FaultProxy
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


def test_commands_list_the_store_once_or_not_at_all(
    local_store: LocalModelStore, new_model: NewModel, asked: Counter[str]
) -> None:
    first, second = (local_store.push(new_model(seed), provenance()).version.number for seed in (1, 2))
    local_store.promote("taxi", first)
    for listings, command in (
        (1, lambda: local_store.look("taxi")),
        (1, lambda: local_store.versions("taxi")),
        (1, lambda: local_store.stages("taxi")),
        (1, lambda: local_store.history("taxi")),
        (0, lambda: local_store.version("taxi", first)),
        (0, lambda: local_store.production("taxi")),
        (0, lambda: local_store.stage("taxi", first)),
        (1, lambda: local_store.push(new_model(3), provenance())),
        (0, lambda: local_store.mark_canary("taxi", second)),
        (0, lambda: local_store.promote("taxi", second)),
        (1, lambda: local_store.rollback("taxi")),
        (1, lambda: local_store.prune("taxi", 0)),
    ):
        asked.clear()
        command()
        assert asked["listings"] == listings


def test_requests_to_a_bucket_do_not_grow_with_its_versions(
    fault_proxy: FaultProxy, new_model: NewModel, tmp_path: Path
) -> None:
    """A listing is one here: a store asks once for each 1,000 objects."""

    def count(versions: int) -> dict[str, tuple[int, int]]:
        """All requests, and listings of all that there is of a model."""
        store = open_store(fault_proxy.uri(f"store-{versions}", retry_seconds=20))
        pushed = [store.push(new_model(seed), provenance()).version.number for seed in range(versions)]
        store.promote("taxi", pushed[0])
        found = {}
        for name, command in (
            ("push", lambda: store.push(new_model(99), provenance())),
            ("models", store.models),
            ("production", lambda: store.production("taxi")),
            ("promote", lambda: store.promote("taxi", pushed[-1])),
            ("fetch", lambda: store.fetch(store.version("taxi", pushed[-1]), tmp_path / f"to-{versions}")),
            ("rollback", lambda: store.rollback("taxi")),
            ("prune", lambda: store.prune("taxi", versions - 2)),
        ):
            fault_proxy.requests.clear()
            command()
            # After a 404 Google's library looks for the bucket, in a thread of its own.
            asked = [one for one in fault_proxy.requests if not one.startswith("GET ?fields=name")]
            whole = [one for one in asked if re.search(r"prefix=store-\d+/taxi/(&|$)", one)]
            found[name] = len(asked), len(whole)
        return found

    few = count(2)
    assert {name: listings for name, (_, listings) in few.items()} == {
        "push": 1, "models": 0, "production": 0, "promote": 0, "fetch": 0, "rollback": 1, "prune": 1
    }  # fmt: skip
    assert few["push"][0] < 23
    assert count(6) == few


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
