from pathlib import Path

import pytest

from tests.tiny_module import write_module


@pytest.fixture
def module(tmp_path: Path) -> Path:
    return write_module(tmp_path / "modules" / "tiny")
