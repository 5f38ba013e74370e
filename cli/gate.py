"""`slipway gate`: tests of the promotion gate."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

import typer

from cli import options
from cli.output import echo, print_json, print_table

app = typer.Typer(no_args_is_help=True)


@app.command()
def selftest(as_json: options.Json = False) -> None:
    """Evaluate good, bad and broken models with the real gate, and check each verdict."""
    options.silence_tensorflow()
    with _quiet():
        # It imports kfp, which the help does not need.
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
def _quiet() -> Iterator[None]:
    """Discards standard error: TensorFlow's C++ code writes to it at any log level."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
