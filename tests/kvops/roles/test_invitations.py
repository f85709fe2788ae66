"""Invitations: a one-time link that is in the mail and nowhere else."""

import logging
import re
from datetime import timedelta

import pytest
from django.contrib.auth.hashers import make_password
from django.core import mail
from django.db import connection
from django.db.models.functions import Now
from django.test import Client

from audit import log
from audit.models import Entry
from kvops import timing
from kvops.models import Notification, Person, Role, User
from kvops.notifications import outbox
from kvops.notifications.senders import MessageRefused
from kvops.roles import invitations
from tests import make
from tests.gate.changing_roles import ask, invite, take_effect
from tests.signing import said, signed_in

pytestmark = pytest.mark.django_db
LINK = re.compile(r"http://localhost:8000(/account/password/reset/key/(\S+)/)")
SECRET = "a-long-enough-secret"
SORRY = "This link does not work"


@pytest.fixture
def mika(people: make.People) -> Person:
    """Somebody who was invited."""
    take_effect(invite(Role.AUDITOR, by=people.operator), by=people.reviewer)
    return Person.objects.get(email="mika@example.com")


def delivered(person: Person) -> str:
    """The address in the newest invitation."""
    outbox.deliver(Notification.objects.filter(event="person.invited", person=person).latest("pk").pk)
    assert mail.outbox[-1].to == [person.email]
    found = LINK.search(str(mail.outbox[-1].body))
    assert found
    return found[1]


def choose(link: str, password: str = SECRET) -> str:
    browser = Client()
    form = browser.get(link, follow=True)
    if SORRY in form.content.decode():
        return SORRY
    answer = browser.post(form.redirect_chain[-1][0], {"password1": password, "password2": password})
    return "" if answer.status_code == 302 else answer.content.decode()


def test_an_invited_person_chooses_a_password_and_signs_in(mika: Person) -> None:
    assert choose(delivered(mika)) == ""
    browser = Client()
    browser.post("/account/login/", {"login": mika.email, "password": SECRET})
    assert browser.get("/people/").status_code == 200
    actions = Entry.objects.filter(subject=f"person:{mika.pk}").order_by("seq").values_list("action", flat=True)
    assert list(actions)[-3:] == ["person.invited", "person.password_chosen", "signin.succeeded"]


def test_the_page_after_the_password_leads_to_the_sign_in(mika: Person) -> None:
    browser = Client()
    form = browser.get(delivered(mika), follow=True)
    done = browser.post(form.redirect_chain[-1][0], {"password1": SECRET, "password2": SECRET}, follow=True)
    assert '<a href="/account/login/">Sign in with your e-mail address' in done.content.decode()


def test_a_link_works_once(mika: Person) -> None:
    link = delivered(mika)
    assert (choose(link), choose(link)) == ("", SORRY)


def test_a_late_link_says_what_to_do(mika: Person, settings: pytest.FixtureRequest) -> None:
    link = delivered(mika)
    settings.PASSWORD_RESET_TIMEOUT = -1  # type: ignore[attr-defined]
    page = " ".join(Client().get(link).content.decode().split())
    assert SORRY in page
    assert "have an operator or a reviewer send the invitation again (page People)" in page


def test_a_wrong_link_says_what_to_do(mika: Person) -> None:
    assert choose(delivered(mika)[:-4] + "abc/") == SORRY


def test_the_link_of_a_person_who_was_deactivated_does_not_work(people: make.People, mika: Person) -> None:
    link = delivered(mika)
    take_effect(ask("deactivate", mika, by=people.operator), by=people.reviewer)
    assert choose(link) == SORRY


def test_an_invitation_is_not_sent_to_a_person_who_was_deactivated(people: make.People, mika: Person) -> None:
    take_effect(ask("deactivate", mika, by=people.operator), by=people.reviewer)
    [note] = Notification.objects.filter(event="person.invited")
    outbox.deliver(note.pk)
    note.refresh_from_db()
    assert (note.state, len(mail.outbox)) == ("failed", 0)
    assert note.error.startswith("The person has chosen a password or is deactivated")


