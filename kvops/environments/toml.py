"""Configuration as code: strict reading of TOML, and the changes in a new definition.

Nothing is guessed and nothing is ignored: an unknown, missing or mistyped field is refused with its place. Values are
not repeated in messages, because somebody may have written a secret where a reference belongs.
"""

import re
import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence

from kvops.approvals import gate as approval_gate

MOST_BYTES = 1024 * 1024
"""Of a definition; one of a thousand families has a tenth of it."""

_PART = r"""(?:(?<![\w-])[\w-]++|(?<!\\)"(?:[^"\\\n]|\\.)*+"|'[^'\n]*+')"""
_DEEP_NAME = re.compile(rf"{_PART}(?:[ \t]*+\.[ \t]*+{_PART}){{16}}")
"""A dotted name of more than 16 parts, for which the parser takes time and memory by the square of its length."""

type Fields = Mapping[str, object]


class DefinitionRefused(approval_gate.ApprovalRefused):
    """The definition cannot be used as it is; the message names the place and its valid form."""


class TomlTable:
    """One table of a definition. Every field is read by name, and `done()` refuses the fields that were not read."""

    def __init__(self, data: Mapping[str, object], where: str = "") -> None:
        self._data = data
        self._where = where
        self._known: set[str] = set()

    def refuse(self, field: str, sentence: str) -> DefinitionRefused:
        """The error for a field of this table."""
        return DefinitionRefused(f"{self._where}{field}: {sentence}")

    def text(
        self,
        field: str,
        default: str | None = None,
        *,
        pattern: str = r"[^\x00-\x1f\x7f]+",
        takes: str = "takes text on one line",
        longest: int = 300,
    ) -> str:
        """A text that matches the pattern; `takes` describes the pattern in words."""
        value = self._value(field, default)
        if value == default and isinstance(value, str):
            return value
        if not isinstance(value, str) or len(value) > longest or not re.fullmatch(pattern, value):
            raise self.refuse(field, f"{takes}, at most {longest} characters.")
        return value

    def choice(self, field: str, choices: Collection[str], default: str | None = None) -> str:
        """One of the choices."""
        value = self._value(field, default)
        if not isinstance(value, str) or value not in choices:
            raise self.refuse(field, f"takes one of {', '.join(choices)}.")
        return value

    def number(self, field: str, default: int | None = None, *, lowest: int, highest: int) -> int:
        """A whole number within the bounds."""
        value = self._value(field, default)
        if not isinstance(value, int) or isinstance(value, bool) or not lowest <= value <= highest:
            raise self.refuse(field, f"takes a whole number from {lowest} to {highest}.")
        return value

    def numbers(self, field: str, default: Sequence[int], *, lowest: int, highest: int) -> tuple[int, ...]:
        """A list of whole numbers within the bounds, at least one, the highest first."""
        value = self._value(field, list(default))
        if (
            not isinstance(value, list)
            or not value
            or not all(isinstance(item, int) and not isinstance(item, bool) for item in value)
            or not all(lowest <= item <= highest for item in value)
            or len(set(value)) != len(value)
        ):
            raise self.refuse(
                field, f"takes a list of different whole numbers from {lowest} to {highest}, at least one."
            )
        return tuple(sorted(value, reverse=True))

    def flag(self, field: str) -> bool:
        """True or false; false if it is left out."""
        value = self._value(field, default=False)
        if not isinstance(value, bool):
            raise self.refuse(field, "takes true or false.")
        return value

    def texts(self, field: str, default: Sequence[str] = ()) -> tuple[str, ...]:
        """A list of texts, each once; empty if it is left out, or the default."""
        value = self._value(field, list(default))
        if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
            raise self.refuse(field, "takes a list of texts.")
        if len(set(value)) != len(value):
            raise self.refuse(field, "names something twice.")
        return tuple(value)

    def pairs(self, field: str, default: dict[str, str] | None = None) -> dict[str, str]:
        """A table of texts by name, at least one unless there is a default."""
        value = self._value(field, default)
        if (
            not isinstance(value, dict)
            or not (value or value == default)
            or not all(isinstance(item, str) and item for item in value.values())
        ):
            raise self.refuse(field, 'takes pairs of texts, such as { id = "id" }.')
        return dict(value)

    def lists(self, field: str) -> dict[str, tuple[str, ...]]:
        """A table of lists of texts by name; empty if it is left out."""
        value = self._value(field, {})
        if not isinstance(value, dict):
            raise self.refuse(field, 'takes lists of texts by name, such as { born = ["time"] }.')
        inner = TomlTable(value, f"{self._where}{field}.")
        return {name: inner.texts(name) for name in value}

    def table(self, field: str) -> "TomlTable":
        """A nested table: `[environment.r2]`."""
        value = self._value(field, None)
        if not isinstance(value, dict):
            raise self.refuse(field, "takes a table.")
        return TomlTable(value, f"{self._where}{field}.")

    def tables(self, field: str) -> Iterator["TomlTable"]:
        """The tables of an array, each closed by `done()`: `[[environment]]`."""
        value = self._value(field, [])
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise self.refuse(field, f"takes tables, each under its own [[{field}]].")
        for number, item in enumerate(value, 1):
            table = TomlTable(item, f"{self._where}{field} {number}, ")
            yield table
            table.done()

    def taken_out(self, field: str, instead: str) -> None:
        """Refuse a field that earlier versions had; `instead` says what to do now."""
        if field in self._data:
            raise self.refuse(field, f"was taken out: {instead}")

    def done(self) -> None:
        """Refuse the fields that were not read."""
        for field in sorted(self._data.keys() - self._known):
            raise self.refuse(field, f"is not a field here. Known are: {', '.join(sorted(self._known))}.")

    def _value(self, field: str, default: object) -> object:
        self._known.add(field)
        value = self._data.get(field, default)
        if value is None:
            raise self.refuse(field, "is missing.")
        return value


