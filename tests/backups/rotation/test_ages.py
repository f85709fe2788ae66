"""Since when a settings value is unchanged: equal digests of one digest key, and changes that KVOps made."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from backups.models import KeyChange
from backups.rotation import ages as value_ages
from backups.rotation.ages import RotationState, Span, ValueAge, unchanged_since
from kvops import clock
from kvops.models import Category, Family
from tests import keys, make
from tests.backups.changes import helpers as change_helpers
from tests.backups.families.registering import scanned
from tests.backups.restores import helpers as restore_helpers

START = datetime(2026, 1, 1, tzinfo=UTC)


def day(number: int) -> datetime:
    """Noon would do as well: a moment of this day."""
    return START + timedelta(days=number)


def span(digest: str, first: int, last: int, key: str = "k") -> Span:
    """Backups with this digest, from one day to another."""
    return Span(key, digest, day(first), day(last))


def ours(at: int, before: str, after: str, *parts: str, key: str = "k") -> KeyChange:
    """An applied change of ours."""
    return KeyChange(
        settled_at=day(at), digest_key=key, digest_before=before, digest_after=after, parts=list(parts) or ["value"]
    )


@pytest.mark.parametrize(
    ("spans", "changes", "restored", "expected"),
    [
        ([], [], [], (None, False)),
        ([span("a", 1, 9)], [], [], (day(1), False)),
        ([span("b", 5, 9), span("a", 1, 4)], [], [], (day(5), True)),
        ([span("a", 7, 9), span("b", 5, 6), span("a", 1, 4)], [], [], (day(7), True)),
        ([span("x", 6, 9, "new"), span("a", 1, 5)], [], [], (day(6), False)),
        ([span("x", 6, 9, "new"), span("a", 1, 5)], [ours(3, "w", "a")], [], (day(6), False)),
        ([span("x", 6, 9, "new"), span("a", 1, 6)], [], [], (day(1), False)),
        ([span("x", 6, 6, "new"), span("a", 1, 6)], [ours(1, "w", "a")], [], (day(1), True)),
        ([span("x", 6, 9, "new"), span("b", 6, 6), span("a", 1, 5)], [], [], (day(6), True)),
        ([span("y", 8, 9, "new"), span("x", 6, 7, "new"), span("a", 1, 6)], [], [], (day(8), True)),
        ([span("a", 1, 9)], [ours(10, "a", "b")], [], (day(10), True)),
        ([span("b", 5, 9), span("a", 1, 4)], [ours(4, "a", "b")], [], (day(4), True)),
        ([span("c", 5, 9), span("a", 1, 3)], [ours(4, "a", "b")], [], (day(5), True)),
        ([span("b", 5, 9), span("a", 1, 4)], [ours(4, "a", "b", "metadata")], [], (day(1), False)),
        ([span("b", 5, 9), span("a", 1, 4)], [ours(4, "a", "b", "expiration", key="other")], [], (day(5), True)),
        ([span("a", 1, 9)], [ours(10, "a", "b", "metadata")], [], (day(1), False)),
        ([span("a", 1, 9)], [ours(5, "a", "b")], [], (day(1), False)),
        ([span("a", 1, 9)], [], [day(12)], (day(12), True)),
        ([span("a", 1, 9)], [], [day(5)], (day(1), False)),
        ([span("b", 5, 9), span("a", 1, 4)], [], [day(3)], (day(5), True)),
        ([], [ours(2, "", "a")], [], (day(2), True)),
    ],
    ids=[
        "never backed up",
        "the earliest backup of an unbroken run",
        "another digest before",
        "the same digest again after another",
        "another digest key is never compared",
        "nor is a change of ours with another digest key",
        "the first backup with another digest key has the older digest too",
        "with which a change of ours is exact",
        "or shows a change",
        "a change after another digest key",
        "a change of ours after the newest backup",
        "a change of ours that wrote what the backups hold",
        "a change of ours that was overwritten",
        "metadata alone keeps the age",
        "metadata alone with another digest key does not",
        "metadata alone after the newest backup",
        "a change of ours that was put back before the newest backup",
        "a restore after the newest backup",
        "a restore that the newest backups do not show",
        "a restore before the last change",
        "a new key of ours",
    ],
)
def test_the_time_since_which_a_value_is_unchanged(
    spans: list[Span], changes: list[KeyChange], restored: list[datetime], expected: tuple[datetime | None, bool]
) -> None:
    assert unchanged_since(spans, changes, restored)[:2] == expected


@pytest.mark.parametrize(
    ("age", "state"),
    [
        (timedelta(days=75), RotationState.FRESH),
        (timedelta(days=76), RotationState.DUE),
        (timedelta(days=89, hours=23), RotationState.DUE),
        (timedelta(days=90), RotationState.OVERDUE),
        (None, RotationState.UNKNOWN),
    ],
)
def test_a_value_is_due_two_weeks_before_its_days_are_over(age: timedelta | None, state: RotationState) -> None:
    family = Family(rotate_days=90)
    since = START - age if age is not None else None
    one = ValueAge(SimpleNamespace(), family, "k", since, False, None, START)  # type: ignore[arg-type]
    assert one.state == state
    family.rotate_days = 0
    assert one.state == RotationState.UNRULED


@pytest.fixture
def secret(estate: make.Estate, encrypting: None) -> make.Estate:
    """One secret whose family has a rule, known to a scan."""
    make.change_families("system-root", rotate_days=90)
    estate.put(estate.qa, "system-root", b"hunter2")
    scanned(estate)
    return estate


def age_of(estate: make.Estate) -> ValueAge:
    """The age of the secret in QA."""
    [found] = value_ages.ruled(estate.qa.environment)
    return found


@pytest.mark.django_db
def test_without_a_backup_nothing_is_known(secret: make.Estate) -> None:
    assert (age_of(secret).state, age_of(secret).since) == (RotationState.UNKNOWN, None)


@pytest.mark.django_db
def test_equal_backups_keep_the_age_and_another_value_starts_it_anew(secret: make.Estate) -> None:
    first = restore_helpers.verified_backup(secret.qa, "system-root")
    restore_helpers.verified_backup(secret.qa, "system-root")
    assert (age_of(secret).since, age_of(secret).changed) == (first.started_at, False)
    secret.put(secret.qa, "system-root", b"hunter3")
    third = restore_helpers.verified_backup(secret.qa, "system-root")
    assert (age_of(secret).since, age_of(secret).changed) == (third.started_at, True)


def test_an_age_is_cut_where_no_digest_of_an_older_key_leads_on() -> None:
    assert unchanged_since([span("x", 6, 9, "new"), span("a", 1, 5)], [], []).cut
    assert not unchanged_since([span("x", 6, 9, "new"), span("a", 1, 6)], [], []).cut
    assert not unchanged_since([span("y", 8, 9, "new"), span("x", 6, 7, "new"), span("a", 1, 5)], [], []).cut
    assert not unchanged_since([span("x", 6, 9, "new"), span("a", 1, 5)], [ours(10, "", "z", key="new")], []).cut


@pytest.mark.django_db
def test_a_new_digest_key_does_not_change_the_age(secret: make.Estate, monkeypatch: pytest.MonkeyPatch) -> None:
    first = restore_helpers.verified_backup(secret.qa, "system-root")
    monkeypatch.setenv("TEST_DIGEST_KEY", f"{'new' * 20}\n{keys.DIGEST_KEY}")
    restore_helpers.verified_backup(secret.qa, "system-root")
    restore_helpers.verified_backup(secret.qa, "system-root")
    assert (age_of(secret).since, age_of(secret).changed) == (first.started_at, False)
    assert age_of(secret).state == RotationState.FRESH


@pytest.mark.django_db
def test_without_the_older_digest_key_an_age_is_not_called_fresh(
    secret: make.Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    restore_helpers.verified_backup(secret.qa, "system-root")
    monkeypatch.setenv("TEST_DIGEST_KEY", "new" * 20)
    second = restore_helpers.verified_backup(secret.qa, "system-root")
    assert (age_of(secret).since, age_of(secret).state) == (second.started_at, RotationState.UNKNOWN)
    later(monkeypatch, 91)
    assert age_of(secret).state == RotationState.OVERDUE


@pytest.mark.django_db
def test_a_change_of_ours_starts_the_age_at_its_own_time(secret: make.Estate, people: make.People) -> None:
    restore_helpers.verified_backup(secret.qa, "system-root")
    change = change_helpers.proposed(secret.qa, people, "system-root")
    change_helpers.started(change, people)
    make.work()
    change = change_helpers.fresh(change)
    assert (age_of(secret).since, age_of(secret).changed) == (change.settled_at, True)


@pytest.mark.django_db
def test_other_environments_and_categories_are_not_mixed_in(secret: make.Estate) -> None:
    make.family("mail:", Category.SETTINGS)
    scanned(secret, "mail:smtp")
    restore_helpers.verified_backup(secret.qa, "")
    assert [one.name for one in value_ages.ruled()] == ["system-root"]
    names = {one.name: one.state for one in value_ages.ages(Family.objects.all())}
    assert names == {"system-root": RotationState.FRESH, "mail:smtp": RotationState.UNRULED}


def later(monkeypatch: pytest.MonkeyPatch, days: int) -> None:
    """Let the ages be asked for so many days from now."""
    now = clock.now() + timedelta(days=days)
    monkeypatch.setattr(value_ages, "clock", SimpleNamespace(now=lambda: now))
