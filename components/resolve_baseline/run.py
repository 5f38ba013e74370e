"""Finds the production model that a candidate is compared with."""

from slipway.stores.model_store import digest_model, open_store


def resolve(model_path: str, store_uri: str, module: str) -> str:
    """The directory of the production version, if its bytes are not the candidate's; else of the newest other version.

    So a candidate is never compared with itself, and a run repeated after its own push has the baseline that it had.
    A quarantined version is no baseline. Empty if there is none.
    """
    candidate = digest_model(model_path)
    store = open_store(store_uri)
    production, stages = store.production(module), store.stages(module)
    others = [version for version in reversed(store.versions(module)) if stages.get(version.number) != "quarantined"]
    for version in [production, *others] if production else []:
        if version.manifest.model_digest != candidate:
            print(f"The baseline is version {version.number} of {module}: {version.uri}")
            return version.uri
    print(f"{module} has no other version in {store_uri}: there is no baseline")
    return ""
