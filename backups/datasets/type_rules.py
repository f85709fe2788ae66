"""Type rules: values of different types or spellings that are equal if the dataset names the rule. Pure.

    integer_boolean   true is 1 and false is 0
    null_absent       a field that is absent is NULL
    empty_null        an empty text is NULL
    number_text       a number is the text of its shortest spelling: 12 is "12", and neither "012" nor "12.0"
    time              ISO 8601 texts with a zone are equal if they name the same instant
    time_seconds      as `time`, and a number counts the seconds since 1970
    time_milliseconds as `time`, and a number counts the milliseconds since 1970
    zoneless_utc      with a rule of time: a text of date and time without a zone is in UTC
    nfc               texts are equal if their normalisation form NFC is

A rule that is not named never applies. Each rule turns the form of a value (`canonical`) into one form for all equal
values. Rules of one field work together: with `integer_boolean` and `number_text`, true is "1".
"""

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import date
from typing import Self
from unicodedata import is_normalized, normalize

from backups.datasets.canonical import NULL, number
from kvops.refusals import Sentence as _

INTEGER_BOOLEAN = "integer_boolean"
NULL_ABSENT = "null_absent"
EMPTY_NULL = "empty_null"
NUMBER_TEXT = "number_text"
TIME = "time"
TIME_SECONDS = "time_seconds"
TIME_MILLISECONDS = "time_milliseconds"
ZONELESS_UTC = "zoneless_utc"
NFC = "nfc"

RULES = (
    INTEGER_BOOLEAN,
    NULL_ABSENT,
    EMPTY_NULL,
    NUMBER_TEXT,
    TIME,
    TIME_SECONDS,
    TIME_MILLISECONDS,
    ZONELESS_UTC,
    NFC,
)
"""The closed list."""
DEFAULT = (INTEGER_BOOLEAN, NULL_ABSENT)
"""The rules of a dataset that names none."""

_TIMES = (TIME, TIME_SECONDS, TIME_MILLISECONDS)
_JSON_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?")
_DECIMAL = re.compile(r"(-?)([0-9]{1,17})(?:\.([0-9]{1,9}))?")
_ISO = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[T ]([01][0-9]|2[0-3]):([0-5][0-9])(?::([0-5][0-9])(?:\.([0-9]{1,12}))?)?"
    r"(?:(Z)|([+-])([01][0-9]|2[0-3]):?([0-5][0-9]))?"
)
_PICO = 10**12
_EPOCH = date(1970, 1, 1).toordinal()
_FIRST = (date.min.toordinal() - _EPOCH) * 86_400 * _PICO
_LAST = (date.max.toordinal() + 1 - _EPOCH) * 86_400 * _PICO


class BadRules(ValueError):
    """Type rules that cannot be used; the message gives the correction."""


@dataclass(frozen=True, slots=True)
class TypeRules:
    """The type rules of one field."""

    names: frozenset[str]
    untouched: str
    """The first letters of the forms that none of them changes."""
    _of_text: bool = field(repr=False)
    _scale: int = field(repr=False)

    @classmethod
    def of(cls, names: Collection[str]) -> Self:
        """The rules of these names. Raises BadRules."""
        if unknown := sorted(set(names) - set(RULES)):
            raise BadRules(
                _(
                    "%(unknown)s is no type rule. The rules are %(rules)s.",
                    unknown=repr(unknown[0]),
                    rules=", ".join(RULES),
                )
            )
        times = [name for name in _TIMES if name in names]
        if len(times) > 1:
            raise BadRules(
                _(
                    "%(first)s and %(second)s exclude each other: a number has one unit.",
                    first=times[0],
                    second=times[1],
                )
            )
        if ZONELESS_UTC in names and not times:
            raise BadRules(_("%(rule)s needs one of %(rules)s beside it.", rule=ZONELESS_UTC, rules=", ".join(_TIMES)))
        of_text = bool({EMPTY_NULL, NUMBER_TEXT, NFC, *_TIMES} & set(names))
        scale = {TIME_SECONDS: _PICO, TIME_MILLISECONDS: _PICO // 1000}.get("".join(times), 0)
        untouched = "jx" + ("" if of_text else "t") + ("" if scale else "n")
        return cls(frozenset(names), untouched, of_text, scale)

    def apply(self, form: str) -> tuple[str | None, list[str]]:
        """The form that equal values share, and the rules that changed the given one; None for an absent field."""
        used: list[str] = []
        if form[0] == "b" and INTEGER_BOOLEAN in self.names:
            form = f"n{form[1:]}"
            used.append(INTEGER_BOOLEAN)
        if form[0] == "t" and self._of_text:
            form = self._text(form[1:], used)
        if form[0] == "n" and self._scale:
            form = self._number(form, used)
        if form == NULL and NULL_ABSENT in self.names:
            return None, [*used, NULL_ABSENT]
        return form, used

    def _text(self, text: str, used: list[str]) -> str:
        if NFC in self.names and not is_normalized("NFC", text):
            text = normalize("NFC", text)
            used.append(NFC)
        if not text and EMPTY_NULL in self.names:
            used.append(EMPTY_NULL)
            return NULL
        if NUMBER_TEXT in self.names and _JSON_NUMBER.fullmatch(text) and number(text) == text:
            used.append(NUMBER_TEXT)
            return f"n{text}"
        instant = self._instant(text, used)
        return f"t{text}" if instant is None else f"i{instant}"

    def _instant(self, text: str, used: list[str]) -> int | None:
        """Picoseconds since 1970; None if the text names no instant."""
        time = next((name for name in _TIMES if name in self.names), None)
        found = _ISO.fullmatch(text) if time else None
        if time is None or found is None:
            return None
        year, month, day, hour, minute, second, fraction, utc, sign, hours, minutes = found.groups()
        if not (utc or sign) and ZONELESS_UTC not in self.names:
            return None
        try:
            days = date(int(year), int(month), int(day)).toordinal() - _EPOCH
        except ValueError:
            return None
        offset = (int(hours) * 60 + int(minutes)) * (-1 if sign == "-" else 1) if sign else 0
        seconds = days * 86_400 + int(hour) * 3_600 + (int(minute) - offset) * 60 + int(second or 0)
        used.append(time)
        if not (utc or sign):
            used.append(ZONELESS_UTC)
        return seconds * _PICO + int((fraction or "0").ljust(12, "0"))

    def _number(self, form: str, used: list[str]) -> str:
        found = _DECIMAL.fullmatch(form, 1)
        if found is None:
            return form
        sign, whole, fraction = found.groups()
        instant = int(f"{sign}{whole}{(fraction or '').ljust(9, '0')}") * (self._scale // 10**9)
        if not _FIRST <= instant < _LAST:
            return form
        used.append(TIME_SECONDS if TIME_SECONDS in self.names else TIME_MILLISECONDS)
        return f"i{instant}"
