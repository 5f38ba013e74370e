"""One self-contained HTML page: no network, light and dark, readable on a phone."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from markupsafe import Markup

if TYPE_CHECKING:
    from jinja2 import Environment


def render_page(title: str, body: Markup, *, subtitle: str | Markup = "") -> str:
    """The page as HTML text.

    Args:
        title: The heading, and the title of the window.
        body: What `slipway.pages.parts` and `slipway.pages.charts` made. A plain string is escaped.
        subtitle: A line under the heading.
    """
    return environment().get_template("page.html.j2").render(title=title, body=body, subtitle=subtitle)


@cache
def environment() -> Environment:
    """Jinja2 over this folder's templates, escaping everything that is not Markup."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("slipway.pages", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
