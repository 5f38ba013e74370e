"""The steps. Each folder has `component.py`, the interface that kfp compiles, and `run.py`, the work."""

from collections.abc import Callable
from functools import partial
from typing import Any, overload

# Of each step that was declared, by name.
_NEEDS_TENSORFLOW: dict[str, bool] = {}


@overload
def component(function: Callable[..., Any]) -> Any: ...


@overload
def component(*, tensorflow: bool) -> Callable[[Callable[..., Any]], Any]: ...


def component(function: Callable[..., Any] | None = None, *, tensorflow: bool = False) -> Any:
    """Makes a thin kfp component of a function, whose body imports the work and calls it.

    It runs unchanged as a local process, in a Kubeflow pod and on Vertex. The image holds kfp and the work already;
    which image that is, the pipeline says when it is compiled.

    Args:
        function: The interface of the step.
        tensorflow: Whether the step imports TensorFlow; the local target then imports it beforehand.
    """
    from kfp import dsl

    if function is None:
        return partial(component, tensorflow=tensorflow)
    _NEEDS_TENSORFLOW[function.__name__] = tensorflow
    return dsl.component(function, base_image="slipway-python", install_kfp_package=False)


def needs_tensorflow(step: str) -> bool:
    """Whether a step was declared to import TensorFlow."""
    return _NEEDS_TENSORFLOW.get(step, False)


def step_names() -> list[str]:
    """Names of all steps of the pipelines that were imported."""
    return list(_NEEDS_TENSORFLOW)
