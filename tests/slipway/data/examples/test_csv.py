"""CSV as people really have it."""

from __future__ import annotations

import gzip
import random
from pathlib import Path

import pytest

from slipway.data.examples.dataset import SPLITS, open_split
from slipway.errors import DataError
from tests.slipway.data.examples.ingesting import ingest, numbered


def _write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data.csv"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "examples"


def test_ingest_empty_file_names_the_file(data: Path, out: Path) -> None:
    _write(data, "")
    with pytest.raises(DataError, match=r"data\.csv: the file is empty"):
        ingest(data, out)


def test_ingest_header_only_says_that_there_are_no_rows(data: Path, out: Path) -> None:
    _write(data, "id,x,y\n")
    with pytest.raises(DataError, match=r"data\.csv: there are columns, but no rows"):
        ingest(data, out)


def test_ingest_missing_label_column_lists_the_columns(data: Path, out: Path) -> None:
    _write(data, numbered(20))
    with pytest.raises(DataError, match=r"label\.column .* 'yy', but .*data\.csv.*did you mean y\?.*id, x, y"):
        ingest(data, out, label="yy")


def test_ingest_missing_column_of_the_label_expression_is_named(data: Path, out: Path) -> None:
    _write(data, numbered(20))
    with pytest.raises(DataError, match=r"`tips > x`, uses 'tips', but .*data\.csv has no such column.*id, x, y"):
        ingest(data, out, label={"column": "big", "expression": "tips > x"})


def test_ingest_broken_label_expression_quotes_it(data: Path, out: Path) -> None:
    _write(data, numbered(20))
    with pytest.raises(DataError, match=r"label\.expression of module\.yaml, `x >`, cannot be evaluated"):
        ingest(data, out, label={"column": "big", "expression": "x >"})


def test_ingest_misspelt_training_only_column_is_refused(data: Path, out: Path) -> None:
    _write(data, numbered(20))
    with pytest.raises(DataError, match=r"label\.training_only of module\.yaml is 'X2'"):
        ingest(data, out, label={"column": "y", "training_only": ["X2"]})


@pytest.mark.parametrize("header", ["id,x,y,x", "id,x,y,X"])
def test_ingest_duplicate_column_name_gives_both_positions(data: Path, out: Path, header: str) -> None:
    _write(data, numbered(20, header=header, line="{0},1,1,2"))
    with pytest.raises(DataError, match=r"'[xX]' occurs twice, in columns 2 and 4"):
        ingest(data, out)


def test_ingest_column_without_a_name_is_refused(data: Path, out: Path) -> None:
    _write(data, ",x,y\n0,1,1\n")
    with pytest.raises(DataError, match="column 1 has no name"):
        ingest(data, out)


def test_ingest_ragged_rows_go_to_quarantine_with_their_line(data: Path, out: Path) -> None:
    lines = numbered(400).splitlines()
    lines[100], lines[200], lines[300] = "99,1", "199,1,1,7", ""
    _write(data, "\n".join(lines) + "\n")
    ingested = ingest(data, out)
    assert [(bad["line"], bad["reason"], bad["raw"]) for bad in ingested.quarantine()] == [
        (101, "2 fields where the header has 3", "99,1"),
        (201, "4 fields where the header has 3", "199,1,1,7"),
    ]
    assert ingested.rows.read == 399
    assert ingested.rows.quarantined == 2
    assert ingested.column("id") == [n for n in range(400) if n not in (99, 199, 299)]


def test_ingest_too_many_bad_rows_are_an_anomaly_that_shows_the_first(data: Path, out: Path) -> None:
    lines = numbered(100).splitlines()
    lines[10] = lines[20] = lines[30] = lines[40] = "1,2"
    _write(data, "\n".join(lines) + "\n")
    ingested = ingest(data, out)
    [said] = ingested.refusals()
    assert "4 of 100 rows (4.00%) could not be read; the limit is 1.00%" in said
    assert f"{data}:11: 2 fields where the header has 3" in said
    assert f"{data}:41" not in said
    assert (len(ingested.quarantine()), ingested.rows.quarantined) == (4, 4)
    below = ingest(data, out, limit=0.04)
    assert below.refusals() == []
    [warning] = below.findings()
    assert warning.rows == below.rows.quarantined
    assert below.quarantine()[0]["reason"] in warning.description


def test_ingest_of_no_readable_row_is_an_anomaly_too(data: Path, out: Path) -> None:
    _write(data, "id,x,y\n" + "1,2\n" * 50)
    ingested = ingest(data, out)
    assert (ingested.rows.quarantined, ingested.rows.train, ingested.rows.eval) == (50, 0, 0)
    assert "50 of 50 rows (100.00%)" in ingested.refusals()[0]


