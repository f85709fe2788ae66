"""Late, too large and refused settings backups are told: on the page, on the overview and to the operators."""

import re

import pytest

from audit import log
from backups.exports import onepassword_store
from backups.models import Generation
from backups.vault import announcements as vault_announcements, standing
from backups.vault.standing import Place
from kvops import timing
from kvops.models import Environment, Heartbeat, Notification
from kvops.overview.estate import Estate
from tests import make
from tests.backups.restores import helpers as restore_helpers
from tests.backups.vault.test_start import kept
from tests.signing import signed_in

pytestmark = pytest.mark.django_db


def place(backup: Generation) -> str:
    """The state of the only line."""
    [line] = standing.lines(Environment.objects.get(slug="qa"))
    return line.place


def told() -> list[str]:
    """The titles of the notifications of one round, each once."""
    with log.transaction():
        vault_announcements.in_time(Environment.objects.get(slug="qa"), make.SETUP)
    return sorted(set(Notification.objects.filter(event="vault.lacks").values_list("title", flat=True)))


def test_a_new_backup_waits_for_its_due_time_and_then_is_kept(backup: Generation, people: make.People) -> None:
    assert (place(backup), told(), list(standing.alarms(Estate()))) == (Place.DUE, [], [])
    kept(backup)
    assert (place(backup), told(), list(standing.alarms(Estate()))) == (Place.KEPT, [], [])


def test_a_late_backup_is_an_amber_alarm_and_told_once(
    backup: Generation, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "VAULT_LATE", -1.0)
    assert place(backup) == Place.LATE
    assert told() == told() == ["The settings backup of qa/SETTINGS system-root* is late in 1Password"]
    assert Notification.objects.filter(event="vault.lacks").count() == 2  # one for each operator
    [alarm] = list(standing.alarms(Estate()))
    assert (alarm.level, alarm.text) == ("warning", "qa/SETTINGS system-root* (late)")


def test_a_backup_that_is_late_in_another_vault_is_told_again(
    backup: Generation, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "VAULT_LATE", -1.0)
    for vault in ("Operations", "Another"):
        Environment.objects.filter(slug="qa").update(vault=vault)
        told()
    assert Notification.objects.filter(event="vault.lacks", person=people.operator).count() == 2


def test_newer_backups_do_not_hide_that_none_is_kept(
    backup: Generation, estate: make.Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept(backup)
    newer = restore_helpers.verified_backup(estate.qa, "system-root")
    restore_helpers.verified_backup(estate.qa, "system-root")
    [line] = standing.lines(Environment.objects.get(slug="qa"))
    assert line.since == newer.finished_at


def test_a_vault_that_was_just_named_is_not_late(backup: Generation) -> None:
    [line] = standing.lines(Environment.objects.get(slug="qa"))
    assert backup.finished_at is not None
    assert line.since is not None
    assert line.since >= Environment.objects.get(slug="qa").updated_at


def test_too_large_a_backup_is_told_with_the_limit(
    backup: Generation, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onepassword_store, "LIMIT", 10)
    assert place(backup) == Place.TOO_LARGE
    assert told() == ["The settings backup of qa/SETTINGS system-root* is too large for 1Password"]
    page = signed_in(people.auditor).get("/backups/vault/").content.decode()
    assert "at most 10 bytes" in page


def test_a_refused_backup_is_told_by_its_run(backup: Generation, estate: make.Estate, people: make.People) -> None:
    estate.s3.objects[backup.object_keys()[0]] = b"forged"
    kept(backup)
    [line] = standing.lines(Environment.objects.get(slug="qa"))
    assert (line.place, "differs from the one that was written" in str(line.reason)) == (Place.REFUSED, True)
    assert (told(), len(list(standing.alarms(Estate())))) == ([], 1)
    assert Notification.objects.filter(event="run.failed").exists()


@pytest.mark.parametrize("what", ["late", "too large", "could not be kept"])
def test_the_list_and_the_overview_say_it(
    backup: Generation, estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    match what:
        case "late":
            monkeypatch.setattr(timing, "VAULT_LATE", -1.0)
        case "too large":
            monkeypatch.setattr(onepassword_store, "LIMIT", 10)
        case _:
            estate.s3.objects[backup.object_keys()[0]] = b"forged"
            kept(backup)
    listed, overview = (signed_in(people.auditor).get(address).text for address in ("/backups/vault/", "/"))
    assert re.search(rf"{what.capitalize()}[^<]*</span>", listed)
    assert f"({what})" in overview


def test_the_page_says_how_to_set_it_up(backup: Generation, people: make.People) -> None:
    Heartbeat.objects.all().delete()
    Environment.objects.update(vault="")
    page = signed_in(people.auditor).get("/backups/vault/").content.decode()
    assert all(text in page for text in ("OP_SERVICE_ACCOUNT_TOKEN", "requirements-onepassword.txt", "vault ="))


def test_the_button_is_off_with_its_reason(backup: Generation, people: make.People) -> None:
    Heartbeat.objects.all().delete()
    page = signed_in(people.operator).get(f"/backups/{backup.pk}/").content.decode()
    assert "No worker that may use 1Password was seen lately." in page
    assert f'action="/backups/{backup.pk}/keep"' not in page
    assert "Only an operator can start it." in signed_in(people.auditor).get(f"/backups/{backup.pk}/").content.decode()
