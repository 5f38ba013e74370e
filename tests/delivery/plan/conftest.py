import shutil
from pathlib import Path

import pytest

from tests.delivery.plan.project import FILES, Project


@pytest.fixture(scope="session")
def _committed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("committed") / "project"
    Project(folder).commit(dict(FILES))
    return folder


@pytest.fixture
def project(_committed: Path, tmp_path: Path) -> Project:
    """One commit with a path of each class, and two modules."""
    return Project(shutil.copytree(_committed, tmp_path / "project"))
