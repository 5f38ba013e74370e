"""The page of features: what moved, the forms, tables of numbers and categories, a picture of each."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from markupsafe import Markup

from console.data.differences import Difference
from console.data.facets import PAGE, SORTS, SWITCHES, TYPES, Facets, View, tell_differences
from console.data.paging import pager, part_of
from console.layout import button, field, get_form, select
from slipway.data.statistics.features import feature_figures, feature_tables
from slipway.pages.numbers import MISSING, format_number, format_share
from slipway.pages.page import notice, section, tiles
from slipway.pages.printable import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from console.data.sets import Offer
    from slipway.pages.page import Cell

LABELS = {
    "reverse": "reverse order", "quantiles": "quantiles", "log": "logarithm", "counts": "counts, not shares",
    "weights": "by weight",
}  # fmt: skip


def facets_body(view: View, facets: Facets, offers: Sequence[Offer]) -> Markup:
    """The body of the page."""
    total = len(facets.features)
    part = part_of(view, total, PAGE)
    shown = dict(list(facets.features.items())[part])
    more: dict[str, dict[str, Cell]] = {}
    if facets.differences:
        more["Difference"] = {name: _difference(facets.differences[name]) for name in shown}
        more["JS divergence"] = {name: _divergence(facets.differences[name]) for name in shown}
    parts = [_tiles(view, facets), _told(facets), choose_form(view, offers), _view_form(view, facets)]
    if shown:
        turn = pager(view, part, total, PAGE, "features")
        tables = feature_tables(shown, facets.examples, view.drawing, more)
        parts += [section("Features", turn, tables), section("Pictures", feature_figures(shown, view.drawing), turn)]
    else:
        parts.append(notice(f"None of the {len(facets.all):,} features is of this name and type.", "warn"))
    return Markup("").join(parts)


def choose_form(view: View, offers: Sequence[Offer]) -> Markup:
    """Which data set, and which one beside it."""
    known = {offer.reference: offer.text for offer in offers}
    chosen = {one: one for one in (view.first, view.second) if one and one not in known}
    options = [*known.items(), *chosen.items()]
    kept = [
        _hidden(name, "1" if value is True else str(value))
        for name, value in vars(view).items()
        if value and name not in ("first", "second", "page")
    ]
    return get_form(
        "/data/features",
        select("data set", "first", options, view.first),
        select("beside it", "second", [("", "none"), *options], view.second),
        *kept,
        button("show"),
    )


def _view_form(view: View, facets: Facets) -> Markup:
    sorts = {
        name: text for name, text in SORTS.items() if facets.differences or name not in ("difference", "divergence")
    }
    switches = [name for name in SWITCHES if name != "weights" or facets.has_weights]
    return get_form(
        "/data/features",
        _hidden("first", view.first),
        _hidden("second", view.second),
        field("search by name", "search", view.search, kind="search"),
        select("type", "type", list(TYPES.items()), view.type),
        select("sort by", "sort", list(sorts.items()), view.sort),
        *(_switch(name, getattr(view, name)) for name in switches),
        button("apply"),
    )


def _hidden(name: str, value: str) -> Markup:
    return Markup('<input type="hidden" name="{}" value="{}">').format(name, value)


def _switch(name: str, is_on: bool) -> Markup:
    return Markup('<label class="switch"><input type="checkbox" name="{}" value="1"{}>{}</label>').format(
        name, Markup(" checked") if is_on else "", LABELS[name]
    )


def _tiles(view: View, facets: Facets) -> Markup:
    items: list[tuple[str, Cell, Cell]] = []
    if facets.differences:
        moved = [one for one in facets.differences.values() if one.has_moved]
        items.append(("features that moved", format_number(len(moved)), f"of {len(facets.all):,}"))
    unit = "sum of the weights" if view.weights and facets.has_weights else "examples"
    items += [(name, format_number(count), unit) for name, count in facets.examples.items()]
    if not facets.differences:
        items.append(("features", format_number(len(facets.all)), ""))
    return tiles(items)


def _told(facets: Facets) -> Markup:
    told = tell_differences(facets)
    if not told:
        return Markup("")
    lines = Markup("").join(map(Markup("<li>{}</li>").format, map(printable, told)))
    moved = any(one.has_moved for one in facets.differences.values())
    return notice(Markup("<b>What moved most</b><ul>{}</ul>").format(lines), "warn" if moved else "plain")


def _difference(one: Difference) -> Cell:
    if math.isinf(one.apart):
        return "in one only"
    said, where = Markup("{}").format(format_share(one.apart)), printable(one.said)
    if one.has_moved:
        said = Markup("<b>{}</b>").format(said)
    return Markup('{}<br><small class="told">{}</small>').format(said, where)


def _divergence(one: Difference) -> Cell:
    return MISSING if math.isinf(one.divergence) else f"{one.divergence:.4f}"
