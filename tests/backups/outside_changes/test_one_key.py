"""One key of settings against the last backup, on demand: a run in the worker, and no value anywhere."""

import pytest
from pytest_django.fixtures import Settings

from audit.actions import Action
from audit.models import Entry
from backups.models import SettingComparison
from backups.outside_changes import one_key
from kvops import timing
from kvops.models import Run
from tests import make
from tests.backups.changes import helpers as change_helpers
from tests.backups.changes.helpers import KEY
from tests.backups.outside_changes import helpers as outside_helpers
from tests.backups.outside_changes.helpers import wrangler_delete, wrangler_put
from tests.signing import signed_in

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("encrypting")]
PAGE = f"/key/qa/SETTINGS/?name={KEY}"


@pytest.fixture(autouse=True)
def settles_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "SETTLE", 0.02)


@pytest.fixture
def mail(estate: make.Estate, people: make.People) -> make.Estate:
    return outside_helpers.settings(estate)


def compared(estate: make.Estate, people: make.People, name: str = KEY) -> SettingComparison:
    made = one_key.compare_setting(estate.qa, name, by=people.operator)
    make.work()
    made.refresh_from_db()
    return made


def test_the_result_says_same_different_gone_new_or_nowhere(mail: make.Estate, people: make.People) -> None:
    assert compared(mail, people).result == "same"
    wrangler_put(mail)
    wrangler_put(mail, "mail:new")
    wrangler_delete(mail, "mail:to")
    results = [compared(mail, people, name).result for name in (KEY, "mail:new", "mail:to", "mail:never")]
    assert results == ["different", "not_in_backup", "gone", "nowhere"]


def test_a_difference_that_a_change_of_ours_made_is_explained(mail: make.Estate, people: make.People) -> None:
    change_helpers.done(mail.qa, people)
    assert (made := compared(mail, people)).result == "different"
    assert made.explained
    wrangler_put(mail)
    assert not compared(mail, people).explained


def test_the_older_value_put_back_after_a_change_of_ours_is_named(
    mail: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "STALE", 0.0)
    change_helpers.done(mail.qa, people)
    wrangler_put(mail, data=change_helpers.OLD)
    made = compared(mail, people)
    assert (made.result, made.explained) == ("put_back", False)


def test_it_is_recorded_with_the_key_and_without_a_value_or_digest(mail: make.Estate, people: make.People) -> None:
    wrangler_put(mail)
    made = compared(mail, people)
    entry = Entry.objects.get(action=Action.SETTING_COMPARED)
    assert (entry.details["key"], entry.details["result"]) == (KEY, "different")
    assert outside_helpers.SECRET.decode() not in str(Entry.objects.values_list("details", flat=True))
    assert made.run.result == {"generation": made.generation_id, "status": "different"}


def test_who_may_not_and_what_cannot_be_compared_is_refused(mail: make.Estate, people: make.People) -> None:
    with pytest.raises(one_key.SettingComparisonRefused, match="Only an operator or a reviewer"):
        one_key.compare_setting(mail.qa, KEY, by=people.auditor)
    with pytest.raises(one_key.SettingComparisonRefused, match="Only settings and unclassified"):
        one_key.compare_setting(mail.qa, "master:a:1", by=people.operator)
    with pytest.raises(one_key.SettingComparisonRefused, match="No verified encrypted backup covers"):
        one_key.compare_setting(mail.qa, "mystery", by=people.operator)
    assert not Run.objects.filter(kind=Run.Kind.COMPARE_SETTING).exists()


def test_the_button_on_the_page_of_the_key_starts_it_and_the_page_shows_the_result(
    mail: make.Estate, people: make.People
) -> None:
    wrangler_put(mail)
    reviewer = signed_in(people.reviewer)
    assert "Compare with the last backup" in reviewer.get(PAGE).text
    answer = reviewer.post(f"/key/qa/SETTINGS/compare?name={KEY}", follow=True)
    assert "The comparison has started." in answer.text
    make.work()
    shown = reviewer.get(PAGE).text
    assert "differs from the last backup" in shown
    assert outside_helpers.SECRET.decode() not in shown


def test_a_worker_without_the_digest_key_says_so(mail: make.Estate, people: make.People, settings: Settings) -> None:
    made = one_key.compare_setting(mail.qa, KEY, by=people.operator)
    settings.DIGEST_KEY = ""
    make.work()
    made.run.refresh_from_db()
    assert (made.run.state, made.run.error_code) == (Run.State.FAILED, "encryption")
    assert "KVOPS_DIGEST_KEY is not set" in made.run.error
