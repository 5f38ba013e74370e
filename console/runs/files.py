"""The files of a run as pages: JSON laid out, the first rows of Parquet, text, a step's own page in its own policy."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from aiohttp import web
from markupsafe import Markup

from console.layout import respond
from console.runs.artifacts import RECORD, artifacts_of, file_of, files_of
from console.runs.run import files_address, find_run
from console.site import DEADLINE
from slipway.errors import SlipwayError, StoreError
from slipway.pages.page import code, facts, log, notice, section, table
from slipway.pages.printable import printable
from slipway.stores import storage
from slipway.stores.storage import StoredFile

TEXT_BYTES, PAGE_BYTES = 512 * 1024, 16 * 1024 * 1024
PARQUET_ROWS, LISTED, CELL_CHARACTERS = 50, 500, 200
BLOCK_SECONDS = 60  # that a block may take to be read and sent
IMAGES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg"}
# A page that a step wrote runs its own scripts, without an origin: it reaches neither the console nor the network.
PAGE_POLICY = (
    "sandbox allow-scripts; default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "img-src data:; font-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)

_log = logging.getLogger(__name__)


async def show_artifacts(request: web.Request) -> web.Response:
    """What there is of a run."""
    view = await find_run(request)
    artifacts = artifacts_of(view)
    own = f"{files_address(view.name)}/"
    record = await asyncio.to_thread(files_of, artifacts[RECORD])
    link = Markup('<a href="{}{}">{}</a>')
    items = [(name, link.format(own, quote(name, safe=""), code(printable(uri)))) for name, uri in artifacts.items()]
    body = (
        section("Artifacts", facts((printable(name), its) for name, its in items if name != RECORD))
        if items
        else Markup("")
    )
    return respond(
        request, f"Files of {view.name}", section("Record and logs", _listed(f"{own}{RECORD}", record)) + body
    )


async def show_artifact(request: web.Request) -> web.StreamResponse:
    """The files of an artifact, or the artifact itself where it is one file."""
    uri, title, address = await _artifact(request)
    files = await asyncio.to_thread(files_of, uri)
    if not files or files[0].name == "":
        return await _show(request, uri, title)
    return respond(request, title, _listed(address, files), subtitle=printable(uri))


async def show_file(request: web.Request) -> web.StreamResponse:
    """One file of an artifact."""
    uri, title, _ = await _artifact(request)
    path = request.match_info["path"]
    try:
        found = await asyncio.to_thread(file_of, uri, path)
    except StoreError as error:
        raise web.HTTPNotFound(text=printable(str(error))[:400]) from error
    return await _show(request, found, f"{title}: {printable(path)}")


async def _artifact(request: web.Request) -> tuple[str, str, str]:
    """URI, title and address of the artifact that an address names."""
    view, name = await find_run(request), request.match_info["artifact"]
    artifacts = artifacts_of(view)
    if name not in artifacts:
        raise web.HTTPNotFound(text=f"{view.name} has no artifact {printable(name)[:200]} that can be shown.")
    return artifacts[name], f"{printable(name)} of {view.name}", f"{files_address(view.name)}/{quote(name, safe='')}"


def _listed(address: str, files: list[StoredFile]) -> Markup:
    link = Markup('<a href="{}/{}">{}</a>')
    rows = [(link.format(address, quote(file.name), printable(file.name)), f"{file.size:,}") for file in files[:LISTED]]
    more = notice(f"{len(files) - LISTED:,} more files are not listed.") if len(files) > LISTED else Markup("")
    return table(("file", "bytes"), rows) + more


async def _show(request: web.Request, uri: str, title: str) -> web.StreamResponse:
    """A file as a page, as the page that it is (`?as=page`), as an image, or to be saved (`?as=file`)."""
    wanted = request.query.get("as", "")
    if wanted == "file":
        return await _send(request, uri)
    if wanted == "image" and (kind := IMAGES.get(_suffix(uri))):
        return web.Response(body=await asyncio.to_thread(_head, uri, PAGE_BYTES), content_type=kind)
    if wanted == "page":
        page = await asyncio.to_thread(_head, uri, PAGE_BYTES)
        headers = {"Content-Security-Policy": PAGE_POLICY}
        return web.Response(body=page, content_type="text/html", charset="utf-8", headers=headers)
    links = Markup('<p class="links"><a href="?as=file">Save the file</a>{}</p>')
    is_page = _suffix(uri) == ".html" or await asyncio.to_thread(_is_page, uri)
    body = _frame() if is_page else await asyncio.to_thread(drawn, uri)
    alone = Markup(' <a href="?as=page">The page alone</a>') if is_page else ""
    return respond(request, title, links.format(alone) + body, subtitle=printable(uri))


def drawn(uri: str) -> Markup:
    """A file's content, by its kind; bounded."""
    suffix = _suffix(uri)
    if suffix in IMAGES:
        return Markup('<p><img src="?as=image" alt="{}"></p>').format(uri.rsplit("/", 1)[-1])
    if suffix == ".parquet":
        return _parquet(uri)
    content = _head(uri, TEXT_BYTES + 1)
    cut = notice(f"Only the first {TEXT_BYTES:,} bytes are shown.") if len(content) > TEXT_BYTES else Markup("")
    content = content[:TEXT_BYTES]
    if b"\0" in content:
        return notice("This file is no text. It can be saved.")
    text = content.decode("utf-8", "replace")
    if suffix == ".json" and not cut:
        with suppress(ValueError):
            text = json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    return cut + log(printable(text))


