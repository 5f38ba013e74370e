"""Plans where everything can be looked up: what is there decides, and what failed is taken up again."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from delivery.deployments import MANIFESTS, Deployment, module_unit, record
from delivery.plan.fingerprints import Builder, layer_tag
from delivery.plan.planner import Plan
from delivery.registry import ImageRegistry
from slipway.errors import DeliveryError
from slipway.stores.module_store import publish_module
from tests.delivery.plan.project import FILES, IMAGE, MODEL, REQUIRED, STAGING, Project, done, why

REPOSITORY = "registry.example/team/slipway"


class Registry(ImageRegistry):
    """Images by tag; each has the same digest."""

    def __init__(self) -> None:
        super().__init__(REPOSITORY)
        self.tags: set[str] = set()

    def digest(self, tag: str) -> str | None:
        return f"{REPOSITORY}@sha256:{'1' * 64}" if tag in self.tags else None


class Staging:
    """Staging, and what is there; `deploy` stands in for a deployment that did what the plan says, or part of it."""

    def __init__(self, project: Project, home: str) -> None:
        self.project, self.home, self.registry, self.place = project, home, Registry(), STAGING

    def plan(self, base: str | None = None) -> Plan:
        return self.project.plan(base, place=self.place, registry=self.registry, home=self.home)

    def deploy(self, *, fails_before: str = "") -> Plan:
        plan = self.plan()
        steps = ["image", *(f"sync {name}" for name in plan.modules), *(f"submit {name}" for name in plan.pipelines)]
        for step in [*steps, *(["apply"] if plan.manifests else [])]:
            if step == fails_before:
                break
            self._take(plan, *step.split())
        return plan

    def _take(self, plan: Plan, step: str, module: str = "") -> None:
        if step == "image":
            self.registry.tags |= {plan.image_tag, plan.gpu_image_tag}
        elif step == "sync":
            publish_module(self.project.folder / "modules" / module, f"{self.home}/modules")
        elif step == "submit":
            self._record(module_unit(module, plan.pipeline), plan, plan.run_key(module))
        else:
            self._record(MANIFESTS, plan, plan.overlay_key())

    def _record(self, unit: str, plan: Plan, key: dict[str, str]) -> None:
        made = Deployment(
            unit=unit, environment="staging", key=key, revision=plan.head, finished=datetime.now(UTC), run="r"
        )
        record(self.home, made)


@pytest.fixture
def staging(project: Project, tmp_path: Path) -> Staging:
    """Everything of the first commit is deployed."""
    staging = Staging(project, str(tmp_path / "home"))
    staging.deploy()
    return staging


def test_plan_where_nothing_was_ever_deployed_does_everything(project: Project, tmp_path: Path) -> None:
    project.commit({"README.md": "changed\n"})
    plan = Staging(project, str(tmp_path / "home")).plan()
    assert done(plan) == (True, ["taxi", "wine"], ["taxi", "wine"])
    assert plan.manifests == ["manifests/overlays/staging"]
    assert why(plan, "pipeline taxi") == "was never submitted in staging"


def test_plan_of_what_is_deployed_does_nothing_whatever_the_base(staging: Staging) -> None:
    for base in (None, "0" * 40, "f" * 40):
        plan = staging.plan(base)
        assert plan.is_empty
        assert plan.image_digest.startswith(f"{REPOSITORY}@sha256:")


@pytest.mark.parametrize(
    ("fails_before", "expected"),
    [
        ("image", (True, ["taxi"], ["taxi", "wine"])),
        ("sync taxi", (False, ["taxi"], ["taxi", "wine"])),
        ("submit taxi", (False, [], ["taxi", "wine"])),
        ("submit wine", (False, [], ["wine"])),
    ],
)
def test_plan_after_a_failed_deployment_takes_up_what_is_missing(
    staging: Staging, fails_before: str, expected: tuple[bool, list[str], list[str]]
) -> None:
    staging.project.commit({IMAGE: "changed\n", MODEL: "changed = True\n"})
    staging.deploy(fails_before=fails_before)
    staging.project.commit({"README.md": "Nothing to deploy.\n"})
    assert done(staging.plan()) == expected
    staging.deploy()
    assert staging.plan().is_empty


def test_plan_overlay_that_was_not_applied_is_applied_by_the_next_push(staging: Staging) -> None:
    staging.project.commit({"manifests/base/deployment.yaml": "kind: Changed\n"})
    staging.deploy(fails_before="apply")
    staging.project.commit({"README.md": "changed\n"})
    plan = staging.plan()
    assert plan.manifests == ["manifests/overlays/staging"]
    assert why(plan, "overlay manifests/overlays/staging").startswith("changed since it was applied in staging at")


def test_plan_says_what_changed_since_the_last_run(staging: Staging) -> None:
    staging.project.commit({MODEL: "changed = True\n", "settings/staging.yaml": "home: x\n"})
    found = why(staging.plan(), "pipeline taxi")
    assert found.startswith("the module and the settings changed since it was submitted in staging at ")


def test_plan_reverted_change_is_submitted_again_and_nothing_is_built_or_synced(staging: Staging) -> None:
    staging.project.commit({IMAGE: "changed\n", MODEL: "changed = True\n"})
    staging.deploy()
    staging.project.commit({IMAGE: FILES[IMAGE], MODEL: FILES[MODEL]})
    assert done(staging.plan()) == (False, [], ["taxi", "wine"])


def test_plan_image_that_vanished_from_the_registry_is_built_again(staging: Staging) -> None:
    staging.registry.tags.clear()
    plan = staging.plan()
    assert done(plan) == (True, [], [])
    assert why(plan, "image").startswith("the registry has no image")


def test_plan_module_that_was_damaged_in_the_store_is_synced_again(staging: Staging) -> None:
    published = next(Path(staging.home, "modules", "taxi").glob("*/model.py"))
    published.write_text("tampered = True\n")
    assert done(staging.plan())[1] == ["taxi"]


def test_plan_look_up_that_fails_is_an_error_that_names_offline(staging: Staging) -> None:
    def fail(tag: str) -> str | None:
        raise DeliveryError("the registry does not answer")

    staging.registry.digest = fail  # type: ignore[method-assign]
    with pytest.raises(DeliveryError, match=r"does not answer\n.*slipway plan --offline"):
        staging.plan()


def test_plan_without_a_repository_takes_the_image_from_the_base_and_looks_the_rest_up(staging: Staging) -> None:
    staging.project.commit({IMAGE: "changed\n", MODEL: "changed = True\n"})
    changed = staging.project.plan(home=staging.home)
    assert done(changed) == (True, ["taxi"], ["taxi", "wine"])
    staging.project.commit({"README.md": "changed\n"})
    after = staging.project.plan(home=staging.home)
    assert done(after) == (False, ["taxi"], ["taxi", "wine"]), "the base has that image; nothing was synced"
    assert any("images were not looked up" in warning for warning in after.warnings)


def test_plan_without_a_home_takes_modules_and_runs_from_the_base_and_asks_the_registry(staging: Staging) -> None:
    staging.registry.tags.clear()
    staging.project.commit({MODEL: "changed = True\n"})
    plan = staging.project.plan(registry=staging.registry)
    assert done(plan) == (True, ["taxi"], ["taxi"])
    assert why(plan, "image").startswith("the registry has no image")
    assert any("remote_home" in warning for warning in plan.warnings)


def test_plan_asks_the_registry_for_the_layer_on_the_image_that_is_there(staging: Staging) -> None:
    staging.project.commit(REQUIRED)
    plan = staging.plan()
    assert (plan.image, plan.layers) == (True, ["taxi"])
    assert "below it" in why(plan, "image taxi")
    staging.deploy()
    plan = staging.plan()
    assert (plan.image, plan.layers, plan.modules) == (False, ["taxi"], [])
    assert why(plan, "image taxi").startswith("the registry has no image")
    staging.registry.tags.add(layer_tag(plan.image_digest, plan.requirements["taxi"]))
    assert staging.plan().is_empty


def test_plan_shows_a_change_of_accelerator_and_builds_its_image(staging: Staging) -> None:
    assert not any(reason.subject == "gpu-image" for reason in staging.plan().reasons)
    staging.project.commit({"settings/staging.yaml": "home: x\n"})
    staging.place = replace(STAGING, accelerators={"train_model": "1 nvidia.com/gpu"})
    plan = staging.plan()
    assert (plan.image, plan.gpu_image, plan.pipelines) == (False, True, ["taxi", "wine"])
    assert plan.gpu_image_tag != plan.image_tag
    assert why(plan, "gpu-image").startswith(f"the registry has no image {plan.gpu_image_tag[:12]}")
    assert why(plan, "pipeline taxi").startswith("the settings and the GPU image and the accelerators changed since")
    [build] = [line for line in plan.commands if " build " in line]
    assert f"--tag {plan.gpu_image_reference} " in build
    assert "--build-arg ACCELERATOR=gpu" in build
    assert f"SLIPWAY_IMAGE={plan.image_digest}" in plan.commands
    assert any(line.startswith(f"SLIPWAY_GPU_IMAGE={REPOSITORY}@$(") for line in plan.commands)
    staging.deploy()
    assert staging.plan().is_empty
    staging.place = replace(STAGING, accelerators={"train_model": "2 nvidia.com/gpu"})
    plan = staging.plan()
    assert (plan.gpu_image, plan.pipelines) == (False, ["taxi", "wine"])
    assert why(plan, "pipeline taxi").startswith("the accelerators changed since")


def test_plan_keeps_the_cache_of_each_image_apart() -> None:
    options = ("--push", "--cache-from=type=registry,ref=r/cache", "--cache-to=type=registry,ref=r/cache,mode=max")
    builder = Builder(options=options, arguments={"A": "b"}).for_gpus
    assert builder.options == (
        "--push",
        "--cache-from=type=registry,ref=r/cache-gpu",
        "--cache-to=type=registry,ref=r/cache-gpu,mode=max",
    )
    assert builder.arguments == {"A": "b", "ACCELERATOR": "gpu"}
