from pathlib import Path

import pytest

from delivery.plan.tree import Repository
from slipway.errors import DeliveryError
from tests.delivery.plan.project import FILES, ZEROS, Project


def test_tree_lists_every_tracked_path_and_no_other(project: Project) -> None:
    project.write("untracked.txt", "x")
    assert set(project.repository.tree("HEAD").entries) == set(FILES)


def test_tree_of_a_folder_of_a_larger_repository_is_relative_to_it(tmp_path: Path) -> None:
    larger = Project(tmp_path / "larger")
    larger.commit({"other/file.py": "1", "ml/slipway/storage.py": "2"})
    larger.write("ml/slipway/storage.py", "3")
    larger.write("other/new.py", "4")
    project = Repository(larger.folder / "ml")
    assert set(project.tree("HEAD").entries) == {"slipway/storage.py"}
    assert project.uncommitted() == (["slipway/storage.py"], [])


def test_tree_of_an_unknown_revision_says_how_to_get_it(project: Project) -> None:
    with pytest.raises(DeliveryError, match=r"no commit 'main2'.*fetch-depth: 0"):
        project.repository.tree("main2")


def test_tree_outside_a_repository_tells_it_in_gits_words(tmp_path: Path) -> None:
    with pytest.raises(DeliveryError, match=r"not a git repository"):
        Repository(tmp_path).tree("HEAD")


def test_tree_of_somebody_elses_checkout_tells_gits_remedy(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # Git's own tests do it so (setup.c)
    with pytest.raises(DeliveryError, match=r"dubious ownership(.|\n)*safe\.directory") as refused:
        project.repository.tree("HEAD")
    assert "no commit" not in str(refused.value)


@pytest.mark.parametrize("revision", [ZEROS, "", "f" * 40, "--all", "no-such-branch", "HEAD^5"])
def test_commit_that_is_none_is_none(project: Project, revision: str) -> None:
    assert project.repository.commit(revision) is None


def test_differing_has_both_names_of_a_renamed_file_and_changed_modes(project: Project) -> None:
    before = project.repository.tree("HEAD")
    project.git("mv", "modules/taxi/model.py", "slipway/model.py")
    (project.folder / "Dockerfile").chmod(0o755)
    project.commit()
    assert project.repository.tree("HEAD").differing(before) == [
        "Dockerfile",
        "modules/taxi/model.py",
        "slipway/model.py",
    ]


def test_contents_are_those_of_a_clean_checkout(project: Project, tmp_path: Path) -> None:
    paths = {"modules/taxi/crlf.txt": "a\nb\n", "modules/taxi/two words é.txt": "x", "modules/taxi/empty": ""}
    project.commit({**paths, ".gitattributes": "crlf.txt text eol=crlf\n"})
    project.git("clone", "--quiet", str(project.folder), str(tmp_path / "clone"))
    wanted = {path: (tmp_path / "clone" / path).read_bytes() for path in paths}
    assert wanted["modules/taxi/crlf.txt"] == b"a\r\nb\r\n"
    assert project.repository.contents(project.repository.tree("HEAD"), paths) == wanted


def test_uncommitted_tells_changed_from_untracked_and_leaves_ignored_out(project: Project) -> None:
    project.commit({".gitignore": "*.log\n"})
    project.write("README.md", "Changed.\n")
    (project.folder / "Dockerfile").unlink()
    project.write("notes/new.txt", "x")
    project.write("run.log", "x")
    assert project.repository.uncommitted() == (["Dockerfile", "README.md"], ["notes/new.txt"])
