"""One self-contained HTML page: no network, light and dark, readable on a phone."""

from __future__ import annotations

import re
from functools import cache
from html import unescape
from typing import TYPE_CHECKING

from markupsafe import Markup

if TYPE_CHECKING:
    from jinja2 import Environment

LINKS_FROM = 4  # sections
_SECTION = re.compile('<section id="([^"]*)"><h2>(.*?)</h2>')


def render_page(title: str, body: Markup, *, subtitle: str | Markup = "") -> str:
    """The page as HTML text; a page with many sections begins with links to them.

    Args:
        title: The heading, and the title of the window.
        body: Markup of `slipway.pages.parts` and `slipway.pages.charts`.
        subtitle: A line under the heading.
    """
    sections = [(anchor, unescape(name)) for anchor, name in _SECTION.findall(str(body))]
    links = sections if len(sections) >= LINKS_FROM else []
    return environment().get_template("page.html.j2").render(title=title, body=body, subtitle=subtitle, links=links)


@cache
def environment() -> Environment:
    """Jinja2 over this folder's templates, escaping everything that is not Markup."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("slipway.pages", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
