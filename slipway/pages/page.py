"""A self-contained HTML page and its pieces: no network, light and dark, readable on a phone.

All text is escaped; Markup passes through.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cache
from html import unescape
from typing import TYPE_CHECKING, Literal

from markupsafe import Markup

if TYPE_CHECKING:
    from jinja2 import Template

Tone = Literal["good", "warn", "bad", "plain"]
Cell = str | Markup | int

LINKS_FROM = 4  # sections
_SECTION = re.compile('<section id="([^"]*)"><h2>(.*?)</h2>')
_SIGNS = {"good": "✓", "warn": "!", "bad": "✕", "plain": "·"}


def render_page(title: str, body: Markup, *, subtitle: str | Markup = "") -> str:
    """The page as HTML text; with many sections, it begins with links to them."""
    return load_template("slipway.pages", "page.html.j2").render(
        title=title, body=body, subtitle=subtitle, links=section_links(body)
    )


def section_links(body: Markup) -> list[tuple[str, str]]:
    """Anchors and titles of a body's sections; none if there are few."""
    sections = [(anchor, unescape(name)) for anchor, name in _SECTION.findall(str(body))]
    return sections if len(sections) >= LINKS_FROM else []


@cache
def load_template(package: str, name: str) -> Template:
    """A template beside a package's code; what it prints is escaped, and a name that it is not given is an error."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader(package, ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


def badge(text: str, tone: Tone = "plain") -> Markup:
    """A state in one word, with a sign and a colour."""
    return Markup('<span class="badge {}"><i aria-hidden="true">{}</i>{}</span>').format(tone, _SIGNS[tone], text)


def section(title: str, *bodies: Markup, note: str | Markup = "") -> Markup:
    """A section of the page, whose anchor is its title."""
    anchor = "-".join(re.findall(r"\w+", title.lower()))
    aside = Markup('<p class="note">{}</p>').format(note) if note else Markup("")
    return Markup('<section id="{}"><h2>{}</h2>{}{}</section>').format(anchor, title, aside, Markup("").join(bodies))


def table(headers: Sequence[str], rows: Iterable[Sequence[Cell]], *, text_columns: int = 1) -> Markup:
    """A table that scrolls inside itself; the first `text_columns` columns are text, the others aligned numbers."""
    sides = ["" if index < text_columns else "number" for index in range(len(headers))]
    # Long tables have thousands of cells, and `%` takes half the time of `format`.
    header, cell = Markup('<th scope="col" class="%s">%s</th>'), Markup('<td class="%s">%s</td>')
    head = Markup("").join(header % pair for pair in zip(sides, headers, strict=True))
    body = Markup("").join(
        Markup("<tr>{}</tr>").format(Markup("").join(cell % pair for pair in zip(sides, row, strict=True)))
        for row in rows
    )
    # What scrolls takes the keyboard, too.
    return Markup(
        '<div class="scroll" tabindex="0"><table><thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>'
    ).format(head, body)


def tiles(items: Iterable[tuple[str, Cell, Cell]]) -> Markup:
    """Key figures: label, value, and a remark (or an empty string) each."""
    tile = Markup("<div><dt>{}</dt><dd>{}</dd><dd class='remark'>{}</dd></div>")
    return Markup('<dl class="tiles">{}</dl>').format(Markup("").join(tile.format(*item) for item in items))


def facts(items: Iterable[tuple[str, Cell]]) -> Markup:
    """Names and values, one a line: lineage, settings."""
    fact = Markup("<div><dt>{}</dt><dd>{}</dd></div>")
    return Markup('<dl class="facts">{}</dl>').format(Markup("").join(fact.format(*item) for item in items))


def grid(*figures: Markup) -> Markup:
    """Figures side by side, as the width allows."""
    return Markup('<div class="figures">{}</div>').format(Markup("").join(figures))


def pictures(items: Iterable[tuple[str, str]]) -> Markup:
    """Small images side by side: the data URI and a line below it of each."""
    picture = Markup('<figure><img src="{}" alt="{}"><figcaption>{}</figcaption></figure>')
    drawn = Markup("").join(picture.format(uri, text, text) for uri, text in items)
    return Markup('<div class="pictures">{}</div>').format(drawn)


def notice(text: str | Markup, tone: Tone = "plain") -> Markup:
    """A highlighted paragraph: a failure, a missing part."""
    return Markup('<div class="notice {}">{}</div>').format(tone, text)


def details(summary: str | Markup, body: Markup) -> Markup:
    """A part that the reader can open."""
    return Markup("<details><summary>{}</summary>{}</details>").format(summary, body)


def code(text: str) -> Markup:
    """A digest, a path or another literal, which may break anywhere."""
    return Markup("<code>{}</code>").format(text)


def log(text: str) -> Markup:
    """Lines of a log, verbatim."""
    return Markup('<pre class="scroll" tabindex="0">{}</pre>').format(text)
