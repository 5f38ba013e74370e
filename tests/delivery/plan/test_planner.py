"""Plans of real repositories where nothing can be looked up: the base counts as deployed."""

from pathlib import Path

import pytest

from delivery.plan.fingerprints import Place
from slipway.errors import DeliveryError, ModuleError
from slipway.stores.module_store import digest_module
from tests.delivery.plan.project import (
    CONFIG,
    FILES,
    IMAGE,
    LOCK,
    MODEL,
    NEW_MODEL,
    PIPELINE,
    REQUIRED,
    ZEROS,
    Project,
    done,
    why,
)

EVERY = ["taxi", "wine"]


@pytest.mark.parametrize("path", ["README.md", "tests/test_it.py", "docs/page.md", ".github/workflows/ci.yaml"])
def test_plan_change_of_neither_does_nothing(project: Project, path: str) -> None:
    project.commit({path: "changed\n"})
    plan = project.plan()
    assert plan.is_empty
    assert plan.commands == []


@pytest.mark.parametrize("path", [MODEL, "modules/taxi/metrics.py"])
def test_plan_module_change_syncs_and_submits_that_module_only(project: Project, path: str) -> None:
    project.commit({path: "changed = True\n"})
    plan = project.plan()
    assert done(plan) == (False, ["taxi"], ["taxi"])
    assert [reason.paths for reason in plan.reasons if reason.action == "sync"] == [[path]]


VIEW = "features/driver/daily.sql"
JOINS = "ingestion: {event_time: at}\nfeatures: [{view: driver/daily, columns: [trips]}]\n"


def test_plan_change_of_a_shared_feature_syncs_and_submits_the_modules_that_join_it(project: Project) -> None:
    project.commit({VIEW: "SELECT 1\n", "modules/taxi/module.yaml": CONFIG + JOINS})
    project.commit({VIEW: "SELECT 2\n", "features/driver/other.sql": "SELECT 3\n"})
    plan = project.plan()
    assert done(plan) == (False, ["taxi"], ["taxi"])
    assert {tuple(reason.paths) for reason in plan.reasons if reason.action != "none"} == {(VIEW,)}
    assert {tuple(reason.paths) for reason in plan.reasons if reason.action == "none"} == {()}
    for name, text in (("taxi", CONFIG + JOINS), ("wine", CONFIG)):
        assert (project.folder / f"modules/{name}/module.yaml").read_text() == text
        assert plan.module_digests[name] == digest_module(project.folder / "modules" / name)


def test_plan_module_that_joins_a_feature_which_is_not_in_git_is_refused(project: Project) -> None:
    project.commit({"modules/taxi/module.yaml": CONFIG + JOINS})
    project.write(VIEW, "SELECT 1\n")
    with pytest.raises(ModuleError, match=rf"{VIEW}, which is not in Git"):
        project.plan()


@pytest.mark.parametrize("path", [IMAGE, PIPELINE, "Dockerfile", "nobody/knows.this"])
def test_plan_image_change_builds_and_submits_every_module(project: Project, path: str) -> None:
    project.commit({path: "changed\n"})
    plan = project.plan()
    assert done(plan) == (True, [], EVERY)
    assert next(reason.paths for reason in plan.reasons if reason.action == "build") == [path]


def test_plan_commit_that_touches_both_has_one_build_and_one_run_per_module(project: Project) -> None:
    project.commit({IMAGE: "changed\n", MODEL: "changed = True\n"})
    plan = project.plan()
    assert done(plan) == (True, ["taxi"], EVERY)
    assert sum(command.startswith("docker build") for command in plan.commands) == 1
    assert sum(command.startswith("slipway submit taxi") for command in plan.commands) == 1


def test_plan_several_commits_of_one_push_are_one_plan(project: Project) -> None:
    base = project.git("rev-parse", "HEAD")
    project.commit({IMAGE: "changed\n"})
    project.commit({MODEL: "changed = True\n"})
    project.commit({IMAGE: FILES[IMAGE]})
    assert done(project.plan(base)) == (False, ["taxi"], ["taxi"])


def test_plan_of_an_older_head_leaves_later_commits_out(project: Project) -> None:
    older = project.commit({MODEL: "changed = True\n"})
    project.commit({IMAGE: "changed\n"})
    plan = project.plan(head=older)
    assert plan.head == older
    assert done(plan) == (False, ["taxi"], ["taxi"])


@pytest.mark.parametrize(
    ("path", "staging", "production"),
    [
        ("settings/base.yaml", True, True),
        ("settings/staging.yaml", True, False),
        ("settings/production.yaml", False, True),
    ],
)
def test_plan_settings_concern_their_environment_only(
    project: Project, path: str, staging: bool, production: bool
) -> None:
    project.commit({path: "home: elsewhere\n"})
    for environment, concerned in (("staging", staging), ("production", production)):
        plan = project.plan(place=Place(environment, environment))
        assert done(plan) == (False, [], EVERY if concerned else [])


