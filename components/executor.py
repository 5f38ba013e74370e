"""Runs a step by kfp's executor, before whose name it stands in a step's command; leaves behind why the step failed."""

import argparse
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager

from kfp.dsl.executor_main import executor_main

from slipway.limits import limit_tensorflow
from slipway.runs.failures import folder_of_step, forget_failure, tell_pod, write_failure


def main() -> None:
    """Takes the arguments of kfp's executor."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--function_to_execute")
    parser.add_argument("--executor_input")
    step, _ = parser.parse_known_args()
    folder = folder_of_step(step.executor_input)
    limit_tensorflow(step.function_to_execute)
    try:
        executor_main()
    except Exception as error:
        with _attempted():
            tell_pod(error)
        with _attempted():
            write_failure(folder, step.function_to_execute, error)
        raise
    if _is_chief():
        with _attempted():
            forget_failure(folder)


def _is_chief() -> bool:
    """Whether this is the replica of a custom job of Vertex whose outputs count, or no such job; as kfp has it."""
    task = json.loads(os.environ.get("CLUSTER_SPEC") or "{}").get("task", {})
    return task.get("type", "workerpool0") in ("workerpool0", "chief", "master")


@contextmanager
def _attempted() -> Iterator[None]:
    """Prints what goes wrong in its block: how the step itself ended matters more."""
    try:
        yield
    except Exception as error:
        print(f"warning: the run's record may not say why this step failed: {type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
