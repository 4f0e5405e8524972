"""Tables: CSV, TSV, Excel, Parquet."""

from __future__ import annotations

import datetime
import gzip
import io
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from irti_custom import read_records, write_records
from irti_custom.formats.read_write import read_with_report
from tests.formats.strategies import TEXT, fast, round_trip

CELL = TEXT | st.sampled_from(["007", "1.50", "NA", "null", "=1+2", "'x", " a ", "2020-01-01", '"'])


@st.composite
def columns(draw, cell=CELL):
    width, height = draw(st.integers(1, 3)), draw(st.integers(0, 3))
    cells = st.lists(st.none() | cell, min_size=height, max_size=height)
    return [
        {"header": draw(st.none() | cell), "values": draw(cells), "labels": None}
        for _ in range(width)
    ]


@pytest.mark.parametrize("name", ["a.csv", "a.tsv.gz", "a.parquet"])
@given(columns=columns())
@fast
def test_tables_come_back(columns, name, tmp_path):
    table = {"id": "a", "columns": columns}
    assert round_trip([table], tmp_path / name, "auto") == [table]


@given(columns=columns(CELL.filter(lambda cell: "\r" not in cell)))
@fast
def test_workbooks_come_back(columns, tmp_path):
    pytest.importorskip("openpyxl")
    columns[0]["header"] = "first"  # a sheet begins and ends where cells are
    columns[-1]["header"] = "last"
    for column in columns:
        column["values"] = [*column["values"], "end"]
    table = {"id": "a", "columns": columns}
    assert round_trip([table], tmp_path / "a.xlsx", "auto") == [table]


def csv(tmp_path, content, name="people.csv"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_csv_sample(tmp_path):
    content = '\ufeffname,note\r\nAnn,"a, b\r\nc"\r\nBob,\r\n'
    for path in (
        csv(tmp_path, content),
        csv(tmp_path, gzip.compress(content.encode()), "p.csv.gz"),
    ):
        (table,) = read_records(path).to_list()
        assert table["columns"] == [
            {"header": "name", "values": ["Ann", "Bob"], "labels": None},
            {"header": "note", "values": ["a, b\r\nc", None], "labels": None},
        ]
    assert read_records(csv(tmp_path, content))[0]["id"] == "people"
    (table,) = read_records(csv(tmp_path, "Ann;7\nBob;8\n"), header=False, delimiter=";").to_list()
    assert [column["values"] for column in table["columns"]] == [["Ann", "Bob"], ["7", "8"]]
    assert [column["header"] for column in table["columns"]] == [None, None]


BROKEN = {
    "short row": ("a,b\n1\n", "line 2: All rows must have as many cells, got 1 after 2"),
    "open quote": ('a,b\n"1,2\n', "line 2: It must be CSV: unexpected end of data"),
    "semicolons": ("a;b\n1;2\n", "';' may divide, as well as ',', in .* 'a;b'. Pass `delimiter`"),
    "decimal commas": ("a;b\n1,5;2\n", "';' may divide, as well as ','.* Pass `delimiter`"),
    "as many commas": ("a, b;c\n1,5;2\n", "';' may divide, as well as ','.* Pass `delimiter`"),
    "tabs": ("a\tb\n1\t2\n", r"'\\t' may divide, as well as ','.* Pass `delimiter`"),
    "other rows": ("a,b\n1;2\n", "line 2: .* got 1 after 2.* Pass `delimiter` if it is not ','"),
    "named": ("sep=;\na;b\n1\n", "line 3: All rows must have as many cells, got 1 after 2"),
    "utf-16": ("a,b\n".encode("utf-16"), "must be text, got a file that is UTF-16. Save it as UTF"),
    "no mark": ("a,b\n".encode("utf-16-le"), "must be text, got a file that is UTF-16 or UTF-32"),
    "xls": (b"\xd0\xcf\x11\xe0\xa1\xb1", r"an old \(\.xls\) or protected file of Office. Save it"),
    "zip": (b"PK\x03\x04text", "a zip archive, as .ods is, too. Unpack it, or save it as .xlsx"),
    "parquet": (b"PAR1\x15\x04", "a Parquet file. Give it a name that ends in .parquet"),
    "empty": ("", "must hold a table, and it has no cells"),
    "latin-1": (b"a\n\xc4\n", "line 2: The file must be UTF-8"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_csv_has_a_line(tmp_path, case):
    content, message = BROKEN[case]
    with pytest.raises(ValueError, match=message):
        read_records(csv(tmp_path, content), on_error="skip")


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        ("\n\na,b\n\n1,2\n   \n\n", [["a", "b"], ["1", "2"]]),
        ("sep=;\r\na;b\r\n1,5;2\r\n", [["a", "b"], ["1,5", "2"]]),
        ("\ufeffsep=\t\na,\tb\n1\t2\n", [["a,", "b"], ["1", "2"]]),
        ('"a;b",c\n1,2\n', [["a;b", "c"], ["1", "2"]]),
        ('"a;\nb",c\n1,2\n', [["a;\nb", "c"], ["1", "2"]]),
        ("size (cm|in),b\n1,2\n", [["size (cm|in)", "b"], ["1", "2"]]),
    ],
)
def test_csv_as_people_have_it(tmp_path, content, rows):
    read, report = read_with_report(csv(tmp_path, content))
    columns = read[0]["columns"]
    assert [[c["header"], *c["values"]] for c in columns] == [list(c) for c in zip(*rows)]
    blank = sum(not line.strip() for line in content.splitlines())
    assert report.notes == ({"empty line left out": blank} if blank else {})
    assert not report.lossy


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        ('w\tn\n"\t1\nAnn\t2\n"\t3\n', ['"', "Ann", '"']),
        ('w\tn\nAnn\t2\n"\t3\n', ["Ann", '"']),
        ('w\tn\n"a\t1\nb"\t2\n', ['"a', 'b"']),
        ('w\n"\nAnn\n"\n', ['"', "Ann", '"']),
        ('w\tn\n"a\nb"\t2\n', ["a\nb"]),  # these quote
        ('w\tn\n"a\tb"\t2\n', ["a\tb"]),
        ('"w"\t"n"\n"a\tb\nc"\t2\n', ["a\tb\nc"]),
    ],
)
def test_a_quotation_mark_in_a_tsv_swallows_no_lines(tmp_path, content, rows):
    path = csv(tmp_path, content, "a.tsv")
    read, report = read_with_report(path, "csv")
    assert read[0]["columns"][0]["values"] == rows
    assert bool(report.notes) == any('"' in row for row in rows)


