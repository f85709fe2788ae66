"""A difference is explained if KVOps' own operations may have led from one content to the other."""

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from backups.outside_changes.explained import ABSENT, UNKNOWN, Between, KeyContent, OwnOperation, explained

START = datetime(2026, 11, 28, 3, tzinfo=UTC)
BETWEEN = Between(START, START + timedelta(hours=24), START + timedelta(hours=24, minutes=1))


def at(hours: float) -> datetime:
    return START + timedelta(hours=hours)


def content(value: int, key: str = "k1", expiration: int | None = None) -> KeyContent:
    return KeyContent({key: f"{value:064x}"}, expiration)


def operation(hours: float, after: KeyContent, before: KeyContent = UNKNOWN, *, certain: bool = True) -> OwnOperation:
    return OwnOperation("a", at(hours), at(hours + 0.1), after, before, certain)


def test_nothing_explains_a_difference_without_an_operation() -> None:
    assert not explained(content(1), [], content(2), BETWEEN)
    assert not explained(content(1), [], ABSENT, BETWEEN)
    assert not explained(ABSENT, [], content(1), BETWEEN)


def test_the_last_operation_must_have_left_the_newer_content() -> None:
    first, second = operation(2, content(2), content(1)), operation(4, content(3), content(2))
    assert explained(content(1), [second, first], content(3), BETWEEN)
    assert not explained(content(1), [first, second], content(2), BETWEEN)
    assert not explained(content(1), [first, second], content(4), BETWEEN)


def test_an_operation_that_found_something_else_does_not_explain() -> None:
    assert not explained(content(1), [operation(2, content(3), content(2))], content(3), BETWEEN)


def test_a_deletion_and_a_new_key_explain() -> None:
    assert explained(content(1), [operation(2, ABSENT)], ABSENT, BETWEEN)
    assert explained(ABSENT, [operation(2, content(1), ABSENT)], content(1), BETWEEN)
    assert not explained(content(1), [operation(2, ABSENT)], content(2), BETWEEN)


@pytest.mark.parametrize("hours", [-0.05, 23.95])
def test_an_operation_while_a_backup_is_read_may_be_in_it_or_not(hours: float) -> None:
    mine = operation(hours, content(2), content(1))
    assert explained(content(1), [mine], content(2), BETWEEN)
    assert explained(content(2), [replace(mine, after=content(3)), operation(5, content(4))], content(4), BETWEEN)
    assert not explained(content(1), [mine], content(9), BETWEEN)


def test_an_operation_that_may_have_failed_explains_both() -> None:
    mine = operation(2, content(2), content(1), certain=False)
    assert explained(content(1), [mine], content(2), BETWEEN)
    assert explained(content(1), [mine, operation(4, content(3), content(1))], content(3), BETWEEN)
    assert not explained(content(1), [mine], content(3), BETWEEN)


def test_an_expiration_explains_that_a_key_is_gone() -> None:
    soon = int(at(3).timestamp())
    assert explained(content(1, expiration=soon), [], ABSENT, BETWEEN)
    assert explained(content(1, expiration=soon), [operation(5, content(2), ABSENT)], content(2), BETWEEN)
    assert not explained(content(1, expiration=int(at(30).timestamp())), [], ABSENT, BETWEEN)


def test_digests_of_different_keys_are_not_compared() -> None:
    mine = operation(2, content(2, "k2"))
    both = KeyContent({**content(7, "k1").digests, **content(2, "k2").digests})
    assert explained(content(1), [mine], both, BETWEEN)
    assert not explained(content(1), [mine], KeyContent({**both.digests, **content(3, "k2").digests}), BETWEEN)
    assert explained(content(1), [operation(2, UNKNOWN)], content(5), BETWEEN)


def test_of_a_thousand_histories_of_kvops_alone_none_is_reported_and_each_put_after_them_is() -> None:
    chance = random.Random(20)
    for _ in range(1_000):
        state = first = chance.choice([ABSENT, content(0)])
        history = []
        for number in range(chance.randrange(1, 6)):
            after = content(number + 1) if state.absent or chance.random() < 0.8 else ABSENT
            history.append(operation(1 + number * 3 + chance.random(), after, chance.choice([state, UNKNOWN])))
            state = after
        chance.shuffle(history)
        assert explained(first, history, state, BETWEEN)
        assert not explained(first, history, content(99), BETWEEN)
