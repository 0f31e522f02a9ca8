"""The tables that a PLY file consists of."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

_TYPES = {
    **{"char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4"},
    **{"int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4"},
    **{"float": "f4", "double": "f8", "float32": "f4", "float64": "f8"},
}
_ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}


@dataclass
class Table:
    """One element of a file.

    Attributes:
        name: of the element.
        count: rows.
        properties: name, type of the length if it is a list, and type of each column.
        columns: those that are no lists.
        lists: the lengths of the lists in a column, and the items of all of them in a row.
    """

    name: str
    count: int
    properties: list[tuple[str, str | None, str]] = field(default_factory=list)
    columns: dict[str, np.ndarray] = field(default_factory=dict)
    lists: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)


def read_tables(path: Path) -> tuple[list[str], dict[str, Table]]:
    """The comments of a file, and its tables by name.

    Raises:
        ValueError: the file is cut off, or its header says nothing valid.
    """
    data = path.read_bytes()
    ending = re.match(rb"ply[ \t]*(\r\n|\n|\r)", data)
    end = None if ending is None else re.search(rb"[\r\n]end_header[ \t]*" + ending[1], data)
    if end is None:
        raise ValueError("it has no PLY header")
    order, comments, tables = _header(data[: end.start()].decode("utf-8", "surrogateescape"))
    body = data[end.end() :]
    read = _Words(body) if order == "" else _Bytes(body, order)
    for table in tables:
        _fill(table, read)
    return comments, {table.name: table for table in tables}


def _header(text: str) -> tuple[str, list[str], list[Table]]:
    order, comments, tables = None, [], []
    for line in re.split(r"\r\n|\n|\r", text)[1:]:
        match line.split():
            case ["format", name, *_] if name in _ORDERS:
                order = _ORDERS[name]
            case ["comment" | "obj_info", *_]:
                comments.append(" ".join(line.split(maxsplit=1)[1:]).strip())
            case ["element", name, count] if count.isdecimal() and len(count) < 12:
                tables.append(Table(name, int(count)))
            case ["property", "list", length, kind, name] if (
                tables and _TYPES.get(length, "f")[0] != "f" and kind in _TYPES
            ):
                tables[-1].properties.append((name, _TYPES[length], _TYPES[kind]))
            case ["property", kind, name] if tables and kind in _TYPES:
                tables[-1].properties.append((name, None, _TYPES[kind]))
            case []:
                pass
            case _:
                raise ValueError(f"its header has the line {line.strip()!a:.80}")
    if order is None:
        raise ValueError("its header names no format that this reads")
    names = [table.name for table in tables]
    for table in tables:
        names += [f"{table.name} {name}" for name, _, _ in table.properties]
    if len(set(names)) < len(names):
        raise ValueError("its header has the same name twice")
    return order, comments, tables


_Columns = list[tuple[np.ndarray | None, np.ndarray]]  # lengths of lists, and all values in a row


class _Words:
    """The numbers of a text."""

    def __init__(self, body: bytes) -> None:
        self.numbers, self.at = np.array([float(word) for word in body.split()]), 0

    def take(self, _kind: str, count: int) -> np.ndarray:
        """The next numbers."""
        self.at += count
        return _whole(self.numbers[self.at - count : self.at], count)

    def equal_rows(self, table: Table, lengths: list[int | None]) -> _Columns | None:
        """All rows, if lists are as long in each as in the first."""
        widths = [1 if length is None else 1 + length for length in lengths]
        end = self.at + table.count * sum(widths)
        rows = self.numbers[self.at : end]
        if len(rows) < table.count * sum(widths):
            return None
        blocks = np.split(rows.reshape(table.count, -1), np.cumsum(widths)[:-1], axis=1)
        found: _Columns = []
        for block, length in zip(blocks, lengths, strict=True):
            if length is not None and (block[:, 0] != length).any():
                return None
            found.append((None, block[:, 0]) if length is None else _list(block[:, 1:]))
        self.at = end
        return found


class _Bytes:
    """The numbers of a binary file."""

    def __init__(self, body: bytes, order: str) -> None:
        self.body, self.order, self.at = body, order, 0

    def take(self, kind: str, count: int) -> np.ndarray:
        """The next numbers."""
        size = count * int(kind[1])
        self.at += size
        piece = self.body[self.at - size : self.at]
        return np.frombuffer(_whole(piece, size), self.order + kind)

    def equal_rows(self, table: Table, lengths: list[int | None]) -> _Columns | None:
        """All rows, if lists are as long in each as in the first."""
        fields: list[Any] = []
        for place, ((_, kind_of_length, kind), length) in enumerate(
            zip(table.properties, lengths, strict=True)
        ):
            if kind_of_length is not None:
                fields.append((f"length {place}", self.order + kind_of_length))
            fields.append((f"{place}", self.order + kind, () if length is None else (length,)))
        row = np.dtype(fields)
        if len(self.body) - self.at < table.count * row.itemsize:
            return None
        rows = np.frombuffer(self.body, row, table.count, self.at)
        found: _Columns = []
        for place, length in enumerate(lengths):
            if length is not None and (rows[f"length {place}"] != length).any():
                return None
            values = rows[f"{place}"]
            found.append((None, values) if length is None else _list(values))
        self.at += table.count * row.itemsize
        return found


def _list(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.full(len(values), values.shape[1]), values.reshape(-1)


def _whole(piece: Any, count: int) -> Any:
    if count < 0 or len(piece) < count:
        raise ValueError("it is cut off: its header promises more")
    return piece


def _fill(table: Table, read: _Words | _Bytes) -> None:
    """Read the rows of a table: all at once if they are equally long, else one by one."""
    if not table.count:
        return
    start = read.at
    first = _one_by_one(table, 1, read)
    read.at = start
    lengths = [None if sizes is None else int(sizes[0]) for sizes, _ in first]
    found = read.equal_rows(table, lengths) or _one_by_one(table, table.count, read)
    for (name, _, kind), (sizes, values) in zip(table.properties, found, strict=True):
        if values.dtype.kind == "f" and kind[0] != "f":
            _check_range(name, values, kind)
        values = values.astype(kind)
        if sizes is None:
            table.columns[name] = values
        else:
            table.lists[name] = sizes, values


def _check_range(name: str, values: np.ndarray, kind: str) -> None:
    limits = np.iinfo(kind)
    if len(values) and not limits.min <= values.min() <= values.max() <= limits.max:
        raise ValueError(f"its property {name!a:.40} has numbers beyond its type")


def _one_by_one(table: Table, count: int, read: _Words | _Bytes) -> _Columns:
    sizes: list[list[int]] = [[] for _ in table.properties]
    values: list[list[float]] = [[] for _ in table.properties]
    for _ in range(count):
        for place, (_, kind_of_length, kind) in enumerate(table.properties):
            size = 1
            if kind_of_length is not None:
                size = int(read.take(kind_of_length, 1)[0])
                sizes[place].append(size)
            values[place] += read.take(kind, size).tolist()
    return [
        (None if kind_of_length is None else np.array(sizes[place], np.int64), np.array(numbers))
        for place, ((_, kind_of_length, _), numbers) in enumerate(
            zip(table.properties, values, strict=True)
        )
    ]
