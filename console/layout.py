"""The frame of each page: navigation, title, body; and the small pieces of forms."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from aiohttp import web
from markupsafe import Markup

from console.forms import keep_mark
from console.site import site_of
from slipway.pages.page import load_template, section_links
from slipway.pages.printable import printable

PAGE = load_template("console", "page.html.j2")  # compiled with the program, and not for the first page
ROOMS = (("/runs", "Runs"), ("/models", "Models"), ("/data", "Data"), ("/predict", "Predict"))


def respond(
    request: web.Request,
    title: str,
    body: Markup,
    *,
    subtitle: str | Markup = "",
    status: int = 200,
    scripts: Iterable[str] = (),
    refresh_seconds: int | None = None,
) -> web.Response:
    """A page of the console; `scripts` are names of files in console/static, and `refresh_seconds` loads it again."""
    page = PAGE.render(
        title=printable(title),
        body=Markup(printable(body)),  # noqa: S704  control characters go, what was escaped stays so
        subtitle=subtitle,
        links=section_links(body),
        rooms=ROOMS,
        here="/" + request.path.lstrip("/").partition("/")[0],
        environment=site_of(request).environment.name or "",
        scripts=scripts,
        refresh_seconds=refresh_seconds,
    )
    response = web.Response(text=page, content_type="text/html", status=status)
    keep_mark(request, response)
    return response


def place(uri: str) -> str:
    """A place as pages name it: without the service of a remote one, and the user's own folder as ~."""
    home, uri = str(Path.home()), uri.partition("?")[0]
    return f"~{uri.removeprefix(home)}" if uri.startswith(f"{home}/") else uri


def get_form(action: str, *parts: Markup) -> Markup:
    """A form whose fields become the query of `action`: a filter, a choice."""
    return Markup('<form class="filter" method="get" action="{}">{}</form>').format(action, Markup("").join(parts))


def field(
    label: str, name: str, value: str = "", *, kind: str = "text", required: bool = False, hint: str = ""
) -> Markup:
    """A line to fill in, below its label."""
    return Markup('<label>{}<input type="{}" name="{}" value="{}"{}{}></label>').format(
        label, kind, name, value, Markup(" required") if required else "",
        Markup(' placeholder="{}"').format(hint) if hint else "",
    )  # fmt: skip


def select(label: str, name: str, options: Iterable[tuple[str, str]], chosen: str = "") -> Markup:
    """A choice of values, each with its text."""
    one = Markup('<option value="{}"{}>{}</option>')
    drawn = [one.format(value, Markup(" selected") if value == chosen else "", text) for value, text in options]
    return Markup('<label>{}<select name="{}">{}</select></label>').format(label, name, Markup("").join(drawn))


def button(text: str, *, name: str = "", value: str = "") -> Markup:
    """The button that sends its form."""
    named = Markup(' name="{}" value="{}"').format(name, value) if name else ""
    return Markup("<button{}>{}</button>").format(named, text)
