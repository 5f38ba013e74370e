"""The page's routes: a form, its answer, a table. The frame around them, and who may ask, is whose routes they become.

Nothing is kept between two requests, so any process may answer any of them.
"""

from __future__ import annotations

import asyncio
import csv
import io
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Protocol, TypeVar
from urllib.parse import quote

from aiohttp import web
from markupsafe import Markup

from serving.predict_page.asking import Loaded, Prediction
from serving.predict_page.csv_table import FEWER_ROWS, MAX_BYTES, TooLargeError, read_table, write_table
from serving.predict_page.describe import form_of_signature
from serving.predict_page.effects import effects, variations
from serving.predict_page.form import Form, Value
from serving.predict_page.page import (
    CSV,
    DOWNLOAD,
    ROW,
    answer_of,
    draw_form,
    draw_table,
    shown_table,
)
from serving.predict_page.pictures import IMAGE_BYTES, PICTURES_BYTES, read_pictures
from serving.predict_page.posted import files_of, row_of, text_of, whole_of
from serving.protocol.sites import Posted, read_posted
from slipway.errors import DataError, RequestError
from slipway.pages.page import notice
from slipway.pages.printable import printable

FORM_BYTES = 64 << 10
ASKERS = 48  # with more, a processor answers fewer; the client of a server has 100 connections
OPENERS = 4
MOST_WAITING = 256
STYLE = Path(__file__).parent / "predict.css"
_SAID = {
    HTTPStatus.BAD_REQUEST: "The model refuses these values",
    HTTPStatus.NOT_FOUND: "The server does not have this model",
    HTTPStatus.SERVICE_UNAVAILABLE: "The model is not ready; try again in a moment",
    HTTPStatus.TOO_MANY_REQUESTS: "The model server is busy; try again in a moment",
    HTTPStatus.GATEWAY_TIMEOUT: "The model server took too long",
}
# As which of its own statuses the page passes on those of the server.
_PASSED_ON = {
    HTTPStatus.BAD_REQUEST: HTTPStatus.UNPROCESSABLE_ENTITY,
    HTTPStatus.SERVICE_UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.TOO_MANY_REQUESTS: HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT: HTTPStatus.GATEWAY_TIMEOUT,
}
_log = logging.getLogger(__name__)
_T = TypeVar("_T")


class Respond(Protocol):
    """Puts a page's body into the frame of the site that shows it."""

    def __call__(
        self, request: web.Request, title: str, body: Markup, *, subtitle: str | Markup = "", status: int = 200
    ) -> web.Response:
        """The page; the title is its heading, too."""
        ...


class Served(Protocol):
    """A model on a server, as `asking.ServedModel` is one."""

    @property
    def name(self) -> str:
        """Of the model."""

    def loaded(self) -> Loaded:
        """The version that answers."""

    def predict(self, rows: Sequence[Mapping[str, Value]]) -> Prediction:
        """The answers to rows, in one request."""


@dataclass(frozen=True)
class Shown:
    """A model that the page shows: who is asked, and its form; without one it is made of the server's signature."""

    served: Served
    form: Form | None = None


class Catalogue(Protocol):
    """The models that a site's page shows."""

    def names(self) -> list[str]:
        """All of them, sorted."""

    def open(self, name: str) -> Shown:
        """One of them. May take a while; raises `KeyError` where there is none, `SlipwayError` if it cannot be had."""


class _Threads:
    """Runs what blocks beside the loop; who comes when too many wait is told to come again."""

    def __init__(self, many: int, name: str) -> None:
        self._pool = ThreadPoolExecutor(many, name)
        self._waiting = 0

    async def run(self, function: Callable[..., _T], *arguments: Any) -> _T:
        """What a function returns."""
        if self._waiting >= MOST_WAITING:
            raise web.HTTPServiceUnavailable(
                text="Too many people ask at once; try again in a moment.", headers={"Retry-After": "2"}
            )
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, function, *arguments)
        finally:
            self._waiting -= 1

    def end(self) -> None:
        """Ends the threads that have nothing to do."""
        self._pool.shutdown(wait=False)


