"""What is seen of the standard error of C++ code."""

import subprocess
import sys

import pytest

NOISE = "import os; from cli.gate import quiet\nwith quiet(): os.write(2, b'no GPU'); "


@pytest.mark.parametrize(
    ("then", "shown"),
    [("pass", []), ("raise ValueError('broken')", ["no GPU", "broken"]), ("os.abort()", ["Aborted"])],
)
def test_standard_error_is_shown_where_something_fails(then: str, shown: list[str]) -> None:
    done = subprocess.run([sys.executable, "-c", NOISE + then], capture_output=True, text=True, check=False)
    assert (done.returncode == 0) == (then == "pass")
    assert all(text in done.stderr for text in shown)
    assert bool(done.stderr) == bool(shown)
