"""Since when a value is unchanged, without a row: the chain of digests, and changes of ours."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from backups.history import unchanged
from backups.history.unchanged import Span, Unchanged
from backups.models import KeyChange


def day(number: float) -> datetime:
    return datetime(2026, 11, 1, tzinfo=UTC) + timedelta(days=number)


def span(digest: str, first: float, last: float, key: str = "k") -> Span:
    return Span(key, digest, day(first), day(last))


def change(at: float | None, *, parts: Sequence[str] = ("value",), after: str = "b", **more: object) -> KeyChange:
    values = {"digest_key": "k", "digest_before": "a", "digest_after": after, **more}
    return KeyChange(settled_at=None if at is None else day(at), parts=list(parts), **values)


# The chain of digests


A, B = span("a", 1, 3), span("b", 4, 6)


@pytest.mark.parametrize(
    ("spans", "kept", "chain", "changed"),
    [
        ([], [], [], False),
        ([A], [], [A], False),
        ([B, A], [], [B], True),
        ([B, A], [("k", "b", "a")], [B, A], False),
        ([B, A], [("k", "a", "b")], [B], True),
        ([B, A], [("other", "b", "a")], [B], True),
        ([span("c", 7, 8), B, A], [("k", "c", "b")], [span("c", 7, 8), B], True),
        ([span("n", 6, 9, "new"), B, A], [], [span("n", 6, 9, "new"), B], True),
        ([span("n", 4, 9, "new"), B, A], [], [span("n", 4, 9, "new"), B], True),
        ([span("n", 7, 9, "new"), B, A], [], [span("n", 7, 9, "new")], False),
        ([span("n", 3, 9, "new"), B, A], [], [span("n", 3, 9, "new"), A], False),
        ([B, span("a", 1, 4)], [], [B], False),
        ([B, span("n", 5, 9, "new")], [], [B], False),
    ],
)
def test_a_chain_goes_back_as_long_as_the_value_is_the_same(
    spans: list[Span], kept: list[tuple[str, str, str]], chain: list[Span], changed: bool
) -> None:
    assert unchanged._chain(spans, kept) == (chain, changed)


# Changes of ours


@pytest.mark.parametrize(
    ("made", "newest", "digests", "holds"),
    [
        (change(5), None, set(), True), (change(None), None, set(), True), (change(5), day(4), set(), True),
        (change(5), day(5), set(), False), (change(None), day(4), set(), False),
        (change(5), day(5), {("k", "b")}, True), (change(5), day(6), {("k", "a"), ("other", "b")}, False),
        (change(None), day(6), {("k", "b")}, True),
    ],
)  # fmt: skip
def test_a_change_holds_if_it_is_newer_or_its_digest_is_there(
    made: KeyChange, newest: datetime | None, digests: set[tuple[str, str]], holds: bool
) -> None:
    assert unchanged._holds(made, newest, digests) is holds


@pytest.mark.parametrize(
    ("spans", "changes", "restored", "since"),
    [
        ([], [], [], Unchanged(None, changed=False)),
        ([A], [], [], Unchanged(day(1), changed=False)),
        ([B, A], [], [], Unchanged(day(4), changed=True)),
        ([B, A], [change(3.5)], [], Unchanged(day(3.5), changed=True)),
        ([B, A], [change(None)], [], Unchanged(day(4), changed=True)),
        ([B, A], [change(3.5, parts=["metadata"])], [], Unchanged(day(1), changed=False)),
        ([B, A], [change(3.5, parts=["metadata"], new_key=True)], [], Unchanged(day(3.5), changed=True)),
        ([B, A], [change(3.5, after="c")], [], Unchanged(day(4), changed=True)),
        ([B, A], [change(7, after="c")], [], Unchanged(day(7), changed=True)),
        ([B, A], [change(7, after="c"), change(8, after="d")], [], Unchanged(day(8), changed=True)),
        ([], [change(None)], [], Unchanged(None, changed=False)),
        ([B, A], [], [day(6)], Unchanged(day(4), changed=True)),
        ([B, A], [], [day(6.5)], Unchanged(day(6.5), changed=True)),
        ([], [], [day(2)], Unchanged(day(2), changed=True)),
        ([span("n", 7, 9, "new"), B], [], [], Unchanged(day(7), changed=False)),
        ([span("n", 7, 9, "new"), span("o", 8, 8, "old")], [], [], Unchanged(day(7), changed=False)),
        ([span("n", 7, 9, "new"), span("o", 7, 7, "old")], [], [], Unchanged(day(7), changed=False)),
        ([span("o", 6, 9, "new"), B], [], [], Unchanged(day(4), changed=False)),
    ],
)
def test_a_value_is_unchanged_since_its_chain_began_or_we_wrote_it(
    spans: list[Span], changes: list[KeyChange], restored: list[datetime], since: Unchanged
) -> None:
    assert unchanged.unchanged_since(spans, changes, restored) == since
