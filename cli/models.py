"""`slipway models`: the versions in the model store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.output import JsonOption, local_time, print_json, print_table

if TYPE_CHECKING:
    from slipway.model_store import ModelStore, Version

app = typer.Typer(help="List and show pushed models.", no_args_is_help=True)


@app.command("list")
def list_(
    model: Annotated[str | None, typer.Argument(help="Name of a model; all by default.")] = None,
    as_json: Annotated[bool, JsonOption] = False,
) -> None:
    """List all versions, newest first; the one in production is marked."""
    from slipway.errors import StoreError
    from slipway.pages.numbers import format_number

    store = open_local_store()
    names = store.models()
    if model is not None and model not in names:
        raise StoreError(f"there is no model {model!r} in the store; models: {', '.join(names) or 'none'}")
    versions = [
        (version, version == store.production(name))
        for name in names
        if model in (None, name)
        for version in reversed(store.versions(name))
    ]
    if as_json:
        print_json([_as_json(version, in_production) for version, in_production in versions])
    elif not versions:
        typer.echo("The model store is empty; `slipway run` pushes a model when it passes its gate.")
    else:
        rows = [
            [
                version.model,
                str(version.number),
                "production" if in_production else "",
                local_time(version.manifest.created),
                ", ".join(
                    f"{name} {format_number(value)}" for name, value in list(version.manifest.metrics.items())[:3]
                ),
                version.manifest.lineage.run,
            ]
            for version, in_production in versions
        ]
        print_table(["model", "version", "", "pushed", "metrics", "run"], rows)


@app.command()
def show(
    version: Annotated[
        str, typer.Argument(help="A version, VERSION or MODEL/VERSION; or a model, for its production.")
    ],
    as_json: Annotated[bool, JsonOption] = False,
) -> None:
    """Show one version: where it came from, its metrics and its files."""
    from slipway.pages.numbers import format_number
    from slipway.runs.explain import find_version

    store = open_local_store()
    found = (store.production(version) if version in store.models() else None) or find_version(store, version)
    if as_json:
        print_json(_as_json(found, found == store.production(found.model)))
        return
    manifest, lineage = found.manifest, found.manifest.lineage
    facts = {
        "model": found.model,
        "version": str(found.number),
        "path": found.uri,
        "pushed": local_time(manifest.created),
        "run": lineage.run,
        "data": lineage.data_uri,
        "data digest": manifest.data_digest,
        "module": f"{lineage.module} {lineage.module_digest}",
        "git": lineage.git_revision,
        "image": lineage.image,
        "baseline": str(manifest.baseline_version or "none"),
        "model digest": manifest.model_digest,
        "files": f"{len(manifest.files)}, {sum(file.size for file in manifest.files):,} bytes",
        "metrics": ", ".join(f"{name} {format_number(value)}" for name, value in manifest.metrics.items()),
    }
    for name, value in facts.items():
        typer.echo(f"{typer.style(f'{name:<13}', dim=True)} {value}".rstrip())
    for reason in manifest.reasons:
        typer.echo(f"{'':<13} - {reason}")


def open_local_store() -> ModelStore:
    """The model store of the home that the settings name."""
    from settings.load import load_settings
    from slipway.model_store import open_store

    return open_store(str(load_settings().home / "models"))


def _as_json(version: Version, in_production: bool) -> dict[str, Any]:
    return {"path": version.uri, "production": in_production, **version.manifest.model_dump(mode="json")}
