"""After a rotation of the digest key, the first backup is digested with the older key too, or is not comparable."""

import secrets

import pytest

from audit.actions import Action
from audit.models import Entry
from backups import archive
from backups.generations.export import Export
from backups.models import OutsideSearch
from kvops import timing
from tests import keys, make
from tests.backups.changes import helpers as change_helpers
from tests.backups.changes.helpers import KEY
from tests.backups.outside_changes import helpers as outside_helpers
from tests.backups.outside_changes.helpers import backed_up, found, searched, wrangler_put
from tests.signing import signed_in

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("encrypting")]
NEWER = secrets.token_urlsafe(48)


@pytest.fixture(autouse=True)
def settles_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "SETTLE", 0.02)


@pytest.fixture
def mail(estate: make.Estate, people: make.People) -> make.Estate:
    return outside_helpers.settings(estate)


def rotate(monkeypatch: pytest.MonkeyPatch, *, keep: bool) -> None:
    """A new digest key, with the older one below it or without it."""
    monkeypatch.setenv("TEST_DIGEST_KEY", f"{NEWER}\n{keys.DIGEST_KEY}\n" if keep else NEWER)


def test_with_the_older_key_the_two_backups_are_compared(mail: make.Estate, monkeypatch: pytest.MonkeyPatch) -> None:
    wrangler_put(mail)
    rotate(monkeypatch, keep=True)
    made = backed_up(mail)
    assert found(made) == {KEY: "changed"}
    assert made.digest_key == archive.key_id(NEWER.encode())
    assert made.older_digest_key == archive.key_id(keys.DIGEST_KEY.encode())


def test_only_the_first_backup_after_it_is_digested_twice(mail: make.Estate, monkeypatch: pytest.MonkeyPatch) -> None:
    rotate(monkeypatch, keep=True)
    assert found(backed_up(mail)) == {}
    wrangler_put(mail)
    second = backed_up(mail)
    assert (found(second), second.older_digest_key) == ({KEY: "changed"}, "")
    assert not second.entries.filter(older_digest__isnull=False).exists()


def test_without_it_they_are_not_comparable_and_nothing_is_called_changed(
    mail: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    rotate(monkeypatch, keep=False)
    search = searched(backed_up(mail))
    assert (search.outcome, search.reason, search.found) == (OutsideSearch.Outcome.NOT_COMPARABLE, "digest_key", 0)
    assert Entry.objects.get(action=Action.OUTSIDE_NOT_COMPARABLE).subject == search.subject
    browser = signed_in(people.auditor)
    assert "not comparable with the one before" in browser.get("/").text
    assert "keep the older key below the new one" in browser.get(f"/unexplained/settings/{search.pk}/").text


def test_a_backup_whose_older_key_goes_meanwhile_is_not_comparable(
    mail: make.Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    rotate(monkeypatch, keep=True)
    sample = Export.sample

    def without_older_key(export: Export) -> None:
        assert export.generation.older_digest_key
        rotate(monkeypatch, keep=False)
        sample(export)

    monkeypatch.setattr(Export, "sample", without_older_key)
    made = backed_up(mail)
    assert (made.older_digest_key, searched(made).reason, found(made)) == ("", "digest_key", {})


def test_the_backup_after_it_is_comparable_again(mail: make.Estate, monkeypatch: pytest.MonkeyPatch) -> None:
    rotate(monkeypatch, keep=False)
    backed_up(mail)
    wrangler_put(mail)
    assert found(backed_up(mail)) == {KEY: "changed"}


@pytest.mark.parametrize("before", [True, False])
def test_a_change_of_ours_around_the_rotation_is_explained(
    mail: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch, *, before: bool
) -> None:
    if before:
        change_helpers.done(mail.qa, people)
    rotate(monkeypatch, keep=True)
    if not before:
        change_helpers.done(mail.qa, people)
    assert (found(made := backed_up(mail)), searched(made).explained) == ({}, 1)


@pytest.mark.parametrize("before", [True, False])
def test_a_put_after_a_change_of_ours_around_the_rotation_is_found(
    mail: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch, *, before: bool
) -> None:
    if before:
        change_helpers.done(mail.qa, people)
    rotate(monkeypatch, keep=True)
    if not before:
        change_helpers.done(mail.qa, people)
    wrangler_put(mail)
    assert found(backed_up(mail)) == {KEY: "changed"}