def _parquet(uri: str) -> Markup:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with storage.open_read(uri) as opened, pq.ParquetFile(opened) as file:
            batch = next(file.iter_batches(batch_size=PARQUET_ROWS), None)
            rows: list[Mapping[str, Any]] = batch.to_pylist() if batch is not None else []
            names, many = file.schema_arrow.names, file.metadata.num_rows
    except (pa.ArrowException, OSError) as error:
        return notice(f"This file is no Parquet that can be read: {printable(str(error))}", "warn")
    cells = [[_cell(row[name]) for name in names] for row in rows]
    return table([printable(name) for name in names], cells, text_columns=len(names)) + notice(
        f"{len(rows):,} of {many:,} rows, {len(names):,} columns."
    )


def _cell(value: Any) -> str:
    text = f"{len(value):,} bytes" if isinstance(value, bytes) and b"\0" in value else str(value)
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) and b"\0" not in value else text
    return printable(text if len(text) <= CELL_CHARACTERS else text[:CELL_CHARACTERS] + " …")


def _frame() -> Markup:
    return Markup('<iframe sandbox="allow-scripts" title="The page that the step wrote" src="?as=page"></iframe>')


def _is_page(uri: str) -> bool:
    return _head(uri, 64).lstrip().lower().startswith((b"<!doctype html", b"<html"))


def _suffix(uri: str) -> str:
    return Path(uri.partition("?")[0] if storage.is_remote(uri) else uri).suffix.lower()


def _head(uri: str, most: int) -> bytes:
    with storage.open_read(uri) as file:
        return file.read(most)


async def _send(request: web.Request, uri: str) -> web.StreamResponse:
    """Streams a file, to be saved."""
    name = quote((uri.partition("?")[0] if storage.is_remote(uri) else uri).rsplit("/", 1)[-1], safe="")
    response = web.StreamResponse(headers={"Content-Disposition": f"attachment; filename*=UTF-8''{name}"})
    response.content_type = "application/octet-stream"
    with await asyncio.to_thread(storage.open_read, uri) as file:
        await response.prepare(request)
        request[DEADLINE].reschedule(None)  # the whole may take long, a block may not
        try:
            while block := await asyncio.wait_for(asyncio.to_thread(file.read, storage.BLOCK_BYTES), BLOCK_SECONDS):
                await asyncio.wait_for(response.write(block), BLOCK_SECONDS)
        except (OSError, SlipwayError) as error:  # too slow, one of both went away, or the store failed
            _log.info("%s was not sent whole: %s", name, error)
            if request.transport:
                request.transport.abort()  # the reader must not take a part for the whole
            return response
    await response.write_eof()
    return response
