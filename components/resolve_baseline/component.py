"""The step that looks up the production model."""

from typing import NamedTuple

from components import component


@component()
def resolve_baseline(
    model_digest: str,
    store_uri: str,
    module: str,
) -> NamedTuple("Baseline", [("baseline", str)]):  # type: ignore[valid-type]
    """Finds the directory of the production model, empty if there is none. Never cached.

    A candidate, which `model_digest` names, is never compared with itself: if production holds its very bytes, the
    newest other version is the baseline. So a run repeated after its own push has the baseline that it had. A
    quarantined version is none.
    """
    from slipway.stores.model_store import open_store

    store = open_store(store_uri)
    production, stages = store.production(module), store.stages(module)
    others = [version for version in reversed(store.versions(module)) if stages.get(version.number) != "quarantined"]
    for version in [production, *others] if production else []:
        if version.manifest.model_digest != model_digest:
            print(f"The baseline is version {version.number} of {module}: {version.uri}")
            return (version.uri,)
    print(f"{module} has no other version in {store_uri}: there is no baseline")
    return ("",)
