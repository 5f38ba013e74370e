"""Draws the page: what is said of an answer, and the templates that say it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from serving.predict_page.asking import Prediction
from serving.predict_page.csv_table import MAX_ROWS, Table, answer_columns
from serving.predict_page.effects import Effect, is_single, replacement
from serving.predict_page.form import Form, Value, plain
from serving.predict_page.pictures import MAX_PICTURES
from slipway.pages.numbers import format_number, format_share
from slipway.pages.page import load_template
from slipway.pages.printable import printable

# Names of the page's own fields; columns of data have no colon at that place.
OTHER, FILE, ROW, CSV, DOWNLOAD = "slipway:other", "slipway:file", "slipway:row", "slipway:csv", "slipway:download"
MOST_CLASSES = 10
_YES_NO = {"true": "Yes", "false": "No"}


def draw_form(
    form: Form,
    texts: Mapping[str, str],
    *,
    row: int,
    addresses: Mapping[str, str],
    problems: Mapping[str, str] | None = None,
    failure: str = "",
    answer: Mapping[str, Any] | None = None,
) -> Markup:
    """The form, filled with texts; with an answer, what is wrong with some texts, or why there is no answer.

    `addresses` are those of the page itself (`here`), of its table and of its style.
    """
    return Markup(  # noqa: S704 - the template escapes
        load_template("serving.predict_page", "page.html.j2").render(
            form=form,
            texts=texts,
            ids={field.name: f"input-{place}" for place, field in enumerate(form.fields)},
            row=row,
            next_row=(row + 1) % len(form.rows) if form.rows else 0,
            problems=problems or {},
            failure=failure,
            answer=answer,
            other=OTHER,
            file=FILE,
            row_name=ROW,
            number=format_number,
            plain=plain,
            **addresses,
        )
    )


def draw_table(
    form: Form,
    text: str,
    *,
    addresses: Mapping[str, str],
    shown: Mapping[str, Any] | None = None,
    failure: str = "",
) -> Markup:
    """The field for a CSV, or for pictures, with the answers to its rows, or why there are none."""
    return Markup(  # noqa: S704 - the template escapes
        load_template("serving.predict_page", "table.html.j2").render(
            text=text,
            image=form.only_image,
            has_image=any(field.is_image for field in form.fields),
            shown=shown,
            failure=failure,
            most_rows=MAX_ROWS,
            most_pictures=MAX_PICTURES,
            csv_name=CSV,
            file=FILE,
            download_name=DOWNLOAD,
            **addresses,
        )
    )


def answer_of(form: Form, row: Mapping[str, Value], prediction: Prediction, moved: Sequence[Effect]) -> dict[str, Any]:
    """What the page says of the answer to a row."""
    big, share, words = _said(form, prediction)
    drawn = _classes(prediction) if prediction.classes else []
    moving = [one for one in moved if _is_seen(one.moved, prediction)]
    still = [one.name for one in moved if not _is_seen(one.moved, prediction)]
    single = [(field, row.get(field.name)) for field in form.fields if is_single(field)]
    usual = [field.name for field, value in single if value is not None and not replacement(field, value)]
    missing = [field.name for field, value in single if value is None]
    return {
        "title": f"{big} ({share})" if share else big,
        "words": words,
        "classes": drawn[:MOST_CLASSES],
        "others": len(drawn[MOST_CLASSES:]),
        "effects": _effects(moving, prediction),
        "effects_note": _effects_note(form, prediction, moving),
        "still": ", ".join(still),
        "usual": ", ".join(usual),
        "missing": ", ".join(missing),
        "untried": len(single) - len(moved) - len(usual) - len(missing),
        "source": source_of(form, prediction),
    }


def shown_table(form: Form, table: Table, prediction: Prediction | None) -> dict[str, Any]:
    """What the page shows of the answers to a table; without a prediction none of its rows could be asked for."""
    columns, answers = answer_columns(table, prediction)
    found = iter(answers)
    many, width, image = len(table.good), len(table.header), form.only_image
    return {
        "title": f"{many:,} answer{'' if many == 1 else 's'}",
        "columns": columns,
        "header": table.header,
        "rows": [
            {
                "line": row.line,
                "cells": row.cells[:width],
                "picture": image.write(row.values.get(image.name)) if image else "",
                "problem": row.problem,
                "answer": [] if row.problem else next(found),
            }
            for row in table.rows
        ],
        "problems": [(row.line, row.problem) for row in table.rows if row.problem],
        "unknown": table.unknown,
        "counts": table.counts,
        "source": source_of(form, prediction) if prediction else "",
    }


def source_of(form: Form, prediction: Prediction) -> str:
    """Which version answered, how long it took, and in what it differs from the form's."""
    known = prediction.version is not None
    by = f"Version {prediction.version} of {form.model}" if known else f"{form.model}, in a version that is not known,"
    parts = [f"{by} answered in {1000 * prediction.seconds:.0f} ms."]
    if known and form.version not in (None, prediction.version):
        parts.append(f"The form is that of version {form.version}.")
    names = {field.name for field in form.fields}
    if new := sorted(prediction.inputs - names):
        parts.append(f"It also takes {', '.join(new)}, which the form lacks: missing here.")
    if gone := sorted(names - prediction.inputs):
        parts.append(f"It does not take {', '.join(gone)}.")
    return " ".join(parts)


