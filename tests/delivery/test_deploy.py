"""Deployments of a real repository to a place that keeps a diary; `docker` is a script, the registry a fake."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from delivery.deploy import Deployer, sync_module
from delivery.deployments import read_latest
from delivery.environment import Environment
from delivery.plan.fingerprints import Place, layer_tag
from delivery.plan.planner import Plan
from delivery.registry import ImageRegistry
from delivery.schedules import apply
from delivery.targets.base import RemoteRun
from settings.schema import Delivery, Kubeflow, Schedule, Settings
from slipway.errors import ConfigError, DeliveryError, TargetError
from slipway.stores.module_store import PublishedModule
from tests.delivery.plan.project import FILES, IMAGE, LOCK, MODEL, NEW_MODEL, REQUIRED, STAGING, Project
from tests.delivery.targets.places import on_kubeflow
from tests.delivery.targets.submissions import recurring
from tests.fakes.docker import write_docker
from tests.fakes.image_registry import FakeRegistry
from tests.fakes.kubeflow import FakeKubeflow


@dataclass(frozen=True)
class DiaryDeployer(Deployer):
    """Writes down what is done; `fails` holds the entries that cannot be made."""

    entries: list[str] = field(default_factory=list)
    fails: list[str] = field(default_factory=list)

    def _sync(self, module: str) -> tuple[PublishedModule, bool]:
        self._write(f"sync {module}")
        settings = self.environment.settings
        return sync_module(settings.modules / module, f"{settings.remote_home}/modules")

    def _submit(self, module: str, environment: Environment) -> RemoteRun:
        self._write(f"submit {module} {_images(environment)}")
        return RemoteRun(f"{module}-1", f"{module}-1", "pending", "https://kubeflow/run")

    def _apply_overlay(self, environment: Environment) -> None:
        self._write(f"overlay {_images(environment)}")

    def _apply_schedules(self, environment: Environment) -> None:
        self._write(f"schedules {_images(environment)}")

    def _write(self, entry: str) -> None:
        if any(entry.startswith(start) for start in self.fails):
            raise TargetError(f"no {entry} today")
        self.entries.append(entry)


def _images(environment: Environment) -> str:
    return " ".join(image[-6:] for image in (environment.settings.image, environment.settings.gpu_image) if image)


@dataclass
class World:
    project: Project
    registry: FakeRegistry
    environment: Environment
    docker_log: Path
    place: Place = STAGING
    said: list[str] = field(default_factory=list)
    entries: list[str] = field(default_factory=list)
    fails: list[str] = field(default_factory=list)

    @property
    def home(self) -> str:
        return self.environment.settings.remote_home

    def plan(self) -> Plan:
        return self.project.plan(place=self.place, registry=ImageRegistry(self.registry.repository), home=self.home)

    def deploy(self, plan: Plan | None = None) -> None:
        self.deployer(plan or self.plan()).deploy()

    def deployer(self, plan: Plan, **changes: Any) -> Deployer:
        settings = self.environment.settings.model_copy(update=changes)
        environment = replace(self.environment, settings=settings)
        return DiaryDeployer(environment, plan, self.said.append, entries=self.entries, fails=self.fails)

    @property
    def docker(self) -> list[str]:
        return self.docker_log.read_text().splitlines() if self.docker_log.exists() else []


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Nothing is deployed yet."""
    project = Project(tmp_path / "project")
    project.commit(dict(FILES))
    log, programs, home = tmp_path / "docker.log", tmp_path / "bin", tmp_path / "home"
    write_docker(programs, log)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.chdir(project.folder)
    with FakeRegistry() as registry:
        settings = Settings(
            remote_home=str(home),
            modules=project.folder / "modules",
            delivery=Delivery(image_repository=registry.repository),
        )
        yield World(project, registry, Environment("staging", settings), log)


def test_deploy_renews_recurring_runs_after_an_upgrade_of_the_target(world: World) -> None:
    world.deploy()
    with FakeKubeflow(version="2.16.1") as kubeflow:
        apply([recurring("kubeflow")], on_kubeflow(kubeflow).schedules, lambda action: None)
        changes: dict[str, Any] = {
            "kubeflow": Kubeflow(endpoint=kubeflow.url),
            "schedules": {"nightly": Schedule(module="taxi", cron="@daily")},
        }
        world.entries.clear()
        world.deployer(world.plan(), **changes).deploy()
        assert world.entries == []
        kubeflow.version = "2.17.0"
        world.deployer(world.plan(), **changes).deploy()
    assert [entry.split()[0] for entry in world.entries] == ["schedules"]
    assert world.entries[0].split()[1] in next(iter(world.registry.tags.values()))