def test_tab_separated_words_with_tags_are_no_table(tmp_path):
    path = csv(tmp_path, "Ann\tB-PER\nsaw\tO\n", "a.tsv")
    assert read_records(path)["text"][:] == ["Ann saw"]
    assert "columns" in read_records(path, "csv").column_names


def test_what_a_table_file_cannot_hold_raises_or_is_counted(tmp_path):
    path = tmp_path / "a.csv"
    column = {"header": "x", "values": ["1", ""], "labels": ["number"]}
    table = {"id": "t", "title": "numbers", "columns": [column]}
    with pytest.raises(ValueError, match=r"holds no labels, got \['number'\]. format='jsonl' does"):
        write_records([table], path)
    report = write_records([table], path, on_error="skip")
    assert report.skipped == {"labels of a column": 1, "empty text": 1}
    assert report.notes == {"id not kept": 1, "title not kept": 1}
    other = {"header": "y", "values": [], "labels": None}
    with pytest.raises(ValueError, match=r"All columns must have as many values, got \[0, 2\]"):
        write_records([{"columns": [column, other]}], path)
    for records in ([table] * 2, [{"text": "a", "spans": []}], [{"columns": []}]):
        with pytest.raises(ValueError, match="one table with columns, or records of fields, got"):
            write_records(records, path)
    with pytest.raises(ValueError, match="`delimiter` must be one character"):
        read_records(path, delimiter="::")
    with pytest.raises(ValueError, match=r"`header` must be one of \(True, False\)"):
        read_records(path, header="first")


def test_parquet_columns_of_many_types(tmp_path):
    path = tmp_path / "a.parquet"
    table = {
        "int": [7, None],
        "float": [1.5, float("nan")],
        "bool": [True, False],
        "date": [datetime.date(2020, 1, 31), None],
        "": ["x", ""],
    }
    pq.write_table(pa.table(table), path)
    read = read_records(path)[0]["columns"]
    assert [column["values"] for column in read] == [
        ["7", None],
        ["1.5", None],
        ["True", "False"],
        ["2020-01-31", None],
        ["x", None],
    ]
    assert read[-1]["header"] is None
    pq.write_table(pa.table({"spans": [[1]]}), path)
    with pytest.raises(ValueError, match=r"row 0 of 'spans': A cell must be text, a number or a"):
        read_records(path)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match="must be a Parquet file, which it is not"):
        read_records(path)


