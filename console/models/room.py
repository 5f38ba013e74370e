"""Answers the addresses of this room: pages of models, and actions on them."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar, cast

from aiohttp import web
from markupsafe import Markup

from console.forms import read_form
from console.layout import respond
from console.models import jobs
from console.models.action_pages import action_form, check_data, check_reason, confirmation, job_page
from console.models.actions import OF_MODEL, OF_VERSION, TITLES, Kind, Plan, act, command, offered, plan, titled
from console.models.catalog import Catalog, Model, Serving
from console.models.model_page import draw_windows, model_page
from console.models.overview import models_page
from console.models.version_page import version_page
from console.records import view_own, with_own_artifacts
from console.site import Site
from delivery.versions import CHANGES, describe_change
from slipway.errors import ChangedMeanwhileError, ConfigError, SlipwayError
from slipway.monitoring.page import window_body, window_subtitle, window_title
from slipway.pages.page import log, notice, section
from slipway.runs.explain import Explanation, explain_stored
from slipway.stores import storage
from slipway.stores.model_store import Version
from slipway.stores.model_store.numbers import version_of

STORE_SECONDS = 10.0  # that a page waits for the store
READERS = 32
SENT, EXPLAINED = 1000, 100  # forms and versions that are remembered
REFRESH_SECONDS = 2
_ONCE = re.compile(r"[0-9a-f]{16}")
_FORBIDDEN = "This console only shows. Started with `slipway ui --allow-actions` it has forms for this."
_K = TypeVar("_K")
_T = TypeVar("_T")


class Room:
    """The room of one console."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._catalog = Catalog(site.environment)
        self._serving = Serving(site.environment)
        self._threads = ThreadPoolExecutor(READERS, "models")
        self._sent: OrderedDict[str, asyncio.Task[str]] = OrderedDict()  # where each form led
        self._explanations: OrderedDict[tuple[str, int, int], Explanation] = OrderedDict()

    def routes(self) -> list[web.RouteDef]:
        """The pages and forms of this room."""
        model, version = "/models/{model}", r"/models/{model}/{version:\d+}"
        acted = [f"{model}/{{kind:{'|'.join(OF_MODEL)}}}", f"{version}/{{kind:{'|'.join(OF_VERSION)}}}"]
        return [
            web.get("/models", self.show_all),
            web.get(model, self.show_model),
            web.get(version, self.show_version),
            web.get(f"{model}/jobs/{{job}}", self.show_job),
            web.get(f"{model}/windows/{{start}}", self.show_window),
            *(web.get(path, self.show_form) for path in acted),
            *(web.post(path, self.confirm) for path in acted),
            *(web.post(f"{path}/do", self.do) for path in acted),
        ]

    async def show_all(self, request: web.Request) -> web.Response:
        """All models."""
        return respond(request, "Models", models_page(await self._read(self._catalog.models)))

    async def show_model(self, request: web.Request) -> web.Response:
        """One model; `event` is the number of the line of its history that a form has just written."""
        model = await self._model(request)
        served, windows = await asyncio.gather(
            self._serving.of(model.name), self._read(lambda: self._catalog.drawn(model.name, draw_windows))
        )
        whole = request.query.get("history") == "whole"
        under_way = await asyncio.to_thread(jobs.list_jobs, self._site.environment, model.name)
        body = _done(model, request.query.get("event", "")) + model_page(
            model, served, windows, self._offers(model, None) + _job_list(under_way), whole=whole
        )
        return respond(request, model.name, body)

    async def show_version(self, request: web.Request) -> web.Response:
        """One version."""
        model = await self._model(request)
        number = self._number(request, model)
        version = model.versions.get(number)
        if version is None:
            raise web.HTTPNotFound(text=f"There is no version {number} of {model.name}, or its files were deleted.")
        explanation = await self._read(lambda: self._explained(model, version))
        commands = [
            *(f"slipway models {verb} {model.name}/{number}{self._env}" for verb in ("show", "verify")),
            f"slipway explain {model.name}/{number}{self._env}",
            *(command(kind, model, number, self._site.environment) for kind in self._kinds(model, number)),
        ]
        body = version_page(model, version, explanation, self._offers(model, number), commands)
        subtitle = Markup('<a href="/models/{0}">{0}</a>').format(model.name)
        return respond(request, f"{model.name}, version {number}", body, subtitle=subtitle)

    async def show_window(self, request: web.Request) -> web.Response:
        """One of the newest windows of requests, as the monitor's own page shows it."""
        model = await self._model(request)
        windows = await self._read(lambda: self._catalog.windows(model.name))
        for place, window in enumerate(windows):
            if window.start == request.match_info["start"]:
                body = await asyncio.to_thread(window_body, window, windows[:place])
                return respond(request, window_title(window), body, subtitle=window_subtitle(window))
        raise web.HTTPNotFound(text="There is no such window among the newest.")

    async def show_form(self, request: web.Request) -> web.Response:
        """What an action changes, and its form; without actions, the command that does it."""
        model = await self._model(request)
        chosen = self._plan(request, model)
        if not self._site.allow_actions:
            line = command(chosen.kind, model, chosen.number, self._site.environment)
            return respond(request, chosen.title, notice(_FORBIDDEN) + log(line))
        return respond(request, chosen.title, action_form(request, chosen, model, _seen(chosen)))

    async def confirm(self, request: web.Request) -> web.Response:
        """Checks a form, and asks once more."""
        if not self._site.allow_actions:
            raise web.HTTPForbidden(text=_FORBIDDEN)
        fields = await read_form(request)
        self._catalog.forget()
        model = await self._model(request)
        chosen = self._plan(request, model)
        try:
            _check_seen(fields, chosen)
        except ChangedMeanwhileError as error:
            return await self._not_done(request, fields, error)
        try:
            reason = check_reason(fields.get("why", ""))
            data = check_data(fields.get("data", "own"), model)
        except ConfigError as error:
            form = action_form(request, chosen, model, _seen(chosen), fields, str(error))
            return respond(request, chosen.title, form, status=422)
        hidden = _seen(chosen) | {"once": secrets.token_hex(8), "data": data}
        return respond(request, f"{chosen.title}?", confirmation(request, chosen, reason, hidden, request.path))

    async def do(self, request: web.Request) -> web.StreamResponse:
        """Acts; the same form, sent twice, acts once."""
        if not self._site.allow_actions:
            raise web.HTTPForbidden(text=_FORBIDDEN)
        fields = await read_form(request)
        once = fields.get("once", "")
        if not _ONCE.fullmatch(once):
            raise web.HTTPBadRequest(text="The form lacks its number. Load it again.")
        if once not in self._sent:
            _remember(self._sent, once, asyncio.create_task(self._act(request, fields, once)), SENT)
        try:
            where = await asyncio.shield(self._sent[once])
        except SlipwayError as error:
            return await self._not_done(request, fields, error)
        raise web.HTTPSeeOther(where)

    async def show_job(self, request: web.Request) -> web.Response:
        """An action under way, or how it ended."""
        view = await asyncio.to_thread(jobs.view_job, self._site.environment, request.match_info["job"])
        if view is None or view.job.model != request.match_info["model"]:
            raise web.HTTPNotFound(text="There is no such job.")
        title = titled(view.job.kind, view.job.model, view.job.number)
        refresh = REFRESH_SECONDS if view.state == "running" else None
        return respond(request, title, job_page(view), refresh_seconds=refresh)

    async def _act(self, request: web.Request, fields: dict[str, str], once: str) -> str:
        """Does what a form says; returns where its result is."""
        reason = check_reason(fields.get("why", ""))
        self._catalog.forget()
        model = await self._model(request)
        chosen = self._plan(request, model)
        _check_seen(fields, chosen)
        if chosen.is_long:
            uses = model.production.manifest.lineage.data_uri if model.production else None
            data = uses if fields.get("data") == "production" else None
            job = await asyncio.to_thread(jobs.start, self._site.environment, chosen, reason, once, data)
            return f"/models/{model.name}/jobs/{job}"
        try:
            place = await asyncio.to_thread(act, self._site.environment, chosen, reason)
        finally:
            self._catalog.forget()
        return f"/models/{model.name}?event={place}"

    async def _not_done(self, request: web.Request, fields: dict[str, str], error: SlipwayError) -> web.Response:
        """Why nothing was done, and the form anew, of the model as it is now, with what was typed."""
        name = request.match_info["model"]
        said = notice(str(error), "bad")
        said += Markup('<p><a href="/models/{0}">{0} as it is now</a></p>').format(name)
        try:
            model = await self._model(request)
            chosen = self._plan(request, model)
        except web.HTTPException:  # the action is not possible any more
            return respond(request, "Not done", said, status=409)
        form = action_form(request, chosen, model, _seen(chosen), fields)
        return respond(request, "Not done", said + section(f"{chosen.title}: again", form), status=409)

    async def _read(self, read: Callable[[], _T]) -> _T:
        """What the store gives, in a thread; 504 if it does not answer."""
        waiting = asyncio.get_running_loop().run_in_executor(self._threads, read)
        try:
            return await asyncio.wait_for(waiting, STORE_SECONDS)
        except TimeoutError:
            raise web.HTTPGatewayTimeout(
                text=f"{self._site.environment.state.store} does not answer within {STORE_SECONDS:g} s. Is it in "
                "reach, and are you logged in? Load the page again."
            ) from None

    async def _model(self, request: web.Request) -> Model:
        name = request.match_info["model"]
        model = await self._read(lambda: self._catalog.model(name))
        if model is None:
            raise web.HTTPNotFound(text="There is no such model in the store.")
        return model

    def _number(self, request: web.Request, model: Model) -> int:
        number = version_of(request.match_info["version"])
        if number is None or number not in model.state.stages:
            raise web.HTTPNotFound(text=f"There is no such version of {model.name}.")
        return number

    def _plan(self, request: web.Request, model: Model) -> Plan:
        """The action that an address names; 409 if the model is not in a state for it."""
        kind = cast("Kind", request.match_info["kind"])
        number = self._number(request, model) if "version" in request.match_info else None
        chosen = plan(kind, model, number, has_cluster=self._serving.has_cluster)
        if chosen is None:
            stage = model.stage(number) if number else None
            of = f"version {number} of {model.name} is {stage}" if number else f"{model.name} is not in a state for it"
            raise web.HTTPConflict(text=f"{TITLES[kind]} is not possible now: {of}. Look at the model again.")
        return chosen

    def _kinds(self, model: Model, number: int | None) -> list[Kind]:
        return offered(model, number, has_cluster=self._serving.has_cluster)

    def _offers(self, model: Model, number: int | None) -> Markup:
        """Links to the forms; without actions, the commands."""
        kinds = self._kinds(model, number)
        if not kinds:
            return Markup("<p>Nothing, as it is now.</p>")
        if not self._site.allow_actions:
            lines = [command(kind, model, number, self._site.environment) for kind in kinds]
            return log("\n".join(lines))
        at = f"/models/{model.name}" + (f"/{number}" if number else "")
        one = Markup('<a href="{}/{}">{}</a>')
        links = Markup("").join(one.format(at, kind, TITLES[kind]) for kind in kinds)
        return Markup('<p class="offers">{}</p>').format(links)

    @property
    def _env(self) -> str:
        name = self._site.environment.name
        return f" --env {name}" if name else ""

    def _explained(self, model: Model, version: Version) -> Explanation:
        """Why a version was pushed; remembered until something is done to the model."""
        key = (model.name, version.number, len(model.state.history))
        if (known := self._explanations.get(key)) is not None:
            return known
        state, run = self._site.environment.state, version.manifest.lineage.run
        view = view_own(state, run) if run in storage.list_names(state.runs) else None
        explanation = explain_stored(with_own_artifacts(state, version), view, model.events(version.number)[::-1])
        list(explanation.parts())  # which reads what it needs, here in a thread
        return _remember(self._explanations, key, explanation, EXPLAINED)


