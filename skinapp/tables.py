"""CSV tables of any kind: a reader that handles any common separator, encoding, decimal mark and header, and a writer
for downloads."""

import codecs
import csv
import io
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

import pandas as pd

from skinapp.errors import DataError

SEPARATORS = (",", ";", "\t", "|")
HEAD = 20_000
"""Characters that are read to guess the separator and the decimal mark."""
HEAD_ROWS = 20
LONGEST_HEADER = 1_000_000
"""Characters of the first line that are read to name the columns."""
MAX_COLUMNS = 5_000
"""With more columns, a page would be busy for minutes."""
BLOCK = 1024**2
"""Bytes of a file that are examined at a time."""
CHUNK_ROWS = 4096
UNREADABLE = (pd.errors.ParserError, pd.errors.EmptyDataError, ValueError, csv.Error)
"""What pandas raises for a file that is not a table."""
ARCHIVES = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
"""The first bytes of zip files, the format of current spreadsheets, and of older Excel files."""
FORMULA = re.compile(r"(^\s*|[;,\t\r\n|\"])(?=[=+\-@\uff1d\uff0b\uff0d\uff20])")
"""The position before anything that a spreadsheet program would evaluate: at the start of a cell, or of a part that a
program with another separator would take for a cell."""
FIGURES = re.compile(r"([-+\d.,%()\s]|to\b)*")
"""Numbers and intervals, which are not formulas even if they begin with a sign."""
DECIMAL_COMMA, DECIMAL_POINT = (re.compile(rf"\s*[-+]?\d*{mark}\d+([eE][-+]?\d+)?\s*") for mark in (",", r"\."))


def read(
    content: bytes,
    name: str = "The file",
    *,
    text: Collection[str] | None = None,
    required: Sequence[str] = (),
    unique: str | None = None,
    max_rows: int | None = None,
    has_header: Callable[[list[str]], bool] = lambda cells: True,
) -> pd.DataFrame:
    """The bytes of a CSV -> its table, one row per line.

    Separated by comma, semicolon, tab or bar; in UTF-8 with or without a byte order mark, UTF-16 with one, or Latin-1;
    with decimal points or commas. Extra spaces in column names are removed; a repeated name gets a number, a missing
    one becomes "Column 3".

    Without `text` every cell is text, "" if it is empty. With `text`, the columns that it names are text, and the
    others numbers or booleans where all their cells are; empty cells are NaN. `has_header` takes the cells of the
    first line; where it returns False, that line is data and the columns are "Column 1" and so on.

    DataError, with a message beginning with `name`, if the content is empty, not text, damaged, has no rows or more
    than `max_rows`, has more than MAX_COLUMNS columns, lacks a `required` column, or has a repeated value in the column
    `unique`.
    """
    decoded = _decoded(content, name)
    rows, separator = _head(decoded)
    _check_width(rows[0], name)
    header = has_header(rows[0])
    columns = _columns(rows if header else [[], *rows])
    try:
        table = pd.read_csv(
            io.StringIO(decoded),
            sep=separator,
            decimal="," if text is not None and _decimal_comma(rows) else ".",
            names=columns,
            header=0 if header else None,
            dtype=str if text is None else {column: str for column in columns if column in (text or ())},
            keep_default_na=text is not None,
            na_filter=text is not None,
            index_col=False,
            skipinitialspace=True,
            nrows=None if max_rows is None else max_rows + 1,
        )
    except UNREADABLE as error:
        raise _unreadable(name, error) from None
    if max_rows is not None and len(table) > max_rows:
        raise DataError(f"{name} has more than {max_rows:,} rows. Use part of it.")
    if table.empty:
        raise DataError(f"{name} has a header but no rows. Add at least one row.")
    if header:
        table = _named(table, len(rows[0]), name)
    require(table, required, name)
    if unique is not None and (twice := table[unique].duplicated()).any():
        raise DataError(f"{name} lists an image twice: {table.loc[twice, unique].iloc[0]}.")
    return table


