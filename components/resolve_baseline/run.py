"""Finds the production model that a candidate is compared with."""

from slipway.model_store import digest_model, open_store


def resolve(model_path: str, store_uri: str, module: str) -> str:
    """The directory of the newest version whose bytes are not the candidate's; empty if there is none.

    So a candidate is never compared with itself, and a run repeated after its own push has the baseline that it had.
    """
    candidate = digest_model(model_path)
    for version in reversed(open_store(store_uri).versions(module)):
        if version.manifest.model_digest != candidate:
            print(f"The baseline is version {version.number} of {module}: {version.uri}")
            return version.uri
    print(f"{module} has no other version in {store_uri}: there is no baseline")
    return ""
