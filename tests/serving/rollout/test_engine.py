"""A rollout from start to end against the fake API server, with the rights of the runner's Role."""

from tests.fakes.kubernetes.world import World


def test_start_first_version_is_promoted_after_its_golden_requests(world: World) -> None:
    first = world.versions[0]
    world.start(first)
    assert world.stable == first
    assert world.store.stage("taxi", first) == "stable"
    assert world.deployment("taxi-serving-canary") is None
    assert any("golden requests: 2 rows on 1 pods" in line for line in world.said)


def test_start_next_version_is_compared_with_stable_and_promoted(world: World) -> None:
    first, second, _ = world.versions
    world.start(first)
    world.start(second)
    assert world.stable == second
    assert (world.store.stage("taxi", first), world.store.stage("taxi", second)) == ("retired", "stable")
    why = world.store.history("taxi")[-1].why
    assert "share of errors 0.00%" in why
    assert "p99" in why