def test_deploy_does_everything_once_and_in_order(world: World) -> None:
    plan = world.plan()
    world.deploy(plan)
    [digest] = world.registry.tags.values()
    short = digest[-6:]
    assert world.entries == [
        "sync taxi",
        "sync wine",
        f"submit taxi {short}",
        f"submit wine {short}",
        f"overlay {short}",
        f"schedules {short}",
    ]
    reference = f"{world.registry.repository}:{plan.image_tag}"
    assert world.docker == [
        f"build --platform linux/amd64 --tag {reference} --build-arg GIT_REVISION={plan.head} .",
        f"push {reference}",
    ]
    assert world.plan().is_empty


def test_deploy_the_same_plan_again_does_nothing_twice(world: World) -> None:
    plan = world.plan()
    world.deploy(plan)
    before = [entry for entry in world.entries if entry.startswith("submit")]
    world.deploy(plan)
    assert [entry for entry in world.entries if entry.startswith("submit")] == before
    assert len(world.docker) == 2
    assert "submit taxi: already done: taxi-1 https://kubeflow/run" in world.said


def test_deploy_empty_plan_says_what_is_skipped_and_why(world: World) -> None:
    world.deploy()
    world.project.commit({"README.md": "changed\n"})
    world.said.clear()
    world.entries.clear()
    world.deploy()
    assert world.entries == []
    assert "image: skipped: nothing needs it" in world.said
    assert any(
        line.startswith("pipeline taxi: skipped: unchanged since it was submitted in staging at") for line in world.said
    )


def test_deploy_plan_is_overtaken_by_a_later_commit_that_was_deployed_and_by_no_other(world: World) -> None:
    world.deploy()
    first = world.project.commit({MODEL: NEW_MODEL})
    early = world.plan()
    assert world.deployer(early).overtaken_by() is None
    second = world.project.commit({MODEL: NEW_MODEL + "# newer\n"})
    late = world.plan()
    world.deploy(late)
    world.project.git("checkout", "--quiet", first)
    assert world.deployer(early).overtaken_by() == second
    assert world.deployer(late).overtaken_by() is None


def test_deploy_module_change_uses_the_image_that_is_there(world: World) -> None:
    world.deploy()
    world.project.commit({MODEL: NEW_MODEL})
    world.entries.clear()
    world.deploy()
    assert [entry.split()[0] for entry in world.entries] == ["sync", "submit", "schedules"]
    assert len(world.docker) == 2


@pytest.mark.parametrize(
    ("fails", "missing"),
    [
        ("sync wine", ["sync wine", "submit taxi", "submit wine", "overlay", "schedules"]),
        ("submit taxi", ["submit taxi", "submit wine", "overlay", "schedules"]),
        ("submit wine", ["submit wine", "overlay", "schedules"]),
        ("overlay", ["overlay", "schedules"]),
    ],
)
def test_deploy_that_failed_is_completed_by_the_next_push(world: World, fails: str, missing: list[str]) -> None:
    world.fails.append(fails)
    with pytest.raises(DeliveryError, match=f"{fails.split()[0]}.* failed.*no {fails}"):
        world.deploy()
    world.fails.clear()
    world.entries.clear()
    world.project.commit({"README.md": "changed\n"})
    world.deploy()
    done = world.entries
    assert len(done) == len(missing)
    assert all(entry.startswith(wanted) for entry, wanted in zip(done, missing, strict=True))
    assert world.plan().is_empty


def test_deploy_build_that_fails_names_the_command_and_does_nothing_more(world: World) -> None:
    (world.docker_log.parent / "bin" / "docker").write_text("#!/bin/sh\nexit 7\n")
    with pytest.raises(DeliveryError, match=r"image failed, .*`docker build --platform .*` ended with 7"):
        world.deploy()
    assert world.entries == []
    assert read_latest(world.home, "staging") == {}


def test_deploy_image_that_the_registry_does_not_have_after_the_push_is_an_error(world: World) -> None:
    (world.docker_log.parent / "bin" / "docker").write_text("#!/bin/sh\nexit 0\n")
    with pytest.raises(DeliveryError, match="registry does not have it"):
        world.deploy()


def test_deploy_image_that_vanished_is_built_though_the_plan_did_not_know(world: World) -> None:
    world.deploy()
    world.project.commit({MODEL: NEW_MODEL})
    plan = world.plan()
    assert not plan.image
    world.registry.tags.clear()
    world.deploy(plan)
    assert len(world.docker) == 4


def test_deploy_of_another_commit_than_the_planned_one_is_refused(world: World) -> None:
    plan = world.plan()
    world.project.commit({"README.md": "changed\n"})
    with pytest.raises(DeliveryError, match=f"{plan.head}.*{world.project.git('rev-parse', 'HEAD')}"):
        world.deploy(plan)


@pytest.mark.parametrize("path", [IMAGE, "modules/taxi/new.py"])
def test_deploy_of_what_is_not_committed_is_refused(world: World, path: str) -> None:
    world.project.write(path, "x = 1\n")
    with pytest.raises(DeliveryError, match=f"not committed: {path}"):
        world.deploy()


