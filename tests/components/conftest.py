from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.shapes import Artifacts, make_transformed
from tests.shared_folders import shared_folder


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Artifacts:
    """Examples of shapes, transformed; the module's tests may add to the folder."""
    folder = shared_folder(tmp_path_factory, "shapes", make_transformed)
    return Artifacts(Path(shutil.copytree(folder, tmp_path_factory.mktemp("copy") / "shapes")))
