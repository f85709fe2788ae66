"""Preferences: one's own language, zone and notices, on pages and in mails; nobody misses an alarm by them."""

from datetime import UTC, datetime, timedelta

import pytest
from django.conf import settings
from django.core import mail
from django.test import Client
from django.utils import timezone, translation

from audit import log
from audit.models import Entry
from kvops.environments.hours import next_opening
from kvops.models import Environment, Heartbeat, Notification, NotificationEvent, Person
from kvops.models.people import VOLUNTARY
from kvops.notifications import outbox
from kvops.preferences.notices import always_on
from kvops.refusals import Refused
from kvops.supervision import outage
from kvops.wording import english, moment, say, sentence_of, spoken
from tests import make
from tests.signing import signed_in

pytestmark = pytest.mark.django_db
ADDRESS = "/account/preferences/"
NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)


def store(browser: Client, **other: object) -> int:
    form = {"pages_language": "en", "mails_language": "", "time_zone": "", "notices": VOLUNTARY}
    return browser.post(ADDRESS, form | other).status_code


def prefer(person: Person, **columns: object) -> Person:
    Person.objects.filter(pk=person.pk).update(**columns)
    return Person.objects.get(pk=person.pk)


def post(event: NotificationEvent, *to: Person) -> None:
    with log.transaction():
        outbox.post(event, subject="x:1", title=say("Backup made at %(time)s", time=moment(NOON)), to=to)


def titles() -> list[str]:
    return list(Notification.objects.order_by("pk").values_list("title", flat=True))


# The page


def test_what_a_person_chooses_is_stored(people: make.People) -> None:
    browser = signed_in(people.nobody)
    chosen = {"pages_language": "ja", "mails_language": "en", "time_zone": "Europe/Berlin"}
    assert store(browser, **chosen, notices=["run.finished"]) == 302
    stored = Person.objects.values(*chosen, "unwanted").get(pk=people.nobody.pk)
    assert stored == chosen | {"unwanted": [event for event in VOLUNTARY if event != "run.finished"]}


def test_the_page_shows_what_is_stored(people: make.People) -> None:
    prefer(people.operator, mails_language="ja", time_zone="Europe/Berlin", unwanted=["run.finished"])
    page = signed_in(people.operator).get(ADDRESS).content.decode()
    assert '<option value="Europe/Berlin" selected>' in page
    assert ('value="run.finished"' in page, 'value="run.finished" checked' in page) == (True, False)
    assert 'value="approval.decided"' in page
    assert "the page “Notifications”" in page
    assert "/notifications/ then" not in page


def test_the_next_page_is_in_the_chosen_language_in_every_browser(people: make.People) -> None:
    store(signed_in(people.operator), pages_language="ja")
    other = signed_in(people.operator)
    other.cookies["django_language"] = "en"
    assert '<html lang="ja"' in other.get("/runs/").content.decode()
    assert '<html lang="en"' in signed_in(people.reviewer).get("/runs/").content.decode()


@pytest.mark.parametrize(
    "wrong",
    [{"pages_language": "tlh"}, {"mails_language": "tlh"}, {"time_zone": "Mars/Olympus"}, {"notices": ["run.failed"]}],
)
def test_another_choice_is_refused(people: make.People, wrong: dict[str, object]) -> None:
    assert store(signed_in(people.operator), **wrong) == 422
    assert Person.objects.get(pk=people.operator.pk).pages_language == ""


# The zone


def test_times_on_pages_are_in_the_persons_zone(people: make.People) -> None:
    post(NotificationEvent.RUN_FAILED, people.operator)
    Notification.objects.update(created_at=NOON)
    prefer(people.operator, time_zone="America/New_York")
    assert "2026-11-30 07:00" in signed_in(people.operator).get("/notifications/").content.decode()
    assert "2026-11-30 21:00" in signed_in(people.reviewer).get("/notifications/").content.decode()


def test_a_zone_ends_with_its_request(people: make.People) -> None:
    prefer(people.operator, time_zone="America/New_York")
    signed_in(people.operator).get("/runs/")
    assert timezone.get_current_timezone_name() == settings.TIME_ZONE


