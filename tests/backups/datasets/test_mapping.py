"""The correspondence of KV and D1: names, canonical forms, statements, and the dataset of a prefix."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest
from hypothesis import given, strategies as st

from backups.datasets import registry as dataset_registry
from backups.datasets.canonical import DECODER, canonical_cell, canonical_field, field_digest, json_digest, number
from backups.datasets.definition_parts import BadDataset
from backups.datasets.mapping import Correspondence
from backups.datasets.sides import Finding, KeyRow
from backups.datasets.type_rules import DEFAULT, TypeRules
from kvops.cloudflare import Cell
from tests import make
from tests.backups.generations import helpers as generation_helpers

DEFINITION: dict[str, object] = {
    "name": "masters",
    "prefix": "master:",
    "table": "masters",
    "key": "master:{type}:{id}",
    "fields": {"id": "id", "type": "type", "name": "name"},
    "ignore": ["updated_at"],
    "only_in_d1": "block",
}


@contextmanager
def sqlite(script: str = "") -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:")) as database:
        database.executescript(script)
        yield database


def rule(**changes: object) -> Correspondence:
    return Correspondence.of({**DEFINITION, **changes})


def equal(field: str, cell: object, *rules: str) -> bool:
    """Whether JSON text equals a value that went through a real SQLite, by these type rules."""
    with sqlite() as database:
        kind, value = database.execute("SELECT substr(typeof(v), 1, 1), v FROM (SELECT ? AS v)", [cell]).fetchone()
    if kind == "i":
        value = str(value)
    named, column = TypeRules.of(rules), canonical_cell(kind, value)
    form = canonical_field(DECODER.decode(field))
    return named.apply(form)[0] == named.apply(column)[0] or field_digest(form) == json_digest(column)


@pytest.mark.parametrize(
    ("field", "cell"),
    [
        ('"東京"', "東京"),
        ('"\\u6771\\u4eac"', "東京"),
        ("1", 1),
        ("1.0", 1),
        ("1e0", 1.0),
        ("-0", 0),
        ("0.1", 0.1),
        ("9007199254740993", 9007199254740993),
        ("true", 1),
        ("false", 0),
        ("null", None),
        ('""', ""),
        ('{"b": [1, 2.0], "a": "x"}', '{"a":"x","b":[1,2]}'),
        ("[]", " [ ]"),
        ('"[1]"', "[1]"),
        ("[1]", "[1]"),
        ('"{broken"', "{broken"),
        ("1e300", 1e300),
    ],
)
def test_equal_content_is_equal(field: str, cell: object) -> None:
    assert equal(field, cell, *DEFAULT)


@pytest.mark.parametrize(
    ("field", "cell"),
    [
        ('"1"', 1),
        ("1", "1"),
        ('"a"', "A"),
        ('"a "', "a"),
        ('"が"', "か\u3099"),
        ("9007199254740993", 9007199254740992),
        ("9007199254740993", 9007199254740992.0),
        ("true", "true"),
        ('""', None),
        ("null", ""),
        ("0", None),
        ("null", 0),
        ('{"a": 1}', '{"a": "1"}'),
        ('{"a": [1, 2]}', '{"a": [2, 1]}'),
        ('{"a": true}', '{"a": 1}'),
        ('"x"', b"x"),
        ('"120"', b"x"),
        ('"\\ud800"', "\ufffd"),
    ],
)
def test_other_content_is_different(field: str, cell: object) -> None:
    assert not equal(field, cell, *DEFAULT)


@given(st.integers(-(2**63), 2**63 - 1))
def test_every_integer_of_sqlite_equals_its_own_spelling_and_not_the_next(value: int) -> None:
    assert number(str(value)) == str(value)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-1000, 1000) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_spacing_and_order_of_members_never_matter(value: object) -> None:
    turned = dict(reversed(value.items())) if isinstance(value, dict) else value
    one, other = json.dumps(value), json.dumps(turned, indent=2, ensure_ascii=False)
    assert canonical_field(DECODER.decode(one)) == canonical_field(DECODER.decode(other))


def test_a_field_that_is_neither_compared_nor_ignored_is_a_difference() -> None:
    found = rule().key_from_bytes("master:a:1", b'{"id": "1", "type": "a", "updated_at": 5, "secret": null}')
    assert found.findings == [Finding("master:a:1", "unknown_field", "secret")]


@pytest.mark.parametrize(
    "data", [b"[]", b'"text"', b"", b"{", b"\xff", b'\xef\xbb\xbf{"id": "1"}', b'{"a": NaN}', b"[" * 200_000]
)
def test_a_value_that_is_no_json_object_is_a_difference(data: bytes) -> None:
    found = rule().key_from_bytes("master:a:1", data)
    assert (found.rows, found.findings) == ([KeyRow("", None)], [Finding("master:a:1", "not_an_object")])


def test_digests_hold_no_value() -> None:
    found = rule().key_from_bytes("master:a:1", b'{"id": "1", "type": "a", "name": "canary-5f2c"}')
    assert "canary" not in repr(found)


def test_the_last_of_two_equal_members_counts_as_for_a_worker() -> None:
    twice = rule().key_from_bytes("master:a:1", b'{"name": "old", "name": "new"}')
    assert twice.rows == rule().key_from_bytes("master:a:1", b'{"name": "new"}').rows


def test_the_name_of_a_file_row_comes_from_the_json_fields_of_its_columns() -> None:
    mapped = rule(fields={"code": "id", "kind": "type"})
    assert mapped.key_from_row("masters[0]", DECODER.decode('{"kind": "shop", "code": 7}')).name == "master:shop:7"


def test_a_file_row_may_carry_a_key_column_that_is_not_compared() -> None:
    uncompared = rule(fields={"name": "name"})
    found = uncompared.key_from_row("masters[0]", DECODER.decode('{"type": "shop", "id": "7", "name": "x"}'))
    assert (found.name, found.findings) == ("master:shop:7", ())


def test_a_file_row_without_its_key_is_a_difference_at_its_place() -> None:
    found = rule().key_from_row("masters[3]", DECODER.decode('{"type": "shop", "id": null}'))
    assert found.findings == [Finding("masters[3]", "missing_in_d1", "id")]


@pytest.mark.parametrize(
    "changes",
    [
        {"key": "master:"},
        {"key": "master:{}"},
        {"key": "master:{id"},
        {"key": "master:{id:>3}"},
        {"key": "master:{id!r}"},
        {"key": "clinic:{id}"},
        {"table": 'x" UNION SELECT "y'},
        {"fields": {"id": 'i"d'}},
        {"fields": {"id": "a\nb"}},
        {"fields": ["id"]},
        {"fields": {"id": "id", "updated_at": "updated_at"}},
        {"ignore": "updated_at"},
        {"table": ""},
    ],
)
def test_a_definition_that_cannot_be_used_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(BadDataset):
        rule(**changes)


def as_d1(row: sqlite3.Row) -> dict[str, Cell]:
    """A row as D1's JSON has it: bytes as their numbers."""
    return {name: list(row[name]) if isinstance(row[name], bytes) else row[name] for name in row.keys()}  # noqa: SIM118


