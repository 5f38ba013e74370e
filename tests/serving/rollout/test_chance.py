"""How often a canary is failed by chance, of 10,000 draws, and a worse one is found, of 1,000; all of fixed seeds."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest

from serving.rollout.chance import answers_needed, chance
from serving.rollout.policy import RolloutPolicy
from serving.rollout.traffic import Reading, compare, faults
from tests.fakes.kubernetes.model_server import BOUNDS

POLICY = RolloutPolicy()
LEVEL = 0.0005


@dataclass(frozen=True)
class Version:
    """How a version answers: latencies are lognormal around 3 ms, and some stall twenty-fold."""

    errors: float = 0.0
    mistakes: float = 0.0
    times: float = 1.0
    sigma: float = 0.5
    stalls: float = 0.0

    def draw(self, rng: np.random.Generator, requests: int, draws: int) -> list[Reading]:
        statuses = rng.multinomial(requests, [1 - self.errors - self.mistakes, self.errors, self.mistakes], draws)
        buckets = np.diff([0.0, *(self._below(bound) for bound in BOUNDS), 1.0])
        latencies = rng.multinomial(statuses[:, 0], buckets).cumsum(axis=1)
        return [
            Reading(
                Counter(dict(zip(("OK", "UNAVAILABLE", "INVALID_ARGUMENT"), counts, strict=True))),
                Counter(dict(zip([*BOUNDS, math.inf], at_most, strict=True))),
            )
            for counts, at_most in zip(statuses.tolist(), latencies.tolist(), strict=True)
        ]

    def _below(self, microseconds: float) -> float:
        def lognormal(median: float) -> float:
            return 0.5 * math.erfc(-math.log(microseconds / median) / self.sigma / math.sqrt(2))

        usual = 3000.0 * self.times
        return (1 - self.stalls) * lognormal(usual) + self.stalls * lognormal(20 * usual)


def failed(canary: Version, stable: Version, *, answers: int = 1000, of_stable: int = 1000, draws: int) -> float:
    """Share of the rollouts in which the canary is failed."""
    rng = np.random.default_rng(20_260_731)
    pairs = zip(canary.draw(rng, answers, draws), stable.draw(rng, of_stable, draws), strict=True)
    return sum(bool(faults(one, other, POLICY)) for one, other in pairs) / draws


@pytest.mark.parametrize(
    "version",
    [
        Version(),
        pytest.param(Version(errors=0.01), marks=pytest.mark.slow),
        pytest.param(Version(errors=0.05), marks=pytest.mark.slow),
        pytest.param(Version(stalls=0.01), marks=pytest.mark.slow),
        Version(errors=0.05, mistakes=0.05, stalls=0.01),
        pytest.param(Version(sigma=1.5), marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_faults_equal_versions_are_failed_in_one_of_a_thousand_at_most(version: Version) -> None:
    assert failed(version, version, draws=10_000) <= 0.001


@pytest.mark.parametrize(
    ("canary", "stable"),
    [
        (Version(errors=0.05), Version(errors=0.01)),
        (Version(errors=0.05, mistakes=0.02, stalls=0.01), Version(errors=0.01, mistakes=0.02, stalls=0.01)),
        (Version(times=3), Version()),
        (Version(times=3, sigma=0.05), Version(sigma=0.05)),
        (Version(times=3, sigma=1.5), Version(sigma=1.5)),
        (Version(times=3, stalls=0.01, errors=0.05), Version(stalls=0.01, errors=0.05)),
        (Version(stalls=0.05), Version()),
    ],
    ids=str,
)
def test_faults_worse_version_is_found(canary: Version, stable: Version) -> None:
    assert failed(canary, stable, draws=1000) >= 0.95


@pytest.mark.parametrize("canary", [Version(times=1.5), Version(times=1.5, sigma=1.5), Version(errors=0.005)], ids=str)
def test_faults_version_that_is_worse_by_less_than_is_allowed_is_not_failed(canary: Version) -> None:
    stable = Version(sigma=canary.sigma)
    assert failed(canary, stable, answers=10_000, of_stable=90_000, draws=1000) <= 0.001


def test_compare_equal_versions_looked_at_again_and_again_are_never_failed() -> None:
    waiting = POLICY.model_copy(update={"min_requests": 10_000})
    rng = np.random.default_rng(7)
    for canary, stable in rng.binomial(20, 0.1, (1000, 2, 60)).cumsum(axis=2).tolist():
        for look, (one, other) in enumerate(zip(canary, stable, strict=True), start=1):
            readings = [Reading(Counter({"OK": 20 * look - bad, "INTERNAL": bad})) for bad in (one, other)]
            assert compare(readings[0], readings[1], waiting).verdict == "inconclusive"


def test_chance_is_the_share_of_the_draws_that_are_as_bad() -> None:
    for bad, of, other_bad, other_of in [
        (3, 5, 1, 6),
        (5, 5, 0, 5),
        (2, 10, 0, 3),
        (40, 90, 9, 70),
        (11, 1000, 0, 1000),
    ]:
        both, answers = bad + other_bad, of + other_of
        ways = sum(math.comb(both, k) * math.comb(answers - both, of - k) for k in range(bad, min(both, of) + 1))
        assert chance(bad, of, other_bad, other_of) == pytest.approx(float(Fraction(ways, math.comb(answers, of))))


@pytest.mark.parametrize("counts", [(1, 10, 1, 10), (0, 10, 1, 10), (0, 0, 5, 10), (5, 10, 0, 0), (0, 0, 0, 0)])
def test_chance_of_a_share_that_is_not_higher_is_one(counts: tuple[int, int, int, int]) -> None:
    assert chance(*counts) == 1


def test_chance_of_millions_of_answers() -> None:
    assert chance(500_000, 10_000_000, 400_000, 10_000_000) == 0
    by_normal = 0.5 * math.erfc(4000 / math.sqrt(2 * 2 * 10_000_000 * 0.05 * 0.95) / math.sqrt(1))
    assert chance(502_000, 10_000_000, 498_000, 10_000_000) == pytest.approx(by_normal, rel=0.01)


@pytest.mark.parametrize(
    ("share", "rise", "ratio"), [(0.01, 0.01, 1.0), (0.01, 0.04, 9.0), (0.3, 0.1, 0.5), (0.0, 0.02, 1)]
)
def test_answers_needed_find_the_difference_in_about_95_of_100_comparisons(
    share: float, rise: float, ratio: float
) -> None:
    needed = math.ceil(answers_needed(share + rise, share, ratio, LEVEL))
    rng = np.random.default_rng(3)

    def found(answers: int) -> float:
        pairs = zip(
            rng.binomial(answers, share + rise, 2000).tolist(),
            rng.binomial(round(ratio * answers), share, 2000).tolist(),
            strict=True,
        )
        return sum(chance(one, answers, other, round(ratio * answers)) <= LEVEL for one, other in pairs) / 2000

    assert found(needed) >= 0.92  # it is an approximation
    assert found(needed // 2) < 0.9


def test_answers_needed_for_no_difference_are_without_end() -> None:
    assert answers_needed(0.1, 0.1, 1.0, LEVEL) == math.inf