@pytest.mark.parametrize(
    ("path", "overlays"),
    [
        ("manifests/base/deployment.yaml", ["staging", "production"]),
        ("manifests/overlays/staging/kustomization.yaml", ["staging"]),
        ("manifests/overlays/production/new.yaml", ["production"]),
    ],
)
def test_plan_manifests_concern_the_overlays_that_use_them(project: Project, path: str, overlays: list[str]) -> None:
    project.commit({path: "kind: Changed\n"})
    for environment in ("staging", "production"):
        plan = project.plan(place=Place(environment, environment))
        assert plan.manifests == ([f"manifests/overlays/{environment}"] if environment in overlays else [])
        assert done(plan) == (False, [], [])
    assert project.plan(place=Place("staging")).is_empty, "without an overlay nothing is rolled out"


@pytest.mark.parametrize(
    ("folder", "variant"),
    [
        ("manifests/mlflow", "<sqlite|postgresql>"),
        ("manifests/monitor-account", "staging"),
        ("manifests/pipeline-account", "staging"),
        ("manifests/rollout-access", "staging"),
    ],
)
def test_plan_rights_in_the_cluster_are_for_an_administrator(project: Project, folder: str, variant: str) -> None:
    project.commit({f"{folder}/staging/role.yaml": "kind: ClusterRole\n"})
    plan = project.plan()
    assert plan.is_empty
    told = [warning for warning in plan.warnings if "kubectl apply" in warning]
    assert [f"kubectl apply -k {folder}/{variant}" in warning for warning in told] == [True]


@pytest.mark.parametrize("base", [ZEROS, "f" * 40])
def test_plan_new_branch_or_lost_base_counts_everything_as_changed(project: Project, base: str) -> None:
    project.commit({"README.md": "changed\n"})
    plan = project.plan(base)
    assert plan.base is None
    assert done(plan) == (True, EVERY, EVERY)
    assert plan.manifests == ["manifests/overlays/staging"]
    assert f"{base} is not here: a new branch, a force push or a shallow clone" in plan.warnings[0]


def test_plan_first_commit_has_nothing_before_it(project: Project) -> None:
    plan = project.plan()
    assert done(plan) == (True, EVERY, EVERY)
    assert "the first commit has none before it" in plan.warnings[0]


def test_plan_shallow_clone_counts_everything_as_changed(project: Project, tmp_path: Path) -> None:
    base = project.git("rev-parse", "HEAD")
    project.commit({"README.md": "changed\n"})
    project.git("clone", "--quiet", "--depth=1", f"file://{project.folder}", str(tmp_path / "clone"))
    project.repository = type(project.repository)(tmp_path / "clone")
    assert done(project.plan(base)) == (True, EVERY, EVERY)


def test_plan_force_push_compares_content_with_the_branch_that_was(project: Project) -> None:
    project.git("checkout", "--quiet", "-b", "old")
    old = project.commit({IMAGE: "old\n", MODEL: "same = True\n"})
    project.git("checkout", "--quiet", "main")
    project.commit({MODEL: "same = True\n", "modules/wine/model.py": "changed = True\n"})
    plan = project.plan(old)
    assert done(plan) == (True, ["wine"], EVERY)


def test_plan_merge_has_what_the_branch_brought(project: Project) -> None:
    project.git("checkout", "--quiet", "-b", "topic")
    project.commit({MODEL: "changed = True\n"})
    project.git("checkout", "--quiet", "main")
    base = project.commit({"README.md": "changed\n"})
    project.git("merge", "--quiet", "--no-ff", "--no-edit", "topic")
    assert done(project.plan(base)) == (False, ["taxi"], ["taxi"])
    assert done(project.plan()) == (False, ["taxi"], ["taxi"])


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (MODEL, "modules/wine/extra.py", (False, EVERY, EVERY)),
        (MODEL, "modules/taxi/models.py", (False, ["taxi"], ["taxi"])),
        (IMAGE, "docs/storage.py", (True, [], EVERY)),
        ("README.md", "modules/taxi/README.md", (False, ["taxi"], ["taxi"])),
        (MODEL, "slipway/model.py", (True, ["taxi"], EVERY)),
    ],
)
def test_plan_rename_is_a_change_on_both_sides(
    project: Project, old: str, new: str, expected: tuple[bool, list[str], list[str]]
) -> None:
    (project.folder / new).parent.mkdir(parents=True, exist_ok=True)
    project.git("mv", old, new)
    project.commit()
    assert done(project.plan()) == expected


