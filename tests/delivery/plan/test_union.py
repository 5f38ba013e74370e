"""A plan is the union of the plans of its paths, in whatever order they come."""

from collections.abc import Iterable
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from delivery.plan.fingerprints import Place
from delivery.plan.planner import Plan, plan_revision
from delivery.plan.tree import Entry, Repository, Tree
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
WHAT = ("image", "modules", "pipelines", "manifests", "schedules")


class TwoCommits(Repository):
    """A repository with `BASE` and one commit after it; the content of a file is the id of its blob."""

    def __init__(self, changed: list[str]) -> None:
        super().__init__(Path())
        entries = BASE.entries | {path: Entry("100644", "2" * 40) for path in changed}
        head = Tree("a" * 40, dict(sorted(entries.items(), key=lambda item: item[0] in changed)))
        self.__dict__["trees"] = {"base": BASE, BASE.revision: BASE, "HEAD": head, head.revision: head}

    def tree(self, revision: str) -> Tree:
        found: Tree = self.__dict__["trees"][revision]
        return found

    def commit(self, revision: str) -> str | None:
        return self.tree(revision).revision

    def uncommitted(self) -> tuple[list[str], list[str]]:
        return [], []

    def contents(self, tree: Tree, paths: Iterable[str]) -> dict[str, bytes]:
        return {path: tree.entries[path].blob.encode() for path in paths}


def plan(paths: list[str], environment: str) -> Plan:
    return plan_revision(TwoCommits(paths), Place(environment, environment), base="base", offline=True)


def what(found: Plan) -> dict[str, set[object]]:
    content = found.model_dump(include=set(WHAT))
    return {key: set(value) if isinstance(value, list) else {value} - {False} for key, value in content.items()}


@settings(deadline=None)
@given(st.lists(st.sampled_from(PATHS), unique=True), st.sampled_from(["staging", "production"]))
def test_plan_of_many_paths_is_the_union_of_the_plans_of_each(paths: list[str], environment: str) -> None:
    union: dict[str, set[object]] = {key: set() for key in WHAT}
    for path in paths:
        for key, found in what(plan([path], environment)).items():
            union[key] |= found
    together = plan(paths, environment)
    assert what(together) == union
    assert plan(paths[::-1], environment) == together
