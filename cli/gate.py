"""`slipway gate`: the promotion gate, proved."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.output import JsonOption, print_json, print_table

app = typer.Typer(help="The gate between an evaluated model and production.", no_args_is_help=True)


@app.command()
def selftest(as_json: Annotated[bool, JsonOption] = False) -> None:
    """Send good, bad and odd models through the real gate, and check each verdict."""
    import os
    from dataclasses import asdict

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from components.evaluate_model.selftest import require_all, run_selftest

    results = run_selftest()
    if as_json:
        print_json([asdict(result) for result in results])
    else:
        rows = [[one.name, one.expected, one.got, "passed" if one.passed else "failed", one.reason] for one in results]
        print_table(["case", "expected", "verdict", "test", "reason"], rows)
        typer.echo(f"{sum(one.passed for one in results)} of {len(results)} cases judged as they must be")
    require_all(results)