def test_plan_renamed_module_is_a_new_one_and_a_removed_one(project: Project) -> None:
    project.git("mv", "modules/taxi", "modules/cab")
    project.commit()
    plan = project.plan()
    assert done(plan) == (False, ["cab"], ["cab"])
    assert why(plan, "module taxi").startswith("is no longer in Git: nothing to sync or submit")


def test_plan_deleted_module_is_said_and_nothing_is_done(project: Project) -> None:
    project.git("rm", "-r", "--quiet", "modules/wine")
    project.commit()
    plan = project.plan()
    assert plan.is_empty
    assert list(plan.module_digests) == ["taxi"]
    assert "is no longer in Git" in why(plan, "module wine")


def test_plan_new_module_is_synced_and_submitted(project: Project) -> None:
    project.commit({"modules/iris/module.yaml": CONFIG, "modules/iris/model.py": "x = 1\n"})
    assert done(project.plan()) == (False, ["iris"], ["iris"])


def test_plan_caches_in_a_module_change_nothing(project: Project) -> None:
    project.commit({"modules/taxi/.ipynb_checkpoints/model.py": "x", "modules/taxi/.DS_Store": "x"})
    assert project.plan().is_empty


def test_plan_module_that_cannot_be_published_is_refused(project: Project) -> None:
    (project.folder / "modules/taxi/data").symlink_to("/etc")
    project.commit()
    with pytest.raises(ModuleError, match="symbolic link"):
        project.plan()


def test_plan_module_that_could_not_be_published_at_the_base_is_new(project: Project) -> None:
    link = project.folder / "modules/taxi/data"
    link.symlink_to("/etc")
    project.commit()
    link.unlink()
    project.commit()
    assert done(project.plan()) == (False, ["taxi"], ["taxi"])


def test_plan_module_of_the_same_bytes_is_the_same_whatever_its_modes(project: Project) -> None:
    (project.folder / MODEL).chmod(0o755)
    project.commit()
    assert project.plan().is_empty


def test_plan_uncommitted_changes_are_told_and_not_planned(project: Project) -> None:
    project.commit()
    project.write(IMAGE, "changed\n")
    project.write("modules/taxi/new.py", "x = 1\n")
    project.write("README.md", "changed\n")
    project.write("plan.json", "{}")
    plan = project.plan()
    assert plan.is_empty
    assert plan.warnings[0] == f"not committed, so not planned: {IMAGE}, modules/taxi/new.py"


def test_plan_unknown_head_is_an_error(project: Project) -> None:
    with pytest.raises(DeliveryError, match="no commit 'v9'"):
        project.plan(head="v9")


def test_plan_without_look_ups_says_so(project: Project) -> None:
    project.commit()
    assert any("nothing was looked up" in warning for warning in project.plan().warnings)
    assert "registry.example/team/slipway" in project.plan().image_reference


def test_plan_of_a_lock_builds_the_layer_and_submits_that_module_only(project: Project) -> None:
    project.commit(REQUIRED)
    project.commit()
    assert project.plan().is_empty
    locked = str(REQUIRED[LOCK])
    project.commit({LOCK: locked.replace("sha256:0", "sha256:1")})
    plan = project.plan()
    assert (plan.layers, done(plan)) == (["taxi"], (False, ["taxi"], ["taxi"]))
    [reason] = [reason for reason in plan.reasons if reason.action == "build"]
    assert (reason.subject, reason.paths) == ("image taxi", [LOCK])
    assert reason.why.startswith("the requirements changed since ")
    assert plan.commands.index("slipway module image taxi --env staging") < plan.commands.index(
        "slipway submit taxi --target kubeflow --env staging"
    )


def test_plan_of_code_or_of_a_comment_in_the_lock_builds_nothing(project: Project) -> None:
    project.commit(REQUIRED)
    for path, text in ((MODEL, NEW_MODEL), (LOCK, f"# A comment.\n{REQUIRED[LOCK]}")):
        project.commit({path: text})
        plan = project.plan()
        assert (plan.layers, done(plan)) == ([], (False, ["taxi"], ["taxi"]))


def test_plan_of_another_image_builds_the_layers_on_it(project: Project) -> None:
    project.commit(REQUIRED)
    project.commit({IMAGE: "changed\n"})
    plan = project.plan()
    assert (plan.layers, done(plan)) == (["taxi"], (True, [], EVERY))
    assert why(plan, "image taxi").startswith("the image changed since ")


def test_plan_of_requirements_that_are_taken_out_builds_nothing(project: Project) -> None:
    project.commit(REQUIRED)
    project.commit({LOCK: None, "modules/taxi/module.yaml": CONFIG})
    plan = project.plan()
    assert (plan.layers, plan.requirements, done(plan)) == ([], {}, (False, ["taxi"], ["taxi"]))