def _remember(place: OrderedDict[_K, _T], key: _K, value: _T, most: int) -> _T:
    """Keeps a value, and forgets the oldest of too many."""
    place[key] = value
    while len(place) > most:
        place.popitem(last=False)
    return value


def _seen(chosen: Plan) -> dict[str, str]:
    """What a form remembers of the model."""
    return {"pin": str(chosen.seen.pin or ""), "stage": chosen.seen.stage or "", "number": str(chosen.number or "")}


def _check_seen(fields: dict[str, str], chosen: Plan) -> None:
    """Refuses a form whose model was changed since it was shown, with a ChangedMeanwhileError."""
    now = _seen(chosen)
    if any(fields.get(name) != value for name, value in now.items()):
        was = fields.get("pin") or "no version"
        raise ChangedMeanwhileError(
            f"{chosen.model} was changed meanwhile, and nothing was done. The form showed {was[:30]} in "
            f"production; it is {now['pin'] or 'no version'} now. Look at the model again."
        )


def _done(model: Model, event: str) -> Markup:
    """What a form has just done, read from the history."""
    number = int(event) if event.isascii() and event.isdigit() and len(event) < 8 else -1
    found = model.state.history[number : number + 1] if number >= 0 else ()
    done = [describe_change(one, model.name) for one in found if one.action in CHANGES]
    return notice(done[0], "good") if done else Markup("")


def _job_list(views: Sequence[jobs.JobView]) -> Markup:
    one = Markup('<li><a href="/models/{}/jobs/{}">{}</a>: {}</li>')
    listed = [one.format(it.job.model, it.name, TITLES[it.job.kind], it.state) for it in views[:5]]
    return Markup("<ul>{}</ul>").format(Markup("").join(listed)) if listed else Markup("")
