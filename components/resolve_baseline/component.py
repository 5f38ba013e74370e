"""The step that looks up the production model."""

from typing import NamedTuple

from components import component


@component()
def resolve_baseline(
    model_digest: str,
    store_uri: str,
    module: str,
) -> NamedTuple("Baseline", [("baseline", str), ("served", dict[str, str])]):  # type: ignore[valid-type]
    """Finds the production model, empty if there is none, and the versions that served before it. Never cached.

    A candidate, which `model_digest` names, is never compared with itself: if production holds its very bytes, the
    newest other version is the baseline. So a run repeated after its own push has the baseline that it had. A
    quarantined version is none. `served` has the other of the last five that served: `version 3` to its directory,
    which is empty if its files were deleted.
    """
    from slipway.stores.model_store import open_store, served_last

    store = open_store(store_uri)
    production, stages = store.production(module), store.stages(module)
    others = [version for version in reversed(store.versions(module)) if stages.get(version.number) != "quarantined"]
    for version in [production, *others] if production else []:
        if version.manifest.model_digest != model_digest:
            there = {known.number: known.uri for known in others}
            before = [
                number for number in served_last(store.history(module), model_digest, 5) if number != version.number
            ]
            print(f"The baseline is version {version.number} of {module}: {version.uri}")
            print(f"Served before: {', '.join(map(str, before)) or 'no other version'}")
            return version.uri, {f"version {number}": there.get(number, "") for number in before}
    print(f"{module} has no other version in {store_uri}: there is no baseline")
    return "", {}
