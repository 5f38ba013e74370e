"""Reads a posted form into the row that it stands for."""

from __future__ import annotations

from aiohttp.web_request import FileField

from serving.predict_page.form import Field, Form, Value
from serving.predict_page.page import FILE, OTHER
from serving.predict_page.pictures import read_picture
from serving.protocol.sites import Posted
from slipway.errors import DataError


def row_of(form: Form, posted: Posted) -> tuple[dict[str, str], dict[str, Value], dict[str, str]]:
    """The texts of the fields, to fill the form with again; the row that they stand for; what is wrong, by field."""
    texts: dict[str, str] = {}
    wrong: dict[str, str] = {}
    for field in form.fields:
        text, other = text_of(posted, field.name), text_of(posted, f"{OTHER}:{field.name}")
        if text == OTHER:
            text = other
        elif other and other != text:
            wrong[field.name] = f"is {text or 'missing'} in the list, and {other[:60]!r} beside it: leave one of them"
        if field.is_image:
            try:
                text = _chosen_image(field, posted) or text
            except DataError as error:
                wrong[field.name] = f"is {error}"
        texts[field.name] = text
    row, problems = form.read(texts)
    return texts, row, problems | wrong


def _chosen_image(field: Field, posted: Posted) -> str:
    """The picture that was chosen, as a text of the field; empty without one."""
    chosen = files_of(posted, field)
    return field.write(read_picture(field, chosen[0])) if chosen else ""


def files_of(posted: Posted, field: Field) -> list[FileField]:
    """The files that were chosen for a field; a browser sends one without a name where none was."""
    chosen = posted.getall(f"{FILE}:{field.name}", [])
    return [one for one in chosen if isinstance(one, FileField) and one.filename]


def text_of(posted: Posted, name: str) -> str:
    """A field's text, with the line ends that it had before a browser sent it; empty if not posted, or if a file."""
    value = posted.get(name, "")
    return value.replace("\r\n", "\n") if isinstance(value, str) else ""


def whole_of(text: str) -> int:
    """The number of a row; 0 where the text is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 6 else 0
