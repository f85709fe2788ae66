"""Configuration as code, written: the TOML of a definition that `toml` reads back as it was."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_ESCAPED = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}

type Remarks = Mapping[int, Sequence[str]]
"""Lines of comment above a table, by its place in the array."""


def table_array(
    name: str,
    rows: Sequence[Mapping[str, object]],
    *,
    remarks: Remarks | None = None,
    always: Collection[str] = (),
) -> str:
    """The rows as `[[name]]` tables.

    Empty values are left out, because they are the reader's defaults, except for the fields `always`.
    """
    return "\n".join(
        "\n".join([*_comments((remarks or {}).get(place, ())), f"[[{name}]]", *_lines(row, always), ""])
        for place, row in enumerate(rows)
    )


def _comments(lines: Sequence[str]) -> Iterator[str]:
    for line in lines:
        yield f"# {''.join(char if char.isprintable() else ' ' for char in line)}"


def _lines(row: Mapping[str, object], always: Collection[str]) -> Iterator[str]:
    for field, value in row.items():
        if field in always or not (value is False or value in ("", {}, [], ())):
            yield f"{_key(field)} = {_value(value)}"


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _text(name)


def _value(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case str():
            return _text(value)
        case Mapping():
            inner = ", ".join(f"{_key(str(name))} = {_value(other)}" for name, other in value.items())
            return f"{{ {inner} }}"
        case list() | tuple():
            return f"[{', '.join(map(_value, value))}]"
        case _:
            raise TypeError(value)


def _text(text: str) -> str:
    return '"' + "".join(map(_char, text)) + '"'


def _char(char: str) -> str:
    if char in _ESCAPED:
        return _ESCAPED[char]
    return f"\\u{ord(char):04X}" if ord(char) < 0x20 or ord(char) == 0x7F else char
