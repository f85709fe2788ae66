"""The chain itself, without a database."""

import tracemalloc
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given, strategies as st

from audit.chain import (
    GENESIS,
    JSON,
    ChainProblem,
    Content,
    Link,
    NotRecordableError,
    canonical_entry,
    entry_hash,
    problems,
)
from tests.audit.make import CONTENT, link, links

CHANGES: dict[str, object] = {
    "seq": 2,
    "at": CONTENT.at + timedelta(microseconds=1),
    "action": "scan.failed",
    "actor_id": None,
    "actor": "operator@example.org",
    "environment": "production",
    "subject": "scan:4",
    "subject_label": "CACHE",
    "digest": "ac",
    "details": {"keys": 4, "binding": "SETTINGS"},
}


def found(chain: Iterable[Link], head: Link) -> list[ChainProblem]:
    return list(problems(chain, head_sequence=head.content.seq, head_hash=head.row_hash))


def test_every_field_has_a_change_below() -> None:
    assert CHANGES.keys() == set(Content.__dataclass_fields__)


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_of_any_field_changes_the_hash(name: str) -> None:
    changed = replace(CONTENT, **{name: CHANGES[name]})  # type: ignore[arg-type]
    assert entry_hash(GENESIS, canonical_entry(changed)) != entry_hash(GENESIS, canonical_entry(CONTENT))


def test_the_hash_covers_the_entry_before() -> None:
    assert entry_hash(b"\1" * 32, b"x") != entry_hash(GENESIS, b"x")


def test_a_previous_hash_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="31 bytes"):
        entry_hash(GENESIS[1:], b"x")


def test_the_canonical_bytes_are_the_documented_ones() -> None:
    content = replace(CONTENT, actor_id=None, subject_label="設定", details={"b": [True, None], "a": "é"})
    fields = [
        "kvops-audit-1",
        "1",
        "2026-11-25T09:00:00.000000+00:00",
        "scan.started",
        "",
        "operator@example.com",
        "qa",
        "scan:3",
        "設定",
        "ab",
        '{"a":"é","b":[true,null]}',
    ]
    expected = b"".join(len(f.encode()).to_bytes(4, "big") + f.encode() for f in fields)
    assert canonical_entry(content) == expected


TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=6)


@given(st.tuples(TEXTS, TEXTS, TEXTS), st.tuples(TEXTS, TEXTS, TEXTS))
def test_text_cannot_move_between_fields(one: tuple[str, str, str], other: tuple[str, str, str]) -> None:
    def written(texts: tuple[str, str, str]) -> bytes:
        environment, subject, digest = texts
        return canonical_entry(replace(CONTENT, environment=environment, subject=subject, digest=digest))

    assert (written(one) == written(other)) == (one == other)


def test_the_same_moment_in_another_zone_is_the_same_entry() -> None:
    tokyo = CONTENT.at.astimezone(timezone(timedelta(hours=9)))
    assert canonical_entry(replace(CONTENT, at=tokyo)) == canonical_entry(CONTENT)


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(NotRecordableError, match="time zone"):
        canonical_entry(replace(CONTENT, at=datetime(2026, 1, 1)))  # noqa: DTZ001


def test_the_order_of_the_details_does_not_matter() -> None:
    turned = replace(CONTENT, details={"binding": "SETTINGS", "keys": 3})
    assert canonical_entry(turned) == canonical_entry(CONTENT)


@pytest.mark.parametrize(
    ("details", "reason"),
    [
        ({"share": 0.5}, "float"),
        ({"deep": [{"share": float("nan")}]}, "float"),
        ({"raw": b"x"}, "bytes"),
        ({"long": "x" * 2_001}, "2001 characters"),
        ({"x" * 2_001: 1}, "2001 characters"),
        ({str(n): "あ" * 600 for n in range(10)}, "at most 16384"),
        ({"nul": "a\0b"}, "NUL"),
        ({"surrogate": "\ud800"}, "lone surrogate"),
        ({1: "x"}, "not a text"),
        ({"a": [[[[[[[[[]]]]]]]]]}, "nested"),
    ],
)
def test_details_that_have_no_one_form_or_no_end_are_refused(details: dict[str, JSON], reason: str) -> None:
    with pytest.raises(NotRecordableError, match=reason):
        canonical_entry(replace(CONTENT, details=details))