def paged(script: str, key: str, limit: int) -> list[str]:
    """The names of table t, read page by page from a real SQLite."""
    mine = rule(prefix="k:", table="t", key=key, fields={})
    names: list[str] = []
    after: list[tuple[str, Cell]] = []
    with sqlite(script) as database:
        database.row_factory = sqlite3.Row
        for _ in range(20):
            page = [as_d1(row) for row in database.execute(*mine.d1.page_sql(after, limit))]
            if len(page) < limit:
                return names + [mine.read_row(row).name or "?" for row in page]
            after = mine.d1.key_of(page[-1])
            names += [mine.read_row(row).name or "?" for row in page if mine.d1.key_of(row) != after]
    raise AssertionError("the paging does not come to an end")


def test_integer_keys_are_paged_as_numbers() -> None:
    script = "CREATE TABLE t (id INTEGER PRIMARY KEY); INSERT INTO t VALUES (100), (9), (10), (-3);"
    assert paged(script, "k:{id}", 2) == ["k:-3", "k:9", "k:10", "k:100"]


def test_integer_keys_above_two_to_the_53_keep_their_digits() -> None:
    script = (
        "CREATE TABLE t (id INTEGER PRIMARY KEY); INSERT INTO t VALUES (9007199254740993), (9007199254740992), (1);"
    )
    assert paged(script, "k:{id}", 2) == ["k:1", "k:9007199254740992", "k:9007199254740993"]


