"""Rows of three datasets on both sides, and the differences that are planted in them, told by a seed.

A row is one key, or stands in an array or an object of rows. Each type rule has two fields: in `<field>` the rule is
named and the two sides are always spelled differently; in `<field>_s` it is not, and they are spelled alike unless a
difference is planted.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from random import Random

PER_KEY = 200
SHAPES = ("row", "array", "object")
BIG = 2**53
JAPAN = timezone(timedelta(hours=9))
RULES = {
    "number": ["number_text"],
    "flag": ["integer_boolean"],
    "at": ["time_seconds"],
    "local": ["time", "zoneless_utc"],
    "note": ["null_absent"],
    "empty": ["empty_null"],
    "name": ["nfc"],
}
type Side = dict[str, object]
type Difference = tuple[str, str, str, str]
"""Key, row, kind, field."""


@dataclass
class Planted:
    """One row on both sides: its fields in KV and its columns in D1, either None if the side lacks it."""

    key: str
    row: str
    kv: Side | None
    d1: Side | None
    twice_in_kv: bool = False
    twice_in_d1: bool = False


@dataclass
class Sides:
    """All rows of one shape, what else stands in its keys, and the differences that a check must find."""

    shape: str
    rows: list[Planted]
    expected: set[Difference] = field(default_factory=set)
    odd: dict[str, list[object]] = field(default_factory=dict)
    unreadable: set[str] = field(default_factory=set)


def definition(shape: str) -> dict[str, object]:
    """The dataset of a shape."""
    plain = ["id", "big", *RULES, *(f"{name}_s" for name in RULES)]
    found: dict[str, object] = {
        "name": f"planted-{shape}",
        "binding": "SETTINGS",
        "prefix": f"{shape}:",
        "database": "MASTERS_D1",
        "table": f"planted_{shape}",
        "key": f"{shape}:{{area}}:{{id}}" if shape == "row" else f"{shape}:{{area}}",
        "fields": {"area": "area", "address.city": "city", **{name: name for name in plain}},
        "ignore": [],
        "field_rules": {**RULES, **{f"{name}_s": [] for name in RULES}},
    }
    if shape != "row":
        found |= {"holds": shape, "path": "data.items", "beside": ["version"], "row": "{id}"}
    return found


def sides(rng: Random, shape: str, count: int, per_kind: int) -> Sides:
    """So many rows of one shape, with so many differences of each kind; no row has two."""
    made = Sides(shape, [_row(rng, shape, index) for index in range(count)])
    chosen = iter(rng.sample(made.rows[PER_KEY:], len(_KINDS) * per_kind))
    for plant in _KINDS:
        for _ in range(per_kind):
            row = next(chosen)
            made.expected |= {(row.key, row.row, kind, name) for kind, name in plant(rng, row, shape)}
    if shape != "row":
        _spoil(made)
    return made


def values(made: Sides) -> Iterator[tuple[str, bytes]]:
    """Every key of KV with its value."""
    if made.shape == "row":
        for row in made.rows:
            if row.kv is not None:
                yield row.key, _text(row.kv)
        return
    held: dict[str, list[tuple[str, object]]] = {row.key: [] for row in made.rows}
    for row in made.rows:
        held[row.key] += [(row.row, row.kv)] * ((row.kv is not None) + row.twice_in_kv)
    for key, rows in held.items():
        if key in made.unreadable:
            yield key, b'{"version": 1, "data": {"items": 5}}'
        elif made.shape == "array":
            items = [value for _, value in rows] + made.odd.get(key, [])
            yield key, _text({"version": 1, "data": {"items": items}})
        else:
            members = b",".join(_text(row) + b":" + _text(value) for row, value in rows)
            yield key, b'{"version": 1, "data": {"items": {' + members + b"}}}"


def columns(made: Sides) -> Iterator[Side]:
    """Every row of D1."""
    for row in made.rows:
        if row.d1 is not None:
            yield from [row.d1] * (1 + row.twice_in_d1)


def _row(rng: Random, shape: str, index: int) -> Planted:
    area, number = f"a{index // PER_KEY:04}", rng.randrange(10**6)
    row = f"r{index:06}"
    at = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(seconds=rng.randrange(10**8))
    same: Side = {"area": area, "id": row, "big": BIG + rng.randrange(1, 10**9)}
    strict: Side = {f"{name}_s": value for name, value in _in_d1(number, at).items()}
    kv = {**same, **_in_kv(number, at), **strict, "address": {"city": f"市{number % 99}"}, "flag_s": number % 2}
    d1 = {**same, **_in_d1(number, at), **strict, "city": f"市{number % 99}"}
    key = f"{shape}:{area}:{row}" if shape == "row" else f"{shape}:{area}"
    return Planted(key, "" if shape == "row" else row, kv, d1)


def _in_d1(number: int, at: datetime) -> Side:
    return {
        "number": number,
        "flag": number % 2,
        "at": at.isoformat().replace("+00:00", "Z"),
        "local": at.strftime("%Y-%m-%d %H:%M:%S"),
        "note": None,
        "empty": None,
        "name": f"がぎ {number}",
    }


def _in_kv(number: int, at: datetime) -> Side:
    """The same row as other JSON; `note` is absent."""
    return {
        "number": str(number),
        "flag": number % 2 == 1,
        "at": int(at.timestamp()),
        "local": at.astimezone(JAPAN).isoformat(),
        "empty": "",
        "name": f"か\u3099き\u3099 {number}",
    }


type Plant = Callable[[Random, Planted, str], set[tuple[str, str]]]


def _without_the_rule(name: str) -> Plant:
    """The spelling that a rule makes equal, in the field where no rule is named."""

    def plant(_rng: Random, row: Planted, _shape: str) -> set[tuple[str, str]]:
        assert row.kv
        row.kv[f"{name}_s"] = row.kv.get(name)
        if name == "note":
            del row.kv["note_s"]
        return {("field", f"{name}_s")}

    return plant


def _another_value(name: str) -> Plant:
    """Another value in a field whose rules do not make it equal."""

    def plant(_rng: Random, row: Planted, _shape: str) -> set[tuple[str, str]]:
        assert row.d1
        other = {"flag": 2, "at": "2023-01-01T00:00:00Z", "local": "2023-01-01 00:00:00", "number": -1}
        row.d1[name] = other.get(name, "x")
        return {("field", name)}

    return plant


def _off_by_one(_rng: Random, row: Planted, _shape: str) -> set[tuple[str, str]]:
    assert row.kv
    row.kv["big"] = int(str(row.kv["big"])) + 1
    return {("field", "big")}


def _nested(_rng: Random, row: Planted, _shape: str) -> set[tuple[str, str]]:
    assert row.kv
    row.kv["address"] = {"city": "elsewhere"}
    return {("field", "address.city")}


def _no_inner_object(_rng: Random, row: Planted, _shape: str) -> set[tuple[str, str]]:
    assert row.kv
    row.kv["address"] = "text"
    return {("not_an_object", "address"), ("field", "address.city")}


def _unknown(_rng: Random, row: Planted, _shape: str) -> set[tuple[str, str]]:
    assert row.kv
    row.kv["address"] = {**_city(row), "zip": 1}
    return {("unknown_field", "address.zip")}


def _city(row: Planted) -> Side:
    assert row.d1
    return {"city": row.d1["city"]}


def _missing_in_d1(_rng: Random, row: Planted, _shape: str) -> set[tuple[str, str]]:
    row.d1 = None
    return {("missing_in_d1", "")}


def _only_in_d1(_rng: Random, row: Planted, _shape: str) -> set[tuple[str, str]]:
    row.kv = None
    return {("only_in_d1", "")}


def _twice_in_d1(_rng: Random, row: Planted, _shape: str) -> set[tuple[str, str]]:
    row.twice_in_d1 = True
    return {("duplicate", "")}


def _twice_in_kv(_rng: Random, row: Planted, shape: str) -> set[tuple[str, str]]:
    """A row that stands twice in its key. A key of one row cannot, so its row of D1 does."""
    if shape == "row":
        return _twice_in_d1(_rng, row, shape)
    row.twice_in_kv = True
    return {("duplicate", "")}


_KINDS: list[Plant] = [
    *map(_without_the_rule, RULES),
    *map(_another_value, RULES),
    _off_by_one,
    _nested,
    _no_inner_object,
    _unknown,
    _missing_in_d1,
    _only_in_d1,
    _twice_in_d1,
    _twice_in_kv,
]


def _spoil(made: Sides) -> None:
    """Make the first key unreadable, and put rows without an object and without an id into the last array."""
    first, last = made.rows[0].key, made.rows[-1].key
    made.unreadable.add(first)
    made.expected.add((first, "", "no_rows", ""))
    if made.shape == "array":
        held = sum(((row.kv is not None) + row.twice_in_kv) for row in made.rows if row.key == last)
        made.odd[last] = [7, {"name": "x"}]
        made.expected |= {(last, f"[{held}]", "not_an_object", ""), (last, f"[{held + 1}]", "no_id", "id")}


def _text(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()
