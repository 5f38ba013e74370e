"""What a command means by "now" is the moment when it was typed."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

WAITS_FIRST = "import time; time.sleep(0.5); from cli.options import TYPED; print(TYPED)"


def test_typed_is_when_the_process_began_though_it_waited_before_its_imports() -> None:
    before = time.time()
    process = subprocess.Popen([sys.executable, "-c", WAITS_FIRST], stdout=subprocess.PIPE, text=True)
    begun = time.time()
    typed = float(process.communicate()[0])
    assert process.returncode == 0
    assert before - 0.001 <= typed <= begun + 0.1


def test_typed_where_the_system_does_not_tell_is_at_most_the_time_of_the_imports_late(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("cli.options.start_time", lambda pid: None)
    from cli.options import _began

    assert time.time() - time.process_time() - 1 <= _began() <= time.time()