def test_ingest_bad_utf8_is_one_bad_row(data: Path, out: Path) -> None:
    lines = numbered(200, line="{0},ä{0},1").encode("utf-8").splitlines()
    lines[50] = b"49,\xff\xfe,1"
    _write(data, b"\n".join(lines))
    ingested = ingest(data, out)
    (bad,) = ingested.quarantine()
    assert (bad["line"], bad["reason"]) == (51, "byte 4 of the row, 0xff, is not UTF-8")
    assert ingested.column("x")[48] == "ä48"


def test_ingest_utf16_says_so(data: Path, out: Path) -> None:
    _write(data, numbered(20).encode("utf-16"))
    with pytest.raises(DataError, match=r"data\.csv: the file is UTF-16; save it as UTF-8"):
        ingest(data, out)


def test_ingest_bom_and_crlf_change_nothing(tmp_path: Path) -> None:
    plain = ingest(_write(tmp_path / "a.csv", numbered(50)), tmp_path / "a")
    windows = b"\xef\xbb\xbf" + numbered(50).replace("\n", "\r\n").encode()
    other = ingest(_write(tmp_path / "b.csv", windows), tmp_path / "b")
    assert other.manifest.digest == plain.manifest.digest


def test_ingest_mixed_line_ends_are_read(data: Path, out: Path) -> None:
    lines = numbered(50).splitlines()
    _write(data, "\n".join(lines[:20]) + "\r\n" + "\r\n".join(lines[20:]) + "\n")
    ingested = ingest(data, out)
    assert ingested.column("id") == list(range(50))
    assert ingested.rows.quarantined == 0


def test_ingest_quoted_newlines_are_part_of_the_value(data: Path, out: Path) -> None:
    _write(data, numbered(60, line='{0},"first ""{0}"",\nsecond",1'))
    ingested = ingest(data, out)
    assert ingested.column("x")[7] == 'first "7",\nsecond'
    assert ingested.rows.read == 60


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("bad", ["", "1,2,3"])
def test_ingest_name_with_a_newline_is_a_name(data: Path, out: Path, end: str, bad: str) -> None:
    lines = ['"a\nb",y', "5,1", "6,0", *filter(None, [bad])]  # Excel writes LF in a cell, CRLF behind a row
    _write(data, "".join(line + end for line in lines).encode())
    ingested = ingest(data, out)
    assert (ingested.rows.read, ingested.rows.quarantined) == (2 + bool(bad), bool(bad))
    assert sorted(ingested.column("a\nb")) == [5, 6]


def test_ingest_name_with_a_quote_inside_is_a_name(data: Path, out: Path) -> None:
    _write(data, 'tall",y\n5,1\n1,2,3\n6,0\n')
    ingested = ingest(data, out)
    assert (ingested.rows.read, ingested.rows.quarantined) == (3, 1)
    assert sorted(ingested.column('tall"')) == [5, 6]


def test_ingest_stray_quote_loses_one_row_only(data: Path, out: Path) -> None:
    lines = numbered(1000, line='{0},"text, {0}",1').splitlines()
    lines[500] = '499,"text,1'
    _write(data, "\n".join(lines) + "\n")
    ingested = ingest(data, out)
    assert [bad["line"] for bad in ingested.quarantine()] == [501]
    assert ingested.rows.read == 1000
    assert ingested.column("id") == [n for n in range(1000) if n != 499]


def test_ingest_line_numbers_count_lines_not_rows(data: Path, out: Path) -> None:
    lines = numbered(300, line='{0},"a\nb",1').splitlines()
    _write(data, "\n".join(lines) + "\n7,8\n")
    (bad,) = ingest(data, out).quarantine()
    assert bad["line"] == 602


def test_ingest_file_cut_in_a_row_says_that_it_ends_there(data: Path, out: Path) -> None:
    _write(data, numbered(150) + "150,0")
    (bad,) = ingest(data, out).quarantine()
    assert bad["reason"] == "2 fields where the header has 3; the file ends in this row"
    assert bad["line"] == 152


def test_ingest_file_cut_in_a_quote_says_which_field(data: Path, out: Path) -> None:
    _write(data, numbered(150, line='{0},"x, {0}",1') + '150,"x, 1')
    (bad,) = ingest(data, out).quarantine()
    assert bad["reason"] == "the quote that opens field 2 is not closed; the file ends in this row"


def test_ingest_gzip_and_several_files_are_one_table(tmp_path: Path, out: Path) -> None:
    lines = numbered(90).splitlines()
    for part in range(3):
        content = "\n".join([lines[0], *lines[1 + 30 * part : 31 + 30 * part]]) + "\n"
        (tmp_path / f"part{part}.csv.gz").write_bytes(gzip.compress(content.encode()))
    whole = ingest(_write(tmp_path / "whole.csv", numbered(90)), tmp_path / "whole")
    assert ingest(tmp_path / "part*.csv.gz", out).manifest.digest == whole.manifest.digest


def test_ingest_truncated_gzip_fails(tmp_path: Path, out: Path) -> None:
    packed = gzip.compress(numbered(5000).encode())
    (tmp_path / "data.csv.gz").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(DataError, match=r"data\.csv\.gz: the gzip file is damaged or cut"):
        ingest(tmp_path / "data.csv.gz", out)