def _said(form: Form, prediction: Prediction) -> tuple[str, str, str]:
    """The answer in large letters, its probability beside it, and a sentence."""
    what = form.label or form.model
    if not prediction.classes:
        value = float(prediction.values[0])
        if not math.isfinite(value):
            return "No number", "", f"The model answered {value} for {what}: it cannot judge this row."
        usual = ""
        if form.usual_error is not None:
            usual = f" On the rows of its evaluation it was off by {format_number(form.usual_error, 3)} on average."
        return format_number(value), "", f"That is what the model expects for {what}.{usual}"
    place = prediction.chosen()
    name, score = prediction.classes[place], float(prediction.values[0, place])
    if not math.isfinite(score):
        return "No answer", "", f"The model answered no probability for {what}: it cannot judge this row."
    likely = "more likely than not" if score > 0.5 else "the likeliest, but no more likely than not"
    share = format_share(score)
    return _YES_NO.get(name, name), share, f"{what} is {name}: {likely}, with a probability of {share}."


def _classes(prediction: Prediction) -> list[tuple[str, float, str]]:
    scored = zip(prediction.classes, (float(score) for score in prediction.values[0]), strict=True)
    drawn = [
        (name, min(max(score, 0), 1) if math.isfinite(score) else 0, format_share(score)) for name, score in scored
    ]
    return sorted(drawn, key=lambda one: -one[1])


def _is_seen(moved: float, prediction: Prediction) -> bool:
    """Whether an effect is larger than what its text would round to nothing."""
    size = 1.0 if prediction.classes else abs(float(prediction.values[0])) or 1.0
    return math.isfinite(moved) and abs(moved) >= 0.0005 * size


def _effects(moving: Sequence[Effect], prediction: Prediction) -> list[dict[str, Any]]:
    most = max((abs(one.moved) for one in moving), default=0) or 1
    drawn = []
    for one in moving:
        width, sign = 50 * abs(one.moved) / most, "+" if one.moved > 0 else "−"  # noqa: RUF001 - as in all numbers
        text = f"{100 * abs(one.moved):.1f} points" if prediction.classes else format_number(abs(one.moved), 3)
        picture = Markup(
            '<svg class="share" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">'
            '<rect class="track" width="100" height="8"/><rect class="{}" x="{:.2f}" width="{:.2f}" height="8"/>'
            '<path class="zero" d="M50 0V8"/></svg>'
        ).format("more" if one.moved > 0 else "less", 50 if one.moved > 0 else 50 - width, width)
        drawn.append(
            {"name": one.name, "value": _short(one.value), "picture": picture, "moved": f"{sign}{text}",
             "instead": _short(one.instead)}
        )  # fmt: skip
    return drawn


def _effects_note(form: Form, prediction: Prediction, moving: Sequence[Effect]) -> str:
    names = {one.name for one in moving}
    what = f"the probability of {prediction.classes[prediction.chosen()]}" if prediction.classes else "the answer"
    unknown = any(field.saw_missing is None for field in form.fields if field.name in names)
    rest = " Whether training had rows without a value is not known; if not, such an answer means little."
    return (
        f"Each bar shows how far its value moves {what}, compared with the one named below it while all others stay."
        f"{rest if unknown else ''}"
    )


def _short(text: str) -> str:
    text = printable(text)
    return text if len(text) <= 60 else f"{text[:60]}…"
