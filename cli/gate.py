"""`slipway gate`: tests of the promotion gate."""

from __future__ import annotations

import faulthandler
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from tempfile import TemporaryFile

import typer

from cli import options
from cli.output import echo, print_json, print_table

app = typer.Typer(no_args_is_help=True)


@app.command()
def selftest(as_json: options.Json = False) -> None:
    """Evaluate good, bad and broken models with the real gate, and check each verdict."""
    options.silence_tensorflow()
    with quiet():
        # It imports kfp and TensorFlow, which the help does not need.
        from components.evaluate_model.selftest import require_all, run_selftest
    results = run_selftest()
    if as_json:
        print_json([asdict(result) for result in results])
    else:
        rows = [[one.name, one.expected, one.got, "passed" if one.passed else "failed", one.reason] for one in results]
        print_table(["case", "expected", "verdict", "test", "reason"], rows)
        echo(f"{sum(one.passed for one in results)} of {len(results)} cases have the expected verdict")
    require_all(results)


@contextmanager
def quiet() -> Iterator[None]:
    """Hides standard error unless the block fails: at its import, TensorFlow writes there at any log level.

    Where its C++ code ends the process, the lines of `faulthandler` say at what.
    """
    sys.stderr.flush()
    with TemporaryFile() as said, os.fdopen(os.dup(2), "wb", buffering=0) as shown:
        os.dup2(said.fileno(), 2)
        faulthandler.enable(shown)
        try:
            yield
        except BaseException:
            said.seek(0)
            shutil.copyfileobj(said, shown)
            raise
        finally:
            faulthandler.disable()
            sys.stderr.flush()
            os.dup2(shown.fileno(), 2)