def test_ingest_files_with_other_columns_meet_by_name(tmp_path: Path, out: Path) -> None:
    _write(tmp_path / "1.csv", numbered(30))
    _write(tmp_path / "2.csv", "y,id,z\n" + "".join(f"1,{n},new\n" for n in range(30, 60)))
    ingested = ingest(tmp_path / "*.csv", out)
    assert ingested.column("id") == list(range(60))
    assert ingested.column("z") == [None] * 30 + ["new"] * 30
    assert ingested.column("x")[30:] == [None] * 30


def test_ingest_bad_row_of_the_second_file_names_it(tmp_path: Path, out: Path) -> None:
    _write(tmp_path / "1.csv", numbered(200))
    _write(tmp_path / "2.csv", "y,id,x\n" + "".join(f"1,{n},{n}.5\n" for n in range(200, 300)) + "1,2\n")
    ingested = ingest(tmp_path / "*.csv", out)
    (bad,) = ingested.quarantine()
    assert (bad["file"], bad["line"]) == (str(tmp_path / "2.csv"), 102)
    assert ingested.column("x") == [n + 0.5 for n in range(300)]


def test_ingest_file_gone_since_it_was_resolved_is_named(data: Path, out: Path) -> None:
    from slipway.data.examples.ingest import IngestConfig, ingest_source
    from slipway.data.examples.source import locate

    source = locate(str(_write(data, numbered(20))), 1)
    data.unlink()
    config = IngestConfig.model_validate(
        {"task": "binary", "label": {"column": "y"}, "split": {"method": "hash"}, "ingestion": {}}
    )
    with pytest.raises(DataError, match=r"data\.csv: the file was there"):
        ingest_source(source, config, None, out)


def test_ingest_poisoned_file_accounts_for_every_row(data: Path, out: Path) -> None:
    """DuckDB alone loses thousands of rows behind a stray quote without a word."""
    dice = random.Random(5)
    lines = numbered(60_000, line='{0},"a, {0}",1').splitlines()
    poison = ['{0},"open,1', "{0}", "{0},a,1,2", "x{0},a,1", '{0},"a"b,1']
    where = dice.sample(range(1, len(lines)), 50)
    for line in where:
        lines[line] = dice.choice(poison).format(line - 1)
    _write(data, "\n".join(lines) + "\n")
    ingested = ingest(data, out)
    assert sorted(bad["line"] for bad in ingested.quarantine()) == sorted(line + 1 for line in where)
    assert ingested.rows.read == 60_000
    kept = set(range(60_000)) - {line - 1 for line in where}
    assert ingested.column("id") == sorted(kept)


def test_ingest_lines_that_end_with_cr_are_read_if_they_are_sound(data: Path, out: Path) -> None:
    _write(data, numbered(50).replace("\n", "\r"))
    assert ingest(data, out).column("id") == list(range(50))
    _write(data, (numbered(50) + "1\n").replace("\n", "\r"))
    with pytest.raises(DataError, match="use LF or CRLF"):
        ingest(data, out)


@pytest.mark.parametrize("value", ["x" * 3_000_000, '"' + "x" * 3_000_000 + '"'])
def test_ingest_endless_row_is_one_bad_row(data: Path, out: Path, value: str) -> None:
    _write(data, numbered(150, line="{0},a,1") + f"150,{value},1\n")
    (bad,) = ingest(data, out).quarantine()
    assert (bad["line"], bad["reason"]) == (152, "the row is longer than 1,048,576 bytes")
    assert len(bad["raw"]) == 1000


def test_ingest_label_expression_that_fails_on_a_row_says_so(data: Path, out: Path) -> None:
    _write(data, numbered(50, line="{0},a{0},1"))
    with pytest.raises(DataError, match=r"Could not convert string 'a0'.*TRY_CAST"):
        ingest(data, out, label={"column": "z", "expression": "CAST(x AS INTEGER)"})


@pytest.mark.parametrize(
    "schema",
    [pytest.param("", marks=pytest.mark.slow), 'feature { name: "id" type: INT } feature { name: "b" type: INT }'],
)
def test_ingest_big_file_keeps_the_order_of_its_rows(data: Path, tmp_path: Path, schema: str) -> None:
    """More than one block, so that more than one thread reads: the same bytes each time, in the file's order."""
    text = "x" * 200
    with data.open("w", encoding="utf-8") as file:
        file.write("id,x,b,y\n")
        file.writelines(f"{number},{text},{'true' if number % 3 else 'false'},1\n" for number in range(200_000))
    first, second = ingest(data, tmp_path / "a", schema=schema), ingest(data, tmp_path / "b", schema=schema)
    assert first.manifest.digest == second.manifest.digest
    for split in SPLITS:
        ids = open_split(first.path, split).to_table(columns=["id"]).column(0).to_numpy()
        assert (ids[1:] > ids[:-1]).all()