def test_deploy_files_that_nothing_copies_do_not_matter(world: World) -> None:
    world.project.write("plan.json", "{}")
    world.project.write("README.md", "changed\n")
    world.deploy()


def test_deploy_module_with_files_that_git_ignores_is_refused(world: World) -> None:
    world.project.commit({".gitignore": "*.csv\n"})
    world.project.write("modules/taxi/rows.csv", "1\n")
    with pytest.raises(DeliveryError, match=r"modules/taxi .*Git ignores"):
        world.deploy()


def test_deploy_without_remote_home_names_the_setting(world: World) -> None:
    plan = world.plan()
    with pytest.raises(ConfigError, match=r"remote_home.*gs://BUCKET/slipway"):
        world.deployer(plan, remote_home="").deploy()


def test_deploy_without_the_builder_says_so(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    deployer = world.deployer(world.plan())
    git = world.docker_log.parent / "only-git"
    git.mkdir()
    (git / "git").symlink_to("/usr/bin/git")
    monkeypatch.setenv("PATH", str(git))
    with pytest.raises(DeliveryError, match=r"docker .*delivery\.builder"):
        deployer.deploy()


def test_deploy_builds_the_layer_of_a_module_once_and_on_the_image(world: World) -> None:
    world.deploy()
    world.project.commit(REQUIRED)
    plan = world.plan()
    world.deploy(plan)
    image = world.environment.registry.digest(plan.image_tag) if world.environment.registry else None
    assert image
    reference = f"{world.registry.repository}:{layer_tag(image, plan.requirements['taxi'])}"
    build = f"build --platform linux/amd64 --tag {reference} --build-arg BASE={image} ."
    assert world.docker[-2:] == [build, f"push {reference}"]
    layer = f"{world.registry.repository}@{world.registry.tags[reference.rpartition(':')[2]]}"
    recorded = read_latest(world.home, "staging")
    assert (recorded["module-taxi"].image, recorded["module-wine"].image) == (layer, image)
    assert world.plan().is_empty
    built = len(world.docker)
    world.project.commit({MODEL: NEW_MODEL})
    world.said.clear()
    world.deploy()
    assert len(world.docker) == built
    assert [line for line in world.said if line.startswith("image taxi: already there")]
    assert not [line for line in world.said if line.startswith("image wine")]


def test_deploy_of_changed_requirements_concerns_that_module_only(world: World) -> None:
    world.project.commit(REQUIRED)
    world.deploy()
    world.entries.clear()
    world.project.commit({LOCK: str(REQUIRED[LOCK]).replace("sha256:0", "sha256:1")})
    world.deploy()
    assert [entry.rpartition(" ")[0] or entry for entry in world.entries] == ["sync", "submit taxi", "schedules"]
    assert len([line for line in world.docker if "BASE=" in line]) == 2


def test_deploy_layer_that_cannot_be_built_starts_no_run(world: World) -> None:
    world.project.commit({path: text for path, text in REQUIRED.items() if not path.startswith("modules/")})
    world.deploy()
    world.entries.clear()
    world.project.commit(REQUIRED)
    (world.docker_log.parent / "bin" / "docker").write_text("#!/bin/sh\nexit 9\n")
    with pytest.raises(DeliveryError, match=r"image taxi failed, .*BASE=.* ended with 9"):
        world.deploy()
    assert world.entries == []


def test_deploy_builds_the_image_of_accelerators_where_a_step_asks_for_one(world: World) -> None:
    world.deploy()
    world.entries.clear()
    world.project.commit(REQUIRED)
    world.place = replace(STAGING, accelerators={"train_model": "1 nvidia.com/gpu"})
    plan = world.plan()
    world.deploy(plan)
    reference = f"{world.registry.repository}:{plan.gpu_image_tag}"
    arguments = f"--build-arg GIT_REVISION={plan.head} --build-arg ACCELERATOR=gpu"
    builds = [line for line in world.docker if line.startswith("build")]
    assert f"build --platform linux/amd64 --tag {reference} {arguments} ." in builds
    images = [f"{world.registry.repository}@{world.registry.tags[tag]}" for tag in (plan.image_tag, plan.gpu_image_tag)]
    assert [line for line in builds if "BASE=" in line] == [
        f"build --platform linux/amd64 --tag {world.registry.repository}:{layer_tag(image, plan.requirements['taxi'])} "
        f"--build-arg BASE={image} ."
        for image in images
    ]
    short = " ".join(image[-6:] for image in images)
    assert f"submit wine {short}" in world.entries
    assert f"schedules {short}" in world.entries
    assert world.plan().is_empty
    world.registry.tags.pop(plan.gpu_image_tag)
    again = world.plan()
    assert (again.image, again.gpu_image, again.layers) == (False, True, ["taxi"])
