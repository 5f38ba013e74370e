"""Several pictures for a model that takes one each, as rows of a table."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp.web_request import FileField

from serving.predict_page.csv_table import Row, Table
from serving.predict_page.form import Field
from slipway.errors import DataError
from slipway.pages.printable import printable

IMAGE_BYTES = 1 << 20
MAX_PICTURES = 100
PICTURES_BYTES = 8 << 20


def read_picture(field: Field, chosen: FileField) -> list[int]:
    """The values of a chosen file; DataError says what it is instead of a picture of the model."""
    with chosen.file:
        content = chosen.file.read(IMAGE_BYTES + 1)
    if len(content) > IMAGE_BYTES:
        raise DataError(f"a file of more than {IMAGE_BYTES >> 20} MiB; save it smaller")
    return field.read_image(content)


def read_pictures(field: Field, chosen: Sequence[FileField]) -> Table:
    """A row for each file, with its name; DataError if there are none or too many."""
    if not chosen:
        raise DataError("No picture was chosen: choose some files, or drop them into the frame.")
    if len(chosen) > MAX_PICTURES:
        for one in chosen:
            one.file.close()
        raise DataError(f"{len(chosen)} pictures were chosen, and {MAX_PICTURES} are answered at once: choose fewer.")
    return Table(["picture"], [_row(place, field, one) for place, one in enumerate(chosen, 1)], [], "picture")


def _row(place: int, field: Field, chosen: FileField) -> Row:
    cells = [printable(chosen.filename)[:200]]
    try:
        return Row(place, cells, {field.name: read_picture(field, chosen)})
    except DataError as error:
        return Row(place, cells, {}, str(error))
