import shutil
from pathlib import Path

import pytest

from delivery.plan.fingerprints import Builder, Fingerprints, Place, fingerprint, layer_tag, read_modules
from slipway.errors import ModuleError
from slipway.stores.module_store import publish_module
from tests.delivery.plan.project import IMAGE, PIPELINE, Project


def prints(project: Project, *, environment: str = "staging", **arguments: str) -> Fingerprints:
    tree = project.repository.tree("HEAD")
    modules = read_modules(project.repository, tree)
    return fingerprint(tree, modules, Place(environment, environment, builder=Builder(arguments=arguments)))


def test_modules_have_the_digests_that_publishing_a_clean_checkout_gives(project: Project, tmp_path: Path) -> None:
    project.commit(
        {
            "modules/taxi/parts/layers.py": "x = 1\n",
            "modules/taxi/parts-2.py": "x = 2\n",
            "modules/taxi/README.md": "Read me.\n",
            "modules/taxi/.hidden": "x",
            "modules/taxi/notes.txt": "a\nb\n",
            ".gitattributes": "*.txt text eol=crlf\n",
        }
    )
    (project.folder / "modules/taxi/model.py").chmod(0o755)
    project.commit()
    project.git("clone", "--quiet", str(project.folder), str(tmp_path / "clone"))
    published = publish_module(tmp_path / "clone" / "modules" / "taxi", tmp_path / "store")
    assert prints(project).module_digests["taxi"] == published.digest


def test_modules_are_the_folders_with_a_module_yaml(project: Project) -> None:
    project.commit({"modules/__init__.py": "", "modules/drafts/idea.py": "", "modules/wine/sub/module.yaml": ""})
    assert list(prints(project).module_digests) == ["taxi", "wine"]


def test_module_with_a_symbolic_link_is_refused(project: Project) -> None:
    (project.folder / "modules/taxi/data.csv").symlink_to("/etc/passwd")
    project.commit()
    with pytest.raises(ModuleError, match=r"modules/taxi/data\.csv is a symbolic link"):
        prints(project)


def test_module_with_a_submodule_is_refused(project: Project, tmp_path: Path) -> None:
    other = Project(tmp_path / "other")
    other.commit({"a.py": ""})
    shutil.copytree(other.folder, project.folder / "modules/taxi/other")
    project.commit()
    with pytest.raises(ModuleError, match="modules/taxi/other is a submodule"):
        prints(project)


def test_module_that_is_too_large_is_refused_and_names_the_file(project: Project) -> None:
    project.commit({"modules/taxi/rows.csv": "1" * 10_000_001})
    with pytest.raises(ModuleError, match=r"10,000,000 bytes at most.*rows\.csv has 10,000,001 bytes"):
        prints(project)


@pytest.mark.parametrize("path", [IMAGE, PIPELINE, "Dockerfile", "unknown.bin"])
def test_image_tag_changes_with_what_is_in_the_image(project: Project, path: str) -> None:
    before = prints(project)
    project.commit({path: "changed\n"})
    after = prints(project)
    assert after.image_tag != before.image_tag
    assert after == before.model_copy(update={"image_tag": after.image_tag})


@pytest.mark.parametrize("path", ["modules/taxi/model.py", "README.md", "settings/base.yaml", "tests/test_it.py"])
def test_image_tag_stays_when_something_else_changes(project: Project, path: str) -> None:
    before = prints(project)
    project.commit({path: "contract: 1\n"})
    assert prints(project).image_tag == before.image_tag


def test_image_tag_depends_on_build_arguments_and_modes_and_not_on_history(project: Project) -> None:
    before = prints(project)
    assert prints(project, ACCELERATOR="gpu").image_tag != before.image_tag
    (project.folder / IMAGE).chmod(0o755)
    project.commit()
    assert prints(project).image_tag != before.image_tag
    (project.folder / IMAGE).chmod(0o644)
    project.commit()
    assert prints(project) == before


def test_settings_and_manifests_of_another_environment_change_nothing(project: Project) -> None:
    before = prints(project)
    project.commit(
        {
            "settings/production.yaml": "home: x\n",
            "manifests/overlays/production/kustomization.yaml": "resources: []\n",
            "manifests/monitor-account/staging/role.yaml": "kind: ClusterRole\n",
            "manifests/pipeline-account/staging/role.yaml": "kind: ClusterRole\n",
            "manifests/rollout-access/staging/role.yaml": "kind: ClusterRole\n",
        }
    )
    assert prints(project) == before
    assert prints(project, environment="production") != before


def test_layer_is_built_without_the_options_that_write_the_images_cache() -> None:
    options = ("--cache-from=a", "--cache-to=b", "--cache-to", "c", "--load")
    command = Builder(arguments={"ACCELERATOR": "gpu"}, options=options).layer_commands("r:t", "r@sha256:1")[0]
    given = ["--platform", "linux/amd64", "--tag", "r:t", "--build-arg", "BASE=r@sha256:1"]
    assert command == ["docker", "build", *given, "--cache-from=a", "--load", "."]


def test_layers_are_named_by_the_digest_of_the_image_and_by_what_is_locked() -> None:
    digest = f"@sha256:{'1' * 64}"
    assert layer_tag(f"a{digest}", "x") == layer_tag(f"b{digest}", "x")
    assert len({layer_tag(f"a{digest}", "x"), layer_tag(f"a{digest}", "y"), layer_tag(f"a{digest[:-1]}2", "x")}) == 3