def test_workbook_with_formulas_dates_and_sheets(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    path = tmp_path / "a.xlsx"
    book = openpyxl.Workbook()
    for row in (["n", "day"], [7, datetime.datetime(2020, 1, 31)], [1.5, None]):
        book.active.append(row)
    book.create_sheet("empty")
    book.save(path)
    (table,) = read_records(path).to_list()
    assert [c["values"] for c in table["columns"]] == [["7", "1.5"], ["2020-01-31 00:00:00", None]]
    book["empty"].append(["=1+2"])
    book["empty"].merge_cells("A1:B2")
    book.save(path)
    with pytest.raises(ValueError, match=r"got \['Sheet', 'empty'\]. `sheet` names it"):
        read_records(path)
    with pytest.raises(ValueError, match=r"`sheet` must be one of \['Sheet', 'empty'\]"):
        read_records(path, sheet="x")
    with pytest.raises(ValueError, match="empty!A1: A formula must have its value stored"):
        read_records(path, sheet="empty", header=False)
    report = read_with_report(path, sheet="empty", header=False, on_error="skip").report
    assert report.skipped == {"formula without a value": 1}
    assert report.notes == {
        "merged cells, read as the first of them": 1,
        "empty row around the table left out": 1,
    }


DAMAGE = {
    "no XML": ("xl/worksheets/sheet1.xml", b"<worksheet", b"<worksheet <"),
    "many digits": ("xl/worksheets/sheet1.xml", b"<v>7</v>", b"<v>" + b"7" * 5000 + b"</v>"),
    "no string": ("xl/worksheets/sheet1.xml", b'<c r="A2"', b'<c r="A2" t="s"'),
    "row far away": ("xl/worksheets/sheet1.xml", b'<row r="2"', b'<row r="99999999999"'),
    "encoding": ("xl/workbook.xml", b"<workbook", b'<?xml version="1.0" encoding="x9"?><workbook'),
    "no sheet": ("xl/workbook.xml", b"<sheets>", b"<sheets></sheets><sheets2>"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_a_workbook_that_is_damaged_inside_is_named(tmp_path, case):
    openpyxl = pytest.importorskip("openpyxl")
    book, content = openpyxl.Workbook(), io.BytesIO()
    for value in ("a", 7):
        book.active.append([value])
    book.save(content)
    part, before, after = DAMAGE[case]
    with zipfile.ZipFile(content) as whole, zipfile.ZipFile(tmp_path / "a.xlsx", "w") as damaged:
        for name in whole.namelist():
            xml = whole.read(name)
            assert name != part or before in xml
            damaged.writestr(name, xml.replace(before, after) if name == part else xml)
    with pytest.raises(
        ValueError, match=r"a\.xlsx must be an Excel workbook.*Was it written whole"
    ):
        read_records(tmp_path / "a.xlsx")


def test_a_sheet_begins_and_ends_where_its_cells_are(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    book, path = openpyxl.Workbook(), tmp_path / "a.xlsx"
    for row, column, value in ((3, 2, "a"), (3, 4, "b"), (4, 2, "1"), (6, 4, "2")):
        book.active.cell(row, column, value)
    for place in ("F4", "B9"):  # formatted, and without a value
        book.active[place].font = openpyxl.styles.Font(bold=True)
    book.save(path)
    read, report = read_with_report(path)
    values = [[column["header"], *column["values"]] for column in read[0]["columns"]]
    assert values == [["a", "1", None, None], [None] * 4, ["b", None, None, "2"]]
    assert report.notes == {
        "empty row around the table left out": 5,
        "empty column around the table left out": 3,
    }


def test_a_stray_cell_far_away_does_not_fill_the_memory(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    book, path = openpyxl.Workbook(), tmp_path / "a.xlsx"
    book.active["A1"] = "a"
    book.active["XFD1048576"].font = openpyxl.styles.Font(bold=True)
    book.active["XFD1048576"].value = None
    book.save(path)
    assert read_records(path)[0]["columns"] == [{"header": "a", "values": [], "labels": None}]


def test_workbook_that_is_none_and_cells_that_are_none(tmp_path):
    pytest.importorskip("openpyxl")
    path = csv(tmp_path, "a,b", "a.xlsx")
    with pytest.raises(ValueError, match=r"must be an Excel workbook, \.xlsx, which it is not"):
        read_records(path)
    for cell in ("a\x00", "a\r", "a" * 32768):
        with pytest.raises(ValueError, match="at most 32767 characters, and no control characters"):
            write_records([{"columns": [{"header": "x", "values": [cell]}]}], path)
