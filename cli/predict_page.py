"""`slipway predict-page`: a page on which people get predictions."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from cli import options
from cli.options import MAX_PORT
from cli.output import echo
from delivery.environment import open_environment
from slipway.errors import ConfigError, StoreError
from slipway.stores import storage


def predict_page(
    model: options.Model = options.TAXI,
    address: Annotated[
        str | None, typer.Option(help="REST of a model server, HOST:PORT or a URL; by default serves the store itself.")
    ] = None,
    form: Annotated[Path | None, typer.Option(help="With --address: what --write-form wrote, if it is there.")] = None,
    write_form: Annotated[
        Path | None, typer.Option(help="Write the form of the version in production to a file, and end.")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on; no authentication.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 takes a free one.", min=0, max=MAX_PORT)] = 8602,
    allow_host: Annotated[
        list[str] | None, typer.Option(help="A name that a proxy calls the page by; repeatable.")
    ] = None,
    timeout: Annotated[float, typer.Option(min=0.01, help="Seconds for one request to the model server.")] = 5.0,
    store: options.Store = None,
    env: options.Env = None,
) -> None:
    """Show a page on which people get predictions of a model, of any server that speaks TensorFlow Serving's REST."""
    options.silence_tensorflow()
    if write_form:
        storage.write_text(str(write_form), _form_of_store(model, store, env))
        return
    from serving.predict_page.asking import ServedModel
    from serving.predict_page.form import read_form
    from serving.predict_page.models import OneModel, StoredModels
    from serving.predict_page.site import make_site
    from serving.protocol.sites import serve_site

    if form and not address:
        raise ConfigError("--form says what a server takes: give --address, too")
    hosts = tuple(name.lower() for name in allow_host or ())
    if address:
        if form and not form.is_file():
            echo(f"there is no {form}: the form is made of the server's signature, which has names and types alone")
            form = None
        shown = OneModel(ServedModel(address, model, timeout), read_form(form, model) if form else None)
        with closing(shown):
            serve_site(make_site(shown, hosts), host, port, echo)
        return
    environment = open_environment(env)
    settings = environment.settings
    with closing(StoredModels(lambda: environment.store(store), settings.modules, settings.home / "serving")) as stored:
        if model not in stored.names():
            raise StoreError(f"there is no model {model!r} in the store; models: {', '.join(stored.names()) or 'none'}")
        stored.open(model)
        serve_site(make_site(stored, hosts), host, port, lambda url: echo(f"{url}{model}"))


def _form_of_store(model: str, uri: str | None, env: str | None) -> str:
    from serving.predict_page.describe import form_of_version
    from serving.predict_page.models import module_config

    environment = open_environment(env)
    store = environment.store(uri)
    version = store.production(model)
    if version is None:
        raise StoreError(f"there is no version of {model!r} in production to make a form of")
    return form_of_version(store, version, module_config(environment.settings.modules, version)).model_dump_json(
        indent=1
    )
