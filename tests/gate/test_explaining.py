"""A change outside KVOps is hidden only if KVOps' own operations, or an expiration, led to it: to the second."""

from datetime import UTC, datetime, timedelta

import pytest

from backups.outside_changes.explained import ABSENT, UNKNOWN, Between, KeyContent, OwnOperation, explained

START = datetime(2026, 11, 28, tzinfo=UTC)
DAY = 86_400


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


BETWEEN = Between(at(0), at(DAY), at(DAY + 60))


def content(value: str, key: str = "k1", expires: int | None = None) -> KeyContent:
    return KeyContent({key: value}, None if expires is None else int(at(expires).timestamp()))


def operation(
    begun: float, ended: float, after: KeyContent, before: KeyContent = UNKNOWN, *, certain: bool = True
) -> OwnOperation:
    return OwnOperation("a", at(begun), at(ended), after, before, certain)


A, B, C = content("a"), content("b"), content("c")
BOTH = KeyContent({"k1": "a", "k2": "x"})
ALIKE: list[tuple[KeyContent, KeyContent, bool]] = [
    (ABSENT, ABSENT, True),
    (ABSENT, UNKNOWN, True),
    (ABSENT, A, False),
    (UNKNOWN, UNKNOWN, True),
    (UNKNOWN, A, True),
    (A, content("a"), True),
    (A, B, False),
    (A, content("b", "k2"), True),
    (BOTH, A, True),
    (BOTH, KeyContent({"k1": "a", "k2": "y"}), False),
]


@pytest.mark.parametrize(("one", "other", "alike"), ALIKE)
def test_two_contents_may_be_the_same_unless_a_common_key_tells_them_apart(
    one: KeyContent, other: KeyContent, alike: bool
) -> None:
    assert one.may_be(other) is other.may_be(one) is alike


def test_an_entry_has_expired_from_its_second_on() -> None:
    assert content("a", expires=5).expired(at(5))
    assert content("a", expires=5).expired(at(6))
    assert not content("a", expires=5).expired(at(4.9))
    assert not A.expired(at(0))


@pytest.mark.parametrize(
    ("begun", "ended", "optional"),
    [(-1, 5, True), (0, 5, True), (1, 5, False), (1, DAY - 1, False), (1, DAY, True), (1, DAY + 1, True)],
)
def test_only_an_operation_beside_the_reading_of_a_backup_may_be_missing_in_it(
    begun: int, ended: int, optional: bool
) -> None:
    mine = operation(begun, ended, B, A)
    assert explained(A, [mine], B, BETWEEN)
    assert explained(A, [mine], A, BETWEEN) is optional
    assert not explained(A, [mine], C, BETWEEN)


def test_an_operation_that_may_have_failed_explains_both_contents() -> None:
    for certain, both in ((True, False), (False, True)):
        mine = operation(1, 2, B, A, certain=certain)
        assert explained(A, [mine], B, BETWEEN)
        assert explained(A, [mine], A, BETWEEN) is both


def test_an_operation_that_found_another_entry_explains_nothing() -> None:
    assert not explained(A, [operation(1, 2, C, B)], C, BETWEEN)
    assert not explained(A, [operation(1, 2, C, B)], A, BETWEEN)
    assert not explained(A, [operation(1, 2, C, B, certain=False)], C, BETWEEN)
    assert explained(A, [operation(1, 2, C, B, certain=False)], A, BETWEEN)


def test_operations_are_followed_by_their_ends_and_then_by_their_begins() -> None:
    second, first = operation(1, 4, C, B), operation(2, 3, B, A)
    assert explained(A, [second, first], C, BETWEEN)
    assert not explained(A, [second, first], B, BETWEEN)
    later, sooner = operation(2, 4, C, B), operation(1, 4, B, A)
    assert explained(A, [later, sooner], C, BETWEEN)
    assert not explained(A, [later, sooner], B, BETWEEN)


def test_an_expiration_until_the_end_of_the_newer_backup_explains_only_that_a_key_is_gone() -> None:
    for seconds, gone in ((DAY, True), (DAY + 60, True), (DAY + 61, False)):
        assert explained(content("a", expires=seconds), [], ABSENT, BETWEEN) is gone
    assert not explained(content("a", expires=5), [], B, BETWEEN)
    assert not explained(A, [], ABSENT, BETWEEN)


def test_a_new_key_after_an_expiration_was_put_when_that_had_passed() -> None:
    for expires, fits in ((19, True), (20, True), (21, False)):
        mine = content("a", expires=expires)
        assert explained(mine, [operation(10, 20, B, ABSENT)], B, BETWEEN) is fits
    assert not explained(content("a", expires=5), [operation(10, 20, C, B)], C, BETWEEN)
