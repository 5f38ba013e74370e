"""The four plans that everybody reads first, whole; `golden/` holds what they must be.

After a wanted change: `python -m tests.delivery.plan.test_golden` writes the golden files anew.
"""

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.delivery.plan.project import FILES, IMAGE, Project

GOLDEN = Path(__file__).parent / "golden"
CASES: dict[str, dict[str, str | None]] = {
    "nothing": {"README.md": "changed\n"},
    "module": {"modules/taxi/model.py": "changed = True\n"},
    "image": {IMAGE: "changed\n"},
    "both": {"modules/taxi/model.py": "changed = True\n", IMAGE: "changed\n"},
}


def planned(case: str, folder: Path) -> dict[str, Any]:
    project = Project(folder)
    project.commit(dict(FILES))
    project.commit(CASES[case])
    return project.plan().model_dump(mode="json")


@pytest.mark.parametrize("case", CASES)
def test_plan_equals_the_golden_one(case: str, tmp_path: Path) -> None:
    assert planned(case, tmp_path / "project") == json.loads((GOLDEN / f"{case}.json").read_text())


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for case in CASES:
        with tempfile.TemporaryDirectory() as scratch:
            content = planned(case, Path(scratch) / "project")
        (GOLDEN / f"{case}.json").write_text(json.dumps(content, indent=2) + "\n")