def test_an_invitation_is_sent_again(people: make.People, mika: Person) -> None:
    first = delivered(mika)
    answer = signed_in(people.operator).post(f"/people/{mika.pk}/invite-again", follow=True)
    assert said(answer) == ["The invitation is sent again. Earlier links end when a password is chosen."]
    assert choose(delivered(mika)) == ""
    assert choose(first) == SORRY
    assert Entry.objects.filter(action="person.invited").count() == 2


def test_nothing_is_sent_again_to_a_person_with_a_password(people: make.People, mika: Person) -> None:
    choose(delivered(mika))
    answer = signed_in(people.operator).post(f"/people/{mika.pk}/invite-again", follow=True)
    assert said(answer)[0].startswith("Mika has chosen a password or is deactivated")


def test_nothing_is_sent_again_to_a_person_who_was_deactivated(people: make.People, mika: Person) -> None:
    take_effect(ask("deactivate", mika, by=people.operator), by=people.reviewer)
    with pytest.raises(invitations.NotInvited, match="is deactivated"):
        invitations.again(mika, by=people.operator)
    assert Notification.objects.filter(event="person.invited").count() == 1


def test_no_link_is_made_for_a_person_who_has_a_password(people: make.People, mika: Person) -> None:
    invitations.again(mika, by=people.operator)
    first, second = Notification.objects.filter(event="person.invited").order_by("pk")
    assert "/password/reset/key/" in invitations.link(first)
    User.objects.filter(person=mika).update(password=make_password(SECRET))
    with pytest.raises(MessageRefused, match="has chosen a password"):
        invitations.link(second)
    outbox.deliver(second.pk)
    second.refresh_from_db()
    assert (second.state, mail.outbox) == ("failed", [])


def test_an_invitation_goes_to_nobody_who_has_a_password(people: make.People) -> None:
    with log.transaction():
        invitations.post(people.auditor, actor=people.operator.actor)
    assert not Notification.objects.filter(event="person.invited").exists()
    assert not Entry.objects.filter(action="person.invited").exists()


@pytest.mark.parametrize("who", ["auditor", "nobody"])
def test_only_who_may_ask_has_an_invitation_sent_again(people: make.People, mika: Person, who: str) -> None:
    with pytest.raises(invitations.NotInvited, match="Only an operator or a reviewer"):
        invitations.again(mika, by=getattr(people, who))
    assert Notification.objects.filter(event="person.invited").count() == 1


def test_the_page_says_until_when_the_link_is_good(people: make.People, mika: Person) -> None:
    browser = signed_in(people.auditor)
    assert "the mail is on its way" in browser.get("/people/").content.decode()
    delivered(mika)
    assert "the link is good until" in browser.get("/people/").content.decode()
    late = Now() - timedelta(seconds=timing.INVITED + 1)
    Notification.objects.filter(event="person.invited").update(delivered_at=late)
    assert "the link was good until" in browser.get("/people/").content.decode()


def test_the_link_is_in_the_mail_and_nowhere_else(
    people: make.People, mika: Person, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    link = delivered(mika)
    token = link.rstrip("/").rpartition("/")[2].partition("-")[2]
    with connection.cursor() as cursor:
        cursor.execute("SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace")
        for (table,) in cursor.fetchall():
            cursor.execute(f'SELECT count(*) FROM "{table}" it WHERE it::text LIKE %s', [f"%{token}%"])
            assert (table, cursor.fetchone()) == (table, (0,))
    browser = signed_in(people.operator)
    for path in ("/", "/people/", f"/people/{mika.pk}/", "/notifications/", "/audit/", "/runbook/"):
        assert token not in browser.get(path).content.decode()
    assert token not in caplog.text