def test_a_zone_that_is_no_longer_known_is_the_products(people: make.People) -> None:
    prefer(people.operator, time_zone="Mars/Olympus")
    assert signed_in(people.operator).get("/runs/").status_code == 200


def test_the_hours_of_deletions_are_the_products_for_everybody() -> None:
    weekend = Environment(hours="09:00-18:00", days="mon")
    with timezone.override("America/New_York"):
        assert next_opening(weekend, datetime(2026, 11, 30, 1, tzinfo=UTC)) is None


def test_a_stored_sentence_has_the_products_zone() -> None:
    with timezone.override("America/New_York"):
        refused = Refused(sentence_of(say("Not before %(time)s.", time=moment(NOON))))
        assert english(refused) == "Not before 2026-11-30 21:00 JST."
        assert spoken(sentence_of(say("%(time)s", time=moment(NOON)))) == "2026-11-30 21:00 JST"


# Mails


def test_each_reader_has_a_message_in_their_language_and_zone(people: make.People) -> None:
    berlin = prefer(people.operator, mails_language="ja", pages_language="en", time_zone="Europe/Berlin")
    with timezone.override("America/New_York"), translation.override("en"):
        post(NotificationEvent.RUN_FAILED, berlin, people.reviewer)
    assert titles() == ["Backup made at 2026-11-30 13:00 CET", "Backup made at 2026-11-30 21:00 JST"]
    assert [one.language for one in Notification.objects.order_by("pk")] == ["ja", "en"]


def test_mails_follow_the_pages_until_another_language_is_chosen(people: make.People) -> None:
    assert [prefer(people.operator, **one).reads for one in (
        {"language": ""}, {"language": "ja"}, {"pages_language": "en"}, {"mails_language": "ja"})] == [
        "en", "ja", "en", "ja"]  # fmt: skip


def test_the_mail_about_the_worker_is_in_the_readers_language_and_zone(people: make.People) -> None:
    prefer(people.operator, mails_language="ja", time_zone="Europe/Berlin")
    Heartbeat.objects.create(name="worker", at=NOON, within=timedelta(seconds=1))
    texts = {address: message.text for message, address in outage._gone_mails()}
    assert ("13:00 CET" in texts["operator@example.com"], "ワーカー" in texts["operator@example.com"]) == (True, True)
    assert "21:00 JST" in texts["reviewer@example.com"]


def test_the_link_for_a_forgotten_password_is_in_its_readers_language(client: Client, people: make.People) -> None:
    prefer(people.operator, pages_language="ja")
    client.post("/account/password/reset/", {"email": "operator@example.com"})
    client.post("/account/password/reset/", {"email": "reviewer@example.com"})
    assert ["パスワード" in str(letter.body) for letter in mail.outbox] == [True, False]


# Notices


def test_a_notice_that_was_turned_off_is_not_sent(people: make.People) -> None:
    quiet = prefer(people.operator, unwanted=["run.finished"])
    post(NotificationEvent.RUN_FINISHED, quiet, people.operator2)
    assert [one.person for one in Notification.objects.all()] == [people.operator2]


def test_every_event_is_either_voluntary_or_always_on_with_a_reason() -> None:
    always = [event.value for one in always_on() for event in one.events]
    assert sorted([*always, *VOLUNTARY]) == sorted(NotificationEvent.values)


def test_the_page_says_why_the_others_stay_on(people: make.People) -> None:
    page = signed_in(people.reviewer).get(ADDRESS).content.decode()
    assert "Four eyes: a request that nobody is told of" in page
    assert 'value="approval.waiting"' not in page


def test_only_other_notices_are_recorded(people: make.People) -> None:
    browser = signed_in(people.operator)
    store(browser, pages_language="ja", time_zone="Europe/Berlin")
    assert not Entry.objects.filter(action="person.notices_changed").exists()
    store(browser, notices=["run.finished", "run.waiting"])
    entry = Entry.objects.get(action="person.notices_changed")
    assert (entry.actor, entry.subject) == (str(people.operator), f"person:{people.operator.pk}")
    assert "generation.made" in str(entry.details)
