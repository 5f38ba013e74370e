"""The baseline of a version: beside it, in no digest of it, and gone with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from slipway.errors import StoreError
from slipway.stores.model_store import ModelStore, digest_model
from tests.model_files import provenance

NewModel = Callable[[int], Path]


def test_it_is_kept_and_changes_no_digest(store: ModelStore, new_model: NewModel) -> None:
    version = store.push(new_model(1), provenance(), '{"rows": 1}').version
    assert store.baseline(version) == '{"rows": 1}'
    assert version.manifest.model_digest == digest_model(new_model(1))
    assert store.verify(version) == []
    assert [one.number for one in store.versions("taxi")] == [version.number]
    assert not store.push(new_model(1), provenance(), '{"rows": 2}').is_new


def test_a_version_without_one_says_what_to_do(store: ModelStore, new_model: NewModel) -> None:
    version = store.push(new_model(1), provenance()).version
    with pytest.raises(StoreError, match=rf"{version.number} of taxi has no baseline.*push"):
        store.baseline(version)


def test_it_is_deleted_with_its_version(store: ModelStore, new_model: NewModel) -> None:
    versions = [store.push(new_model(seed), provenance(), f"{seed}").version for seed in range(4)]
    [gone] = store.prune("taxi", keep=1)
    with pytest.raises(StoreError, match="no baseline"):
        store.baseline(versions[0])
    assert gone == versions[0].number
    assert store.baseline(versions[1]) == "1"
