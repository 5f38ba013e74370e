"""Interface of the step that looks up the production model."""

from kfp import dsl

from components import component


@component
def resolve_baseline(model: dsl.Input[dsl.Model], store_uri: str, module: str) -> str:
    """Finds the model that now counts as production. Never cached.

    A candidate is never compared with itself: if production holds the very bytes of the candidate, the version before
    it is the baseline.

    Args:
        model: The candidate.
        store_uri: The model store.
        module: Name of the module, and so of the model.

    Returns:
        URI of the version's directory; empty if there is none.
    """
    from components.resolve_baseline.run import resolve

    return resolve(model.path, store_uri, module)
