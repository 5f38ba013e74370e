"""`slipway` on a place whose overlay cannot be rendered: what is decided needs the cluster and the store alone."""

from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path

import pytest
import yaml

from serving.rollout.engine import Rollout
from slipway.errors import ModelQuarantinedError, StoreError
from tests.cli.commands import rollout, slipway
from tests.cluster.acts import fails, hold, serves, start
from tests.cluster.places import Place
from tests.fakes.kubernetes.world import short_pause
from tests.model_files import provenance, write_model


@pytest.fixture
def place(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """The place as an environment, with an overlay that takes in a folder which is not there."""
    overlay = tmp_path / "overlay"
    overlay.mkdir()
    content = {"namespace": place.namespace, "resources": ["../none"]}
    (overlay / "kustomization.yaml").write_text(yaml.safe_dump(content))
    monkeypatch.setenv("SLIPWAY_HOME", str(Path(place.store.uri).parent))
    monkeypatch.setenv("SLIPWAY_SERVING__OVERLAY", str(overlay))
    monkeypatch.setenv("SLIPWAY_SERVING__CLUSTER", place.context)
    for key, value in place.policy.model_dump().items():
        monkeypatch.setenv(f"SLIPWAY_SERVING__{key.upper()}", str(value))
    if not place.context:
        monkeypatch.setattr("delivery.rollout.Rollout", partial(Rollout, pause=short_pause))
    return place


def test_rollback_without_a_checkout_serves_what_ran_before_and_status_names_what_was_left(place: Place) -> None:
    first, second = place.good
    hold(place)
    rollout("promote", "--why", "the suite says so")
    assert serves(place) == (second, None)
    rollout("rollback", "--why", "complaints")
    assert serves(place) == (first, None)
    assert place.store.stage("taxi", second) == "quarantined"
    assert f"rolled-back, after version {second} was left" in rollout("status").stdout


def test_abort_without_a_checkout_leaves_no_canary_and_status_names_it_as_a_way_out(place: Place) -> None:
    hold(place)
    assert "`slipway rollout abort taxi --env staging`" in rollout("status").stdout
    rollout("abort", "--why", "not today")
    assert "slipway rollout" not in rollout("status").stdout
    assert serves(place) == (place.good[0], None)


def test_commands_where_there_are_several_models_want_a_name_and_status_shows_all(place: Place, tmp_path: Path) -> None:
    place.store.push(write_model(tmp_path / "other", 7), provenance("shapes"))
    hold(place)
    for command in ("start", "promote", "abort", "rollback"):
        with pytest.raises(StoreError, match="name the model; models: shapes, taxi"):
            rollout(command)
    shown = rollout("status").stdout
    assert re.search("shapes +stable +none", shown)
    assert re.search(f"taxi +canary +{place.good[1]}", shown)
    (Path(place.store.uri) / "shapes" / ".state.json").write_text("{")
    failed = rollout("status", "--json")
    shapes, taxi = json.loads(failed.stdout)
    assert (failed.exit_code, shapes["model"], taxi["rollout"]["phase"]) == (1, "shapes", "held")
    assert ".state.json" in shapes["error"]


def test_release_of_a_quarantine_lets_the_version_be_started_again_and_the_history_says_why(place: Place) -> None:
    start(place, place.good[0])
    place.serve_wrong()
    fails(place, place.wrong, "differently than training did", "quarantined")
    with pytest.raises(ModelQuarantinedError, match=f"slipway models release taxi/{place.wrong}`"):
        start(place, place.wrong)
    slipway("models", "release", f"taxi/{place.wrong}", "--why", "another image was served")
    last = place.store.history("taxi")[-1]
    assert (last.action, last.version, last.why) == ("release", place.wrong, "another image was served")
    fails(place, place.wrong, "differently than training did", "quarantined")
