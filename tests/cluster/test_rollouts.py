"""Whole rollouts, and what goes wrong in a cluster: against a real one as against the fake, with the same outcome."""

from __future__ import annotations

import pytest

from slipway.errors import (
    RolledBackError,
    RolloutBusyError,
    RolloutInconclusiveError,
)
from tests.cluster.acts import fails, hold, names, serves, start, status
from tests.cluster.places import Place, Trouble, record, wanted
from tests.fakes.kubernetes.controller import Crash


def test_start_promote_and_roll_back(place: Place) -> None:
    first, second = place.good
    start(place, first)
    assert serves(place) == (first, None)
    with pytest.raises(RolloutInconclusiveError):  # nobody asks it
        start(place, second)
    assert serves(place) == (first, second)
    with place.cluster() as cluster:
        assert place.rollout(cluster).promote("the suite says so").phase == "promoted"
        assert serves(place) == (second, None)
        place.rollout(cluster).rollback("the suite says so")
    assert serves(place) == (first, None)
    assert place.store.stage("taxi", second) == "quarantined"


def test_abort_leaves_no_canary_and_the_version_may_be_started_again(place: Place) -> None:
    first, second = place.good
    start(place, first)
    with pytest.raises(RolloutInconclusiveError):
        start(place, second)
    with place.cluster() as cluster:
        place.rollout(cluster).abort("not today")
    assert serves(place) == (first, None)
    with pytest.raises(RolloutInconclusiveError):
        start(place, second)


def test_start_golden_mismatch_is_quarantined(place: Place) -> None:
    start(place, place.good[0])
    place.serve_wrong()
    fails(place, place.wrong, "differently than training did", "quarantined")


def test_start_broken_saved_model_is_quarantined(place: Place) -> None:
    start(place, place.good[0])
    place.meet(Trouble(lambda _: None, "crash"))
    fails(place, place.broken, "it cannot load the SavedModel", "quarantined")


def crashing(place: Place) -> None:
    for container in wanted(place):
        container["command"] = ["sh", "-c", "exit 139"]


def test_start_server_that_crashes_again_and_again_is_quarantined(place: Place) -> None:
    start(place, place.good[0])
    place.meet(Trouble(crashing, "crash", Crash("", 139)))
    fails(place, place.good[1], "crashed 3 times .*, and pod .* serves another with its image", "quarantined")


def test_history_has_the_account_that_the_cluster_knows_and_what_it_says_of_itself(place: Place) -> None:
    start(place, place.good[0])
    with place.cluster() as cluster:
        account = cluster.identity()
    last = place.store.history("taxi")[-1]
    assert account
    assert (last.who, last.says) == (account, "suite")


def test_next_run_clears_an_undecided_canary_whose_process_died(place: Place) -> None:
    hold(place)
    record(place, phase="canary")
    with pytest.raises(RolloutBusyError, match=f"is canary since .*`slipway rollout start taxi/{place.good[1]}`"):
        start(place, place.broken)  # a person is there to decide
    with place.cluster() as cluster, pytest.raises(RolloutInconclusiveError):
        place.rollout(cluster, once=True, by="run run-2").start(place.wrong)
    assert serves(place) == (place.good[0], place.wrong)
    assert place.store.stage("taxi", place.good[1]) == "retired"
    why = next(one.why for one in place.store.history("taxi") if one.action == "retire")
    assert "ended before it was decided" in why


@pytest.mark.parametrize(
    ("renewed", "expired"), [("2026-01-01T00:00:00.000000Z", True), ("2999-01-01T00:00:00.000000Z", False)]
)
def test_status_tells_a_lease_that_has_expired_from_one_that_is_held(place: Place, renewed: str, expired: bool) -> None:
    start(place, place.good[0])
    with place.cluster() as cluster:
        lease = cluster.get("Lease", "taxi-rollout")
        assert lease
        lease["spec"] |= {"holderIdentity": "run run-1@pod-1", "renewTime": renewed}
        cluster.replace(lease)
    assert status(place)["expired"] is expired


def test_pins_that_nothing_names_any_more_are_deleted(place: Place) -> None:
    first, second = place.good
    hold(place)
    with place.cluster() as cluster:
        place.rollout(cluster).promote("the suite says so")
        assert any(f"-v{first}-" in pin for pin in names(place, "ConfigMap"))  # for `kubectl rollout undo`
        for each in place.find("ReplicaSet"):
            if each["metadata"]["labels"]["app.kubernetes.io/version"] == str(first):
                place.remove("ReplicaSet", each["metadata"]["name"])
        with pytest.raises(RolloutInconclusiveError):
            place.rollout(cluster).start(place.wrong)
        place.rollout(cluster).abort("the suite says so")
    pins = names(place, "ConfigMap")
    assert not any(f"-v{first}-" in pin for pin in pins)
    assert any(f"-v{second}-" in pin for pin in pins)


def test_first_version_that_fails_leaves_nothing(place: Place) -> None:
    place.serve_wrong()
    with pytest.raises(RolledBackError, match="nothing serves"):
        start(place, place.wrong)
    kinds = {each["kind"] for each in place.objects}
    assert {kind: names(place, kind) for kind in kinds} == {kind: [] for kind in kinds}


def test_rollback_where_the_overlay_has_placeholders_serves_what_ran_before(place: Place) -> None:
    first, second = place.good
    hold(place)
    with place.cluster() as cluster:
        place.rollout(cluster).promote("the suite says so")
        for container in wanted(place):
            container["image"] = "tensorflow/serving@sha256:" + "0" * 64
        place.rollout(cluster).rollback("the suite says so")
    assert serves(place) == (first, None)
    assert place.store.stage("taxi", second) == "quarantined"