def test_a_correct_chain_has_no_problem() -> None:
    chain = list(links(5))
    assert found(chain, chain[-1]) == []


def test_an_empty_chain_has_no_problem() -> None:
    assert list(problems([], head_sequence=0, head_hash=GENESIS)) == []


def test_an_edited_column_is_found() -> None:
    chain = list(links(5))
    chain[2] = replace(chain[2], content=replace(chain[2].content, actor="nobody"))
    assert found(chain, chain[-1]) == [ChainProblem(3, "the columns differ from the canonical bytes")]


def test_edited_columns_and_bytes_are_found() -> None:
    chain = list(links(5))
    edited = replace(chain[2].content, actor="nobody")
    chain[2] = replace(chain[2], content=edited, canonical=canonical_entry(edited))
    assert [problem.sequence for problem in found(chain, chain[-1])] == [3]


def test_an_edit_with_its_own_hash_made_right_is_found_at_the_next_entry() -> None:
    chain = list(links(5))
    chain[2] = link(replace(chain[2].content, actor="nobody"), chain[2].prev_hash)
    expected = "prev_hash is not the hash of the entry before it"
    assert found(chain, chain[-1]) == [ChainProblem(4, expected)]


def test_details_that_could_never_be_recorded_are_found() -> None:
    chain = list(links(3))
    chain[1] = replace(chain[1], content=replace(chain[1].content, details={"x": 0.5}))  # type: ignore[dict-item]
    assert "cannot be an entry" in found(chain, chain[-1])[0].problem


def test_a_missing_entry_is_found() -> None:
    chain = list(links(5))
    assert found(chain[:2] + chain[3:], chain[-1]) == [ChainProblem(4, "gap: the entry before it has number 2")]


def test_swapped_entries_are_found() -> None:
    chain = list(links(5))
    chain[1], chain[2] = chain[2], chain[1]
    assert 3 in [problem.sequence for problem in found(chain, chain[-1])]


def test_swapped_entries_with_swapped_numbers_are_found() -> None:
    one, two, three = links(3)
    first = replace(three, content=replace(three.content, seq=2))
    second = replace(two, content=replace(two.content, seq=3))
    assert {problem.sequence for problem in found([one, first, second], three)} == {2, 3}


def test_an_inserted_entry_is_found() -> None:
    chain = list(links(3))
    extra = link(replace(CONTENT, seq=3, at=chain[1].content.at), chain[1].row_hash)
    assert found([*chain[:2], extra, chain[2]], chain[-1])[0].sequence == 3


def test_a_cut_tail_is_found() -> None:
    chain = list(links(5))
    assert found(chain[:3], chain[-1]) == [ChainProblem(4, "entries are missing: the head says 5, the last is 3")]


def test_a_rewritten_last_entry_is_found() -> None:
    chain = list(links(3))
    forged = link(replace(chain[2].content, actor="nobody"), chain[2].prev_hash)
    assert [problem.sequence for problem in found([*chain[:2], forged], chain[-1])] == [3]


def test_a_first_entry_that_follows_something_is_found() -> None:
    forged = link(CONTENT, b"\1" * 32)
    assert found([forged], forged)[0].sequence == 1


def test_a_hash_of_another_length_is_found() -> None:
    cut = replace(link(CONTENT, GENESIS), prev_hash=b"")
    assert ChainProblem(1, "prev_hash is not a SHA-256 hash") in found([cut], cut)


def test_time_that_goes_back_is_found() -> None:
    first = link(CONTENT, GENESIS)
    earlier = CONTENT.at - timedelta(seconds=1)
    second = link(replace(CONTENT, seq=2, at=earlier), first.row_hash)
    assert found([first, second], second) == [ChainProblem(2, "time goes back")]


def test_verification_keeps_no_entry_it_has_seen() -> None:
    *_, last = links(3_000)
    tracemalloc.start()
    assert found(links(3_000), last) == []
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000
