"""The steps. Each folder has `component.py`, the interface that kfp compiles, and `run.py`, the work."""

from collections.abc import Callable
from typing import Any

from kfp import dsl


def component(function: Callable[..., Any]) -> Any:
    """Makes a thin kfp component of a function, whose body imports the work and calls it.

    It runs unchanged as a local process, in a Kubeflow pod and on Vertex. The image holds kfp and the work already;
    which image that is, the pipeline says when it is compiled.
    """
    return dsl.component(function, base_image="slipway-python", install_kfp_package=False)
