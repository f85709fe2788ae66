"""The fields of a row as digests in a fixed layout, so that equal rows are equal bytes. Pure: no Django, no network.

A packed row has a digest for each field of the dataset, in the order of their names: ABSENT for an absent field. If a
TEXT column of the row holds JSON, as many digests follow: of that JSON, and NO_OTHER for every other field.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Self

from backups.datasets.canonical import DIGEST, JSON_STARTS, field_digest, json_digest
from backups.datasets.type_rules import TypeRules

ABSENT = bytes(DIGEST)
NO_OTHER = b"\xff" * DIGEST
REMEMBERED = 65_536
"""Forms of all fields of a dataset whose digests are remembered; about 20 MB."""
SHORT = 64
"""Characters of the longest form that is remembered."""
LONG = 1_000
"""Characters of the forms of a row that is packed as soon as it is read, so that memory is bounded."""


class Fields(NamedTuple):
    """A packed row, and the fields that type rules changed: the digest without any rule in hex, and those rules."""

    packed: bytes
    by_rule: Mapping[str, Sequence[str]]

    def __hash__(self) -> int:
        """The hash of the packed row alone."""
        return hash(self.packed)


class Forms(tuple[str | None, ...]):
    """The canonical forms of a row's fields, in the order of a packed row: None for an absent field.

    Rows with equal forms are equal under any type rules, and no rule was needed. So most rows are never packed.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        """No value, because this gets into logs."""
        return f"{len(self)} forms"


_NO_RULES: Mapping[str, Sequence[str]] = {}
_PLAIN = {bytes}


class SpecialReading(bytes):
    """A digest of a field that a type rule changed, or of a text that holds JSON.

    `other` is the digest of that JSON, and `by_rule` is as in `Fields`; empty if there is none.
    """

    other: bytes = b""
    by_rule: Sequence[str] = ()

    @classmethod
    def of(cls, digest: bytes, *, other: bytes = b"", by_rule: Sequence[str] = ()) -> Self:
        """The digest with these properties; a type rule that it has already is kept."""
        made = cls(digest)
        made.other = other
        made.by_rule = by_rule or getattr(digest, "by_rule", ())
        return made


class FieldReadings(dict[str, bytes]):
    """The digests of one field by canonical form. Values repeat, so the newest short forms are remembered."""

    def __init__(self, place: int, rules: TypeRules, remembered: int) -> None:
        """`place` is the field's place in a packed row."""
        super().__init__()
        self.place, self.rules = place, rules
        self._untouched, self._remembered = rules.untouched, remembered

    def __missing__(self, form: str) -> bytes:
        """Read a form that is not remembered."""
        found = field_digest(form) if form[0] in self._untouched else self._by_rule(form)
        if form[1:2] in JSON_STARTS and (other := json_digest(form)):
            found = SpecialReading.of(found, other=other)
        if len(form) <= SHORT:
            if len(self) >= self._remembered:
                self.clear()
            self[form] = found
        return found

    def _by_rule(self, form: str) -> bytes:
        equal, used = self.rules.apply(form)
        digest = ABSENT if equal is None else field_digest(equal)
        return SpecialReading.of(digest, by_rule=(field_digest(form).hex(), *used)) if used else digest


def field_readings(rules: Mapping[str, TypeRules]) -> dict[str, FieldReadings]:
    """The readings of the fields of a dataset, in the order of a packed row."""
    remembered = REMEMBERED // max(1, len(rules))
    return {name: FieldReadings(place, rules[name], remembered) for place, name in enumerate(sorted(rules))}


def kept(readings: Mapping[str, FieldReadings], forms: Iterable[str | None], *, column: bool) -> Forms | Fields:
    """A row of these forms as it is kept until its side is compared: a long one is packed."""
    row = Forms(forms)
    return row if sum([len(form) for form in row if form]) <= LONG else pack(readings, row, column=column)


def pack(readings: Mapping[str, FieldReadings], row: Forms | Fields, *, column: bool) -> Fields:
    """The packed row. Only a `column` is compared as the JSON that it holds too."""
    if isinstance(row, Fields):
        return row
    forms = zip(readings.values(), row, strict=True)
    return _pack(readings, [ABSENT if form is None else each[form] for each, form in forms], column=column)


def _pack(names: Iterable[str], digests: Sequence[bytes], *, column: bool) -> Fields:
    packed = b"".join(digests)
    if set(map(type, digests)) <= _PLAIN:
        return Fields(packed, _NO_RULES)
    others = [getattr(each, "other", b"") for each in digests]
    if column and any(others):
        packed += b"".join([other or NO_OTHER for other in others])
    rules = [getattr(each, "by_rule", ()) for each in digests]
    return Fields(packed, {name: used for name, used in zip(names, rules, strict=True) if used})


def differing(readings: Mapping[str, FieldReadings], ours: Forms | Fields, theirs: Forms | Fields) -> set[str]:
    """The fields that differ between a row in a key and a row of D1."""
    mine = _digests(pack(readings, ours, column=False).packed)
    columns = _digests(pack(readings, theirs, column=True).packed)
    others = columns[len(mine) :] or columns
    compared = zip(readings, mine, columns, others, strict=False)
    return {name for name, digest, column, other in compared if digest not in (column, other)}


def _digests(packed: bytes) -> list[bytes]:
    return [packed[at : at + DIGEST] for at in range(0, len(packed), DIGEST)]
