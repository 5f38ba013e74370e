"""The command as a user runs it: a process of its own, a home of its own, a copy of the modules."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parent.parent.parent
SLIPWAY = Path(sys.executable).parent / "slipway"


@dataclass(frozen=True)
class Workspace:
    """A home and a folder of modules that a test may change."""

    home: Path
    modules: Path

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "SLIPWAY_HOME": str(self.home), "SLIPWAY_MODULES": str(self.modules)}

    def slipway(self, *arguments: str, code: int = 0, seconds: float = 280) -> subprocess.CompletedProcess[str]:
        """Runs the command and expects an exit code, within the seconds."""
        done = subprocess.run(
            [SLIPWAY, *arguments], env=self.environment, capture_output=True, text=True, check=False, timeout=seconds
        )
        assert done.returncode == code, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def last_run(self) -> dict[str, Any]:
        """What `slipway runs show --json` says."""
        run: dict[str, Any] = json.loads(self.slipway("runs", "show", "--json").stdout)
        return run

    def states(self) -> dict[str, str]:
        """Each step of the last run: its state, `cached` if it was."""
        return {step["name"]: "cached" if step["cached"] else step["state"] for step in self.last_run()["steps"]}


def make_workspace(folder: Path, module: str = "taxi") -> Workspace:
    shutil.copytree(PROJECT / "modules" / module, folder / "modules" / module)
    return Workspace(folder / "home", folder / "modules")
