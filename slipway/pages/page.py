"""One self-contained HTML page: no network, light and dark, readable on a phone."""

from __future__ import annotations

import re
from functools import cache
from html import unescape
from typing import TYPE_CHECKING

from markupsafe import Markup

if TYPE_CHECKING:
    from jinja2 import Template

LINKS_FROM = 4  # sections
_SECTION = re.compile('<section id="([^"]*)"><h2>(.*?)</h2>')


def render_page(title: str, body: Markup, *, subtitle: str | Markup = "") -> str:
    """The page as HTML text; with many sections, it begins with links to them."""
    sections = [(anchor, unescape(name)) for anchor, name in _SECTION.findall(str(body))]
    links = sections if len(sections) >= LINKS_FROM else []
    return _template().render(title=title, body=body, subtitle=subtitle, links=links)


@cache
def _template() -> Template:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("slipway.pages", "")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("page.html.j2")
