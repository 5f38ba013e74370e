"""Plans of many modules: what is asked of Git and of the bucket is told by counts, not by seconds."""

import threading
from collections.abc import Sequence
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from delivery.plan import existing, fingerprints, planner
from delivery.plan.tree import Repository
from tests.delivery.plan.project import FILES, STAGING, ZEROS, Project


def many(count: int) -> dict[str, str | None]:
    parts = {path.rpartition("/")[2]: text for path, text in FILES.items() if path.startswith("modules/taxi/")}
    return {f"modules/m{number}/{part}": text for number in range(count) for part, text in parts.items()}


def test_plan_of_many_modules_starts_no_more_processes_and_looks_at_each_path_no_more_often(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[str] = []
    looks: list[str] = []
    run, module_of = Repository._run, fingerprints.module_of

    def counted(self: Repository, arguments: list[str], request: bytes | None = None) -> CompletedProcess[bytes]:
        commands.append(arguments[0])
        return run(self, arguments, request)

    def looked(path: str) -> str | None:
        looks.append(path)
        return module_of(path)

    monkeypatch.setattr(Repository, "_run", counted)
    for place in (fingerprints, planner):
        monkeypatch.setattr(place, "module_of", looked)

    def cost(base: str | None) -> tuple[Sequence[str], float]:
        commands.clear()
        looks.clear()
        plan = project.plan(base)
        assert plan.modules or plan.is_empty
        return list(commands), max(looks.count(path) for path in looks)

    project.commit()
    costs = [cost(None), cost(ZEROS)]
    project.commit(many(12))
    project.commit()
    assert [cost(None), cost(ZEROS)] == costs


def test_modules_are_looked_up_several_at_once(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = threading.Barrier(2, timeout=30)

    def is_published(*_: object) -> bool:
        both.wait()
        return True

    monkeypatch.setattr(existing, "is_published", is_published)
    assert project.plan(place=STAGING, home=str(tmp_path / "home")).modules == []