def load(text: str) -> TomlTable:
    """The outermost table of a TOML text. Raises DefinitionRefused with line and column."""
    if len(text) > MOST_BYTES:
        raise DefinitionRefused("The file has more than 1 MiB.")
    if _DEEP_NAME.search(text):
        raise DefinitionRefused("A name with dots has more than 16 parts.")
    try:
        return TomlTable(tomllib.loads(text))
    except (ValueError, RecursionError) as error:
        raise DefinitionRefused(f"This is not TOML: {error}.") from error


def insist_unique(what: str, values: Collection[str]) -> None:
    """Raise DefinitionRefused for a value that occurs twice."""
    seen: set[str] = set()
    for value in values:
        if value in seen:
            raise DefinitionRefused(f"{what} {value} is used twice.")
        seen.add(value)


def differences(before: Mapping[str, Fields], after: Mapping[str, Fields]) -> list[str]:
    """The changes: a sentence per thing added or removed and per field changed."""
    changes = [f"{name}: removed ({_words(before[name])})" for name in before if name not in after]
    for name, fields in after.items():
        if name not in before:
            changes.append(f"{name}: added ({_words(fields)})")
            continue
        old = before[name]
        changes += [
            f"{name}: {key} {_word(old[key])} → {_word(fields[key])}" for key in fields if old[key] != fields[key]
        ]
    return changes


def _words(fields: Fields) -> str:
    return ", ".join(f"{name} {_word(value)}" for name, value in fields.items() if value not in ("", (), False, {}))


def _word(value: object) -> str:
    match value:
        case "" | ():
            return "nothing"
        case bool():
            return "yes" if value else "no"
        case tuple() | list():
            return " ".join(map(str, value))
        case Mapping():
            return " ".join(f"{name}={_word(other)}" for name, other in value.items()) or "nothing"
        case _:
            return str(value)
