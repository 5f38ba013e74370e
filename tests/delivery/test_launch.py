import subprocess
from pathlib import Path

import pytest

from delivery.launch import git_revision
from tests.delivery.plan.project import Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = Project(tmp_path / "project")
    project.commit({"README.md": "A project.\n"})
    return project


def test_git_revision_is_the_commit_and_says_of_changes(project: Project) -> None:
    commit = project.git("rev-parse", "HEAD")
    assert git_revision(project.folder) == commit
    project.write("README.md", "changed\n")
    assert git_revision(project.folder) == f"{commit}-dirty"


def test_git_revision_outside_a_repository_is_unknown_without_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert git_revision(tmp_path) == "unknown"
    assert caplog.text == ""


def test_git_revision_of_somebody_elses_checkout_warns_with_gits_remedy(
    project: Project, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # Git's own tests do it so (setup.c)
    assert git_revision(project.folder) == "unknown"
    assert str(project.folder) in caplog.text
    assert "safe.directory" in caplog.text


def test_git_revision_of_a_repository_without_commits_warns(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    assert git_revision(tmp_path) == "unknown"
    assert "recorded as unknown" in caplog.text
