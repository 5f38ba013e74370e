"""`slipway gate`: tests of the promotion gate."""

from __future__ import annotations

from dataclasses import asdict

import typer

from cli import options
from cli.output import echo, print_json, print_table

app = typer.Typer(no_args_is_help=True)


@app.command()
def selftest(as_json: options.Json = False) -> None:
    """Send good, bad and odd models through the real gate, and check each verdict."""
    options.silence_tensorflow()
    # It imports kfp, which the help has no need of.
    from components.evaluate_model.selftest import require_all, run_selftest

    results = run_selftest()
    if as_json:
        print_json([asdict(result) for result in results])
    else:
        rows = [[one.name, one.expected, one.got, "passed" if one.passed else "failed", one.reason] for one in results]
        print_table(["case", "expected", "verdict", "test", "reason"], rows)
        echo(f"{sum(one.passed for one in results)} of {len(results)} cases have the expected verdict")
    require_all(results)