class PredictPage:
    """The page of some models, below a prefix of the site's paths."""

    def __init__(self, catalogue: Catalogue, respond: Respond, prefix: str = "") -> None:
        self._catalogue = catalogue
        self._respond = respond
        self._prefix = prefix
        # Threads of their own: a form is shown also while all those that ask wait for a slow server.
        self._askers = _Threads(ASKERS, "predict-page")
        self._openers = _Threads(OPENERS, "predict-page-models")

    def routes(self) -> list[web.RouteDef]:
        """For `add_routes` of the site."""
        return [
            web.get(self._prefix or "/", self._list),
            web.get(f"{self._prefix}/predict.css", self._style),
            web.get(f"{self._prefix}/{{model}}", self._form),
            web.post(f"{self._prefix}/{{model}}", self._predict),
            web.get(f"{self._prefix}/{{model}}/table", self._table),
            web.post(f"{self._prefix}/{{model}}/table", self._predict_table),
        ]

    async def close(self, _app: web.Application) -> None:
        """For `on_cleanup` of the site."""
        self._askers.end()
        self._openers.end()

    async def _list(self, request: web.Request) -> web.StreamResponse:
        names = await self._openers.run(self._catalogue.names)
        if len(names) == 1:
            raise web.HTTPSeeOther(f"{self._prefix}/{quote(names[0], safe='')}")
        item = Markup('<li><a href="{}/{}">{}</a></li>')
        items = [item.format(self._prefix, quote(name, safe=""), name) for name in names]
        body = Markup("<ul>{}</ul>").format(Markup("").join(items)) if items else notice("There is no model yet.")
        return self._respond(request, "Predict", body, subtitle="Which model?")

    async def _style(self, _request: web.Request) -> web.StreamResponse:
        return web.FileResponse(STYLE)

    async def _form(self, request: web.Request) -> web.StreamResponse:
        shown, form = await self._opened(request)
        row = whole_of(request.query.get("row", ""))
        body = draw_form(form, form.row(row), row=row, addresses=self._addresses(shown))
        return self._framed(request, form, body)

    async def _predict(self, request: web.Request) -> web.StreamResponse:
        shown, form = await self._opened(request)
        images = sum(field.is_image for field in form.fields)
        fix = "Choose a smaller picture: 1 MiB at most." if images else "Shorten the values, or ask for rows of a CSV."
        posted = await read_posted(request, FORM_BYTES + images * 2 * IMAGE_BYTES, fix)
        body, status, answer = await self._askers.run(self._answered, shown, form, posted)
        return self._framed(request, form, body, status=status, answer=answer)

    def _answered(self, shown: Shown, form: Form, posted: Posted) -> tuple[Markup, HTTPStatus, str]:
        """The form, with the answer to it, its status, and the answer in a word."""
        texts, row, problems = row_of(form, posted)
        failure, answer, status = "", None, HTTPStatus.UNPROCESSABLE_ENTITY if problems else HTTPStatus.OK
        if not problems:
            varied = variations(form, row)
            try:
                prediction = _ask(shown, [row, *(one.row for one in varied)])
                answer = answer_of(form, row, prediction, effects(row, varied, prediction))
            except RequestError as error:
                failure, status = _failure(error)
        number, addresses = whole_of(text_of(posted, ROW)), self._addresses(shown)
        body = draw_form(
            form, texts, row=number, addresses=addresses, problems=problems, failure=failure, answer=answer
        )
        return body, status, answer["title"] if answer else ""

    async def _table(self, request: web.Request) -> web.StreamResponse:
        shown, form = await self._opened(request)
        body = draw_table(form, _example(form), addresses=self._addresses(shown, "/table"))
        return self._framed(request, form, body)

    async def _predict_table(self, request: web.Request) -> web.StreamResponse:
        shown, form = await self._opened(request)
        if form.only_image:
            posted = await read_posted(request, PICTURES_BYTES, "Choose fewer pictures, or smaller ones.")
        else:
            posted = await read_posted(request, MAX_BYTES + FORM_BYTES, FEWER_ROWS)
        found = await self._askers.run(self._tabled, shown, form, posted)
        if isinstance(found, str):
            return _file(f"{form.model}-answers.csv", found)
        body, status, answer = found
        return self._framed(request, form, body, status=status, answer=answer)

    def _tabled(self, shown: Shown, form: Form, posted: Posted) -> tuple[Markup, HTTPStatus, str] | str:
        """The table with answers to its rows, its status, and how many there are; or its file, where that was asked."""
        text = text_of(posted, CSV)
        seen, failure, status = None, "", HTTPStatus.OK
        try:
            image = form.only_image
            table = read_pictures(image, files_of(posted, image)) if image else read_table(text, form)
            good = [row.values for row in table.good]
            prediction = _ask(shown, good) if good else None
            if text_of(posted, DOWNLOAD):
                return write_table(table, prediction)
            seen = shown_table(form, table, prediction)
            status = HTTPStatus.OK if good else HTTPStatus.UNPROCESSABLE_ENTITY
        except TooLargeError as error:
            failure, status, text = str(error), HTTPStatus.REQUEST_ENTITY_TOO_LARGE, ""
        except DataError as error:
            failure, status = str(error), HTTPStatus.UNPROCESSABLE_ENTITY
        except RequestError as error:
            failure, status = _failure(error)
        body = draw_table(form, text, addresses=self._addresses(shown, "/table"), shown=seen, failure=failure)
        return body, status, seen["title"] if seen else ""

    async def _opened(self, request: web.Request) -> tuple[Shown, Form]:
        name = request.match_info["model"]
        try:
            shown = await self._openers.run(self._catalogue.open, name)
        except KeyError:
            raise web.HTTPNotFound(text=f"There is no model {name!r} here.") from None
        if shown.form:
            return shown, shown.form
        try:
            loaded = await self._askers.run(shown.served.loaded)
        except RequestError as error:
            said, status = _failure(error)
            raise _ERRORS[status](text=said) from error
        return shown, form_of_signature(name, loaded.features)

    def _framed(
        self, request: web.Request, form: Form, body: Markup, *, status: int = 200, answer: str = ""
    ) -> web.Response:
        """The body below the answer, or the question."""
        titles = [text for text in (answer, form.question, form.model) if text]
        return self._respond(request, titles[0], body, subtitle=" · ".join(titles[1:]), status=status)

    def _addresses(self, shown: Shown, below: str = "") -> dict[str, str]:
        page = f"{self._prefix}/{quote(shown.served.name, safe='')}"
        return {
            "here": page + below,
            "back": page,
            "table": f"{page}/table",
            "style": f"{self._prefix}/predict.css",
        }