def read_file(
    path: Path,
    *,
    text: Collection[str] | None = None,
    required: Sequence[str] = (),
    unique: str | None = None,
    remedy: str = "",
) -> pd.DataFrame:
    """The table in a file, see `read`. DataError as there, and if the file is missing or cannot be opened; `remedy`
    then says what to do."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"There is no table {path}{'; ' * bool(remedy)}{remedy}.") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}).") from None
    return read(content, str(path), text=text, required=required, unique=unique)


def chunks(path: Path, *, required: Sequence[str] = ()) -> Iterator[pd.DataFrame]:
    """The table in a file, CHUNK_ROWS rows at a time, so that its size does not matter; every cell is text, and
    everything else is as in `read`. DataError as for `read_file`, raised when the faulty rows are reached."""
    try:
        with path.open("rb") as stream:
            start = stream.read(BLOCK)
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}).") from None
    _decoded(start, str(path))
    encoding = _encoding(path, start)
    rows, separator = _head(start.decode(encoding, errors="replace"))
    _check_width(rows[0], str(path))
    empty = True
    try:
        reader = pd.read_csv(
            path,
            sep=separator,
            names=_columns(rows),
            header=0,
            dtype=str,
            keep_default_na=False,
            na_filter=False,
            index_col=False,
            skipinitialspace=True,
            encoding=encoding,
            encoding_errors="replace",
            chunksize=CHUNK_ROWS,
        )
        with reader:
            for table in reader:
                if not table.empty:
                    empty = False
                    table = _named(table, len(rows[0]), str(path))
                    require(table, required, str(path))
                    yield table
    except UNREADABLE as error:
        raise _unreadable(str(path), error) from None
    if empty:
        raise DataError(f"{path} has a header but no rows. Add at least one row.")


def downloadable(table: pd.DataFrame) -> str:
    """The text of a CSV for use in a spreadsheet: an apostrophe keeps cells and column names that begin like a formula
    from being evaluated."""

    def guarded(cell: object) -> object:
        return FORMULA.sub(r"\1'", cell) if isinstance(cell, str) and not FIGURES.fullmatch(cell) else cell

    safe = table.rename(columns=guarded)
    for position, kind in enumerate(table.dtypes):
        if not pd.api.types.is_numeric_dtype(kind):
            safe.isetitem(position, table.iloc[:, position].map(guarded).to_list())
    return safe.to_csv(index=False)


def require(table: pd.DataFrame, columns: Sequence[str], name: str) -> None:
    """DataError if the table lacks one of the columns; the message lists those that it has."""
    missing = [column for column in columns if column not in table.columns]
    if missing:
        plural = "s" * (len(missing) > 1)
        raise DataError(f"{name} lacks the column{plural} {', '.join(missing)}; it has {', '.join(table.columns)}.")


def _columns(rows: list[list[str]]) -> list[str]:
    """A name for every column, as the first of these rows names it; the next may have more cells."""
    return _names([*rows[0], *[""] * (max(map(len, rows[:2])) - len(rows[0]))])


def _named(table: pd.DataFrame, columns: int, name: str) -> pd.DataFrame:
    """The columns that the header names. DataError if the others, as of rows that end with a separator, are not
    empty."""
    surplus = table.iloc[:, columns:]
    if any((cells.notna() & (cells != "")).any() for _, cells in surplus.items()):
        raise DataError(
            f"{name} has rows with more cells than its header. Put cells that contain a separator into quotation marks."
        )
    return table.iloc[:, :columns]


def _check_width(cells: list[str], name: str) -> None:
    if len(cells) > MAX_COLUMNS:
        raise DataError(f"{name} has more than {MAX_COLUMNS:,} columns. Keep only those that are needed.")


def _unreadable(name: str, error: Exception) -> DataError:
    match = re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", str(error))
    where = f": line {match[2]} has {match[3]} cells where {match[1]} are expected" if match else ""
    return DataError(f"{name} cannot be read as a table{where}. Save it as a CSV again.")


def _encoding(path: Path, start: bytes) -> str:
    """The encoding of a file that begins with `start`, as `_decoded` finds it."""
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    try:
        with path.open("rb") as stream:
            while block := stream.read(BLOCK):
                decoder.decode(block)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8-sig"


def _decoded(content: bytes, name: str) -> str:
    if not content.strip():
        raise DataError(f"{name} is empty. Choose another one.")
    if content[:4] in ARCHIVES:
        raise DataError(f"{name} is an Excel file or an archive. Save the sheet as CSV and use that.")
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        decoded = content.decode("utf-16", errors="replace")
    elif b"\0" in content[:4096]:
        raise DataError(f"{name} is not a text file. Save the table as CSV and use that.")
    else:
        try:
            decoded = content.decode("utf-8-sig")
        except UnicodeDecodeError:
            # every byte is valid Latin-1, so the table is read even if some letters come out wrong
            decoded = content.decode("cp1252", errors="replace")
    if not decoded.strip():
        raise DataError(f"{name} is empty. Choose another one.")
    return decoded


def _head(decoded: str) -> tuple[list[list[str]], str]:
    """The cells of the first lines, and the separator with which most lines have as many cells as the first."""
    # the complete first line, since it names the columns
    size = min(max(HEAD, decoded.find("\n") + 1 or len(decoded)), LONGEST_HEADER)
    lines = decoded[:size].splitlines(keepends=True)
    if len(decoded) > size and len(lines) > 1:
        lines.pop()
    head = "".join(lines[:HEAD_ROWS])

    def cells(separator: str) -> list[list[str]]:
        rows = csv.reader(io.StringIO(head), delimiter=separator, skipinitialspace=True)
        try:
            return [row for row in rows if row]
        except csv.Error:  # cells as long as a page: this is not the separator
            return [[head]]

    def fit(separator: str) -> tuple[bool, float, int, bool]:
        sizes = [len(row) for row in cells(separator)]
        # decimal numbers contain commas too, so another separator that fits equally well is the better guess
        return sizes[0] > 1, sizes.count(sizes[0]) / len(sizes), sizes[0], separator != ","

    several = [separator for separator in SEPARATORS if fit(separator)[0]]
    separator = max(several, key=fit) if several else ","
    return cells(separator), separator


def _decimal_comma(rows: list[list[str]]) -> bool:
    cells = [cell for row in rows for cell in row]
    return any(map(DECIMAL_COMMA.fullmatch, cells)) and not any(map(DECIMAL_POINT.fullmatch, cells))


def _names(cells: list[str]) -> list[str]:
    """Unique column names, without extra blanks."""
    names: dict[str, int] = {}
    """The number for the next repetition of each name."""
    for number, cell in enumerate(cells, start=1):
        name = plain = " ".join(cell.split()) or f"Column {number}"
        while name in names:
            name, names[plain] = f"{plain} ({names[plain]})", names[plain] + 1
        names[name] = 2
    return list(names)
