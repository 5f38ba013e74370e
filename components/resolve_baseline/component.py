"""Interface of the step that looks up the production model."""

from typing import NamedTuple

from kfp import dsl

from components import component


@component
def resolve_baseline(
    model: dsl.Input[dsl.Model],
    store_uri: str,
    module: str,
) -> NamedTuple("Baseline", [("baseline", str)]):  # type: ignore[valid-type]
    """Finds the production model, empty if there is none. Never cached.

    A candidate is never compared with itself: if production holds the very bytes of the candidate, the version before
    it is the baseline.
    """
    from components.resolve_baseline.run import resolve

    return (resolve(model.path, store_uri, module),)
