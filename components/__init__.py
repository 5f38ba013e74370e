"""The steps. `component.py` of each folder holds the function that kfp compiles; a long step's work lies beside it."""

from collections.abc import Callable
from typing import Any

# Of each step that was declared, by name.
_NEEDS_TENSORFLOW: dict[str, bool] = {}


def component(*, tensorflow: bool = False) -> Callable[[Callable[..., Any]], Any]:
    """Makes a kfp component of a function, which imports in its body whatever it needs.

    It runs unchanged as a local process, in a Kubeflow pod and on Vertex. The image holds kfp and the work already;
    which image that is, the pipeline says when it is compiled.

    Args:
        tensorflow: Whether the step imports TensorFlow; the local target then imports it beforehand.
    """
    from kfp import dsl
    from kfp.dsl.component_factory import EXECUTOR_MODULE

    def declare(function: Callable[..., Any]) -> Any:
        _NEEDS_TENSORFLOW[function.__name__] = tensorflow
        made = dsl.component(function, base_image="slipway-python", install_kfp_package=False)
        container = made.component_spec.implementation.container
        # kfp.local looks for the name of its own executor.
        ours = f"components.executor {EXECUTOR_MODULE}"
        container.command = [part.replace(EXECUTOR_MODULE, ours) for part in container.command]
        return made

    return declare


def needs_tensorflow(step: str) -> bool:
    """Whether a step was declared to import TensorFlow."""
    return _NEEDS_TENSORFLOW.get(step, False)


def step_names() -> list[str]:
    """Names of all steps of the pipelines that were imported."""
    return list(_NEEDS_TENSORFLOW)