_ERRORS: Mapping[HTTPStatus, type[web.HTTPException]] = {
    HTTPStatus.BAD_GATEWAY: web.HTTPBadGateway,
    HTTPStatus.SERVICE_UNAVAILABLE: web.HTTPServiceUnavailable,
    HTTPStatus.GATEWAY_TIMEOUT: web.HTTPGatewayTimeout,
    HTTPStatus.UNPROCESSABLE_ENTITY: web.HTTPUnprocessableEntity,
}


def _ask(shown: Shown, rows: list[dict[str, Value]]) -> Prediction:
    try:
        return shown.served.predict(rows)
    except DataError as error:  # the model takes none of the form's inputs
        raise RequestError(str(error)) from error


def _failure(error: RequestError) -> tuple[str, HTTPStatus]:
    """What the page says where the model could not be asked, and the status that goes with it."""
    _log.warning("%s", error)
    known = HTTPStatus(error.status) if error.status in _SAID else HTTPStatus.BAD_GATEWAY
    reason = printable(" ".join(str(error).split()))
    text = f"{_SAID.get(known, 'The model cannot be asked')}: {reason if len(reason) <= 400 else reason[:400] + '…'}"
    return text, _PASSED_ON.get(known, HTTPStatus.BAD_GATEWAY)


def _example(form: Form) -> str:
    """A CSV of two real rows, to begin with."""
    names = [field.name for field in form.fields]
    if not form.rows:
        return ",".join(names) + "\n"
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(names)
    rows.writerows([row.get(name, "") for name in names] for row in form.rows[:2])
    return text.getvalue()


def _file(name: str, content: str) -> web.Response:
    return web.Response(
        text=content, content_type="text/csv", headers={"Content-Disposition": f'attachment; filename="{name}"'}
    )
