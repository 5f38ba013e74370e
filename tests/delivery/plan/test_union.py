"""A plan is the union of the plans of its paths, in whatever order they come."""

from hypothesis import given, settings
from hypothesis import strategies as st

from delivery.plan import Place, Plan, Scope
from delivery.plan.existing import Existing
from delivery.plan.fingerprints import Fingerprints
from delivery.plan.planner import make_plan
from delivery.plan.tree import Entry, Tree
from tests.delivery.plan.project import FILES

PATHS = [
    *FILES,
    "modules/taxi/README.md",
    "modules/taxi/.hidden",
    "modules/loose.py",
    "nobody/knows.this",
    "image/settings/base.yaml",
]
BASE = Tree("b" * 40, {path: Entry("100644", "1" * 40) for path in PATHS})
PRINTS = Fingerprints("tag", {"taxi": {}, "wine": {}}, "settings", "manifests")
WHAT = ("image", "modules", "pipelines", "manifests", "schedules")


def plan(paths: list[str], environment: str) -> Plan:
    entries = BASE.entries | {path: Entry("100644", "2" * 40) for path in paths}
    head = Tree("a" * 40, dict(sorted(entries.items(), key=lambda item: item[0] in paths)))
    return make_plan(Place(Scope(environment, environment)), head, BASE, PRINTS, Existing())


def what(found: Plan) -> dict[str, set[object]]:
    content = found.model_dump(include=set(WHAT))
    return {key: set(value) if isinstance(value, list) else {value} - {False} for key, value in content.items()}


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(PATHS), unique=True), st.sampled_from(["staging", "production"]))
def test_plan_of_many_paths_is_the_union_of_the_plans_of_each(paths: list[str], environment: str) -> None:
    union: dict[str, set[object]] = {key: set() for key in WHAT}
    for path in paths:
        for key, found in what(plan([path], environment)).items():
            union[key] |= found
    together = plan(paths, environment)
    assert what(together) == union
    assert plan(paths[::-1], environment) == together
