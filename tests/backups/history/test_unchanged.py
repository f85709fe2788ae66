"""Since when a settings value is unchanged: equal digests of one digest key, and changes that KVOps made."""

from datetime import UTC, datetime, timedelta

import pytest

from backups.history.unchanged import Span, Unchanged, of_key, unchanged_since
from backups.models import KeyChange
from tests import keys, make
from tests.backups.changes import helpers as change_helpers
from tests.backups.families.registering import scanned
from tests.backups.restores import helpers as restore_helpers
from tests.signing import signed_in

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
    assert unchanged_since(spans, changes, restored) == expected


@pytest.fixture
def secret(estate: make.Estate, encrypting: None) -> make.Estate:
    """One secret that a scan knows."""
    estate.put(estate.qa, "system-root", b"hunter2")
    scanned(estate)
    return estate


def age_of(estate: make.Estate) -> Unchanged:
    """The age of the secret in QA."""
    return of_key(estate.qa, "system-root")


@pytest.mark.django_db
def test_without_a_backup_nothing_is_known(secret: make.Estate) -> None:
    assert age_of(secret) == (None, False)


@pytest.mark.django_db
def test_equal_backups_keep_the_age_and_another_value_starts_it_anew(secret: make.Estate) -> None:
    first = restore_helpers.verified_backup(secret.qa, "system-root")
    restore_helpers.verified_backup(secret.qa, "system-root")
    assert age_of(secret) == (first.started_at, False)
    secret.put(secret.qa, "system-root", b"hunter3")
    third = restore_helpers.verified_backup(secret.qa, "system-root")
    assert age_of(secret) == (third.started_at, True)


@pytest.mark.django_db
def test_a_new_digest_key_does_not_change_the_age(secret: make.Estate, monkeypatch: pytest.MonkeyPatch) -> None:
    first = restore_helpers.verified_backup(secret.qa, "system-root")
    monkeypatch.setenv("TEST_DIGEST_KEY", f"{'new' * 20}\n{keys.DIGEST_KEY}")
    restore_helpers.verified_backup(secret.qa, "system-root")
    restore_helpers.verified_backup(secret.qa, "system-root")
    assert age_of(secret) == (first.started_at, False)


@pytest.mark.django_db
def test_without_the_older_digest_key_an_age_begins_anew_as_perhaps_older(
    secret: make.Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    restore_helpers.verified_backup(secret.qa, "system-root")
    monkeypatch.setenv("TEST_DIGEST_KEY", "new" * 20)
    second = restore_helpers.verified_backup(secret.qa, "system-root")
    assert age_of(secret) == (second.started_at, False)


@pytest.mark.django_db
def test_a_change_of_ours_starts_the_age_at_its_own_time(secret: make.Estate, people: make.People) -> None:
    restore_helpers.verified_backup(secret.qa, "system-root")
    change = change_helpers.proposed(secret.qa, people, "system-root")
    change_helpers.started(change, people)
    make.work()
    change = change_helpers.fresh(change)
    assert age_of(secret) == (change.settled_at, True)


@pytest.mark.django_db
def test_the_page_of_a_settings_key_says_since_when_and_never_the_value(
    secret: make.Estate, people: make.People
) -> None:
    secret.put(secret.qa, "page:a")
    scanned(secret)
    reader = signed_in(people.auditor)
    address = "/key/qa/SETTINGS/?name="
    assert "Unchanged since" not in reader.get(f"{address}system-root").text
    first = restore_helpers.verified_backup(secret.qa, "system-root")
    page = reader.get(f"{address}system-root").text
    assert "Unchanged since at least" in page
    assert first.started_at.astimezone(UTC).isoformat() in page
    assert "hunter2" not in page
    assert "Unchanged since" not in reader.get(f"{address}page:a").text
