"""Values and names as SQLite reads them in a statement. Pure: no Django."""

from collections.abc import Sequence
from enum import StrEnum

from backups.datasets.canonical import JSON, ExactNumber, encode, number
from kvops.names import invisible

MOST_BYTES = 100_000
"""Bytes. D1 takes no longer statement."""


class Obstacle(StrEnum):
    """Why a row cannot be written in a statement."""

    NOT_UTF8 = "not_utf8"
    NUMBER = "number"
    LONG = "long"
    NAME = "name"


class NoSqlForm(ValueError):
    """The row cannot be written in a statement; `obstacle` says why."""

    def __init__(self, obstacle: Obstacle) -> None:
        super().__init__(obstacle)
        self.obstacle = obstacle


def sql_name(name: str) -> str:
    """The name of a table or column."""
    return '"' + name.replace('"', '""') + '"'


def sql_value(value: JSON) -> str:
    """A JSON value as the column that equals it: true is 1, an object its JSON text. Raises NoSqlForm."""
    match value:
        case None:
            return "NULL"
        case bool():
            return str(int(value))
        case ExactNumber():
            return _number(value)
        case str():
            return sql_text(value)
        case _:
            return sql_text(encode(value))


def sql_text(text: str) -> str:
    """A text on one line. With invisible characters it is written as bytes, so that nothing hides in a file."""
    try:
        data = text.encode()
    except UnicodeEncodeError as error:
        raise NoSqlForm(Obstacle.NOT_UTF8) from error
    if any(map(invisible, text)):
        return f"CAST(X'{data.hex()}' AS TEXT)"
    return "'" + text.replace("'", "''") + "'"


def insert(table: str, columns: Sequence[str], values: Sequence[str], there: str) -> str:
    """A statement that inserts one row, unless a row meets the condition `there`. Raises NoSqlForm."""
    names = ", ".join(map(sql_name, columns))
    found = f"SELECT 1 FROM {sql_name(table)} AS t WHERE {there}"  # noqa: S608  (quoted by this module)
    return _bounded(f"INSERT INTO {sql_name(table)} ({names}) SELECT {', '.join(values)} WHERE NOT EXISTS ({found});")


def update(table: str, columns: Sequence[str], values: Sequence[str], there: str) -> str:
    """A statement that sets the columns of the rows that meet the condition `there`. Raises NoSqlForm."""
    pairs = ", ".join(f"{sql_name(column)} = {value}" for column, value in zip(columns, values, strict=True))
    return _bounded(f"UPDATE {sql_name(table)} AS t SET {pairs} WHERE {there};")  # noqa: S608


def _bounded(statement: str) -> str:
    if len(statement.encode()) > MOST_BYTES:
        raise NoSqlForm(Obstacle.LONG)
    return statement


def _number(spelled: ExactNumber) -> str:
    text = number(spelled)
    if text in ("inf", "-inf", "nan"):
        raise NoSqlForm(Obstacle.NUMBER)
    return text