def test_composite_keys_are_paged_column_by_column() -> None:
    script = (
        "CREATE TABLE t (a TEXT, b INTEGER); INSERT INTO t VALUES ('x', 10), ('x', 9), ('w', 100), ('y', 1), ('日', 2);"
    )
    assert paged(script, "k:{a}:{b}", 2) == ["k:w:100", "k:x:9", "k:x:10", "k:y:1", "k:日:2"]


def test_untyped_columns_with_numbers_text_and_bytes_lose_no_row() -> None:
    script = "CREATE TABLE t (id); INSERT INTO t VALUES (10), (9), ('9'), ('a'), (9.5), (X'00ff'), (X'41');"
    assert paged(script, "k:{id}", 2) == ["k:9", "k:9.5", "k:10", "k:9", "k:a", "?", "?"]


def test_text_in_an_integer_column_and_quotes_in_a_key_lose_no_row() -> None:
    script = "CREATE TABLE t (id INTEGER); INSERT INTO t VALUES (2), ('o''x'), ('p\"y'), (1), ('07a');"
    assert paged(script, "k:{id}", 2) == ["k:1", "k:2", "k:07a", "k:o'x", 'k:p"y']


def test_rows_of_equal_key_are_all_read_across_pages() -> None:
    script = "CREATE TABLE t (id TEXT); INSERT INTO t VALUES ('a'), ('b'), ('b'), ('b'), ('c');"
    assert paged(script, "k:{id}", 4) == ["k:a", "k:b", "k:b", "k:b", "k:c"]


def test_a_page_uses_the_index_of_the_key() -> None:
    sql, params = rule().d1.page_sql([("t", "a"), ("i", "9")], 10)
    with sqlite("CREATE TABLE masters (type TEXT, id INTEGER, name TEXT, PRIMARY KEY (type, id))") as database:
        plan = " ".join(str(row[3]) for row in database.execute(f"EXPLAIN QUERY PLAN {sql}", params))
    assert "(type,id)>(?,?)" in plan
    assert "TEMP B-TREE" not in plan


def test_a_column_that_is_not_there_is_an_error_and_never_a_text() -> None:
    missing = pytest.raises(sqlite3.OperationalError, match="no such column")
    with sqlite("CREATE TABLE masters (type TEXT, id TEXT)") as database, missing:
        database.execute(*rule().d1.page_sql([], 10))


def test_the_longest_covering_prefix_is_the_dataset_of_a_prefix(db: None) -> None:
    generation_helpers.dataset()
    generation_helpers.dataset(name="shops", prefix="master:shop:")
    found = [
        dataset_registry.dataset_for("SETTINGS", prefix)
        for prefix in ("master:", "master:shop:", "master:shop:1", "master:x")
    ]
    assert [one and one.name for one in found] == ["masters", "shops", "shops", "masters"]


@pytest.mark.parametrize(
    ("binding", "prefix"), [("SETTINGS", "mast"), ("SETTINGS", "mastercache:"), ("OTHER", "master:")]
)
def test_a_prefix_that_is_not_covered_has_no_dataset(db: None, binding: str, prefix: str) -> None:
    generation_helpers.dataset()
    assert dataset_registry.dataset_for(binding, prefix) is None


def test_the_digest_of_a_definition_follows_its_content_and_not_its_row(db: None) -> None:
    first = generation_helpers.dataset()
    digests = {dataset_registry.definition_digest(first)}
    first.delete()
    digests.add(dataset_registry.definition_digest(generation_helpers.dataset()))
    assert len(digests) == 1
    first.only_in_d1 = "allow"
    assert dataset_registry.definition_digest(first) not in digests


def test_an_environment_without_the_database_says_what_to_do(estate: make.Estate) -> None:
    elsewhere = generation_helpers.dataset(database="STAFF_D1")
    with pytest.raises(dataset_registry.NoDatabase, match="QA has no D1 database bound as STAFF_D1"):
        dataset_registry.environment_database(estate.qa.environment, elsewhere)
