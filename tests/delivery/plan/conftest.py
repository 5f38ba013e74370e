from pathlib import Path

import pytest

from tests.delivery.plan.project import FILES, Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """One commit with a path of each class, and two modules."""
    project = Project(tmp_path / "project")
    project.commit(dict(FILES))
    return project
