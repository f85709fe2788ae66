"""Signing in: by e-mail and password, recorded, and for nobody else."""

import re
from io import StringIO

import pytest
from django.core import mail
from django.core.management import call_command
from django.test import Client

from audit.models import Entry
from kvops import timing
from kvops.models import Person, Role, User
from kvops.people import signin
from tests import make
from tests.signing import fresh, signed_in

pytestmark = pytest.mark.django_db


ELSEWHERE = "198.51.100.7"


def sign_in(
    client: Client, login: str = "operator@example.com", password: str = make.PASSWORD, *, address: str = "127.0.0.1"
) -> bool:
    client.post("/account/login/", {"login": login, "password": password}, REMOTE_ADDR=address)
    return "_auth_user_id" in client.session


def recorded() -> list[tuple[str, str]]:
    return list(Entry.objects.filter(action__startswith="signin.").values_list("action", "actor"))


@pytest.mark.parametrize("login", ["operator@example.com", "Operator@Example.COM"])
def test_people_sign_in_by_e_mail(client: Client, people: make.People, login: str) -> None:
    assert sign_in(client, login)
    assert recorded() == [("signin.succeeded", str(people.operator))]


def test_signing_in_leads_to_the_overview(client: Client, people: make.People) -> None:
    form = {"login": "operator@example.com", "password": make.PASSWORD}
    assert client.post("/account/login/", form).headers["Location"] == "/"


def test_a_wrong_password_is_refused_and_recorded(client: Client, people: make.People) -> None:
    assert not sign_in(client, password="wrong")
    assert recorded() == [("signin.failed", "operator@example.com")]


def test_signing_out_ends_the_session(people: make.People) -> None:
    browser = signed_in(people.operator)
    browser.post("/account/logout/")
    assert browser.get("/").headers["Location"].startswith("/account/login/")


def test_a_deactivated_login_does_not_sign_in(client: Client, people: make.People) -> None:
    make.deactivate(people.operator)
    assert not sign_in(client)


def test_nobody_signs_up(people: make.People) -> None:
    form = {"email": "new@example.com", "password1": make.PASSWORD, "password2": make.PASSWORD}
    for browser in (Client(), signed_in(people.operator)):
        browser.post("/account/signup/", form)
    assert (User.objects.count(), Person.objects.count()) == (5, 5)


def test_nobody_changes_the_address_that_makes_them_a_person(people: make.People) -> None:
    fresh(people.operator).post("/account/email/", {"action_add": "", "email": "reviewer2@example.com"})
    assert not User.objects.filter(emailaddress__email="reviewer2@example.com").exists()


def test_a_wrong_password_is_no_password_again(people: make.People) -> None:
    browser = signed_in(people.operator)
    assert browser.post("/account/reauthenticate/", {"password": "wrong"}).status_code == 200
    assert "account_authentication_methods" not in browser.session


def choose_password(client: Client, link: str, password: str) -> None:
    form = client.get(link, follow=True)
    address = form.redirect_chain[-1][0]
    client.post(address, {"password1": password, "password2": password})


def test_the_first_people_choose_their_password_by_their_link(client: Client) -> None:
    out = StringIO()
    call_command("setup_people", operator="mika@example.com", reviewer="ken@example.com", stdout=out)
    links = dict(re.findall(r"(\S+@\S+)  http://localhost:8000(\S+)", out.getvalue()))
    choose_password(client, links["ken@example.com"], "a-long-enough-secret")
    assert sign_in(Client(), "ken@example.com", "a-long-enough-secret")
    assert Person.objects.get(email="ken@example.com").roles() == [Role.REVIEWER]


def test_a_weak_password_is_refused(client: Client) -> None:
    out = StringIO()
    call_command("setup_people", operator="mika@example.com", reviewer="ken@example.com", stdout=out)
    choose_password(client, re.findall(r"http://localhost:8000(\S+)", out.getvalue())[0], "password")
    assert not sign_in(Client(), "mika@example.com", "password")


def test_a_forgotten_password_is_replaced_by_mail(client: Client, people: make.People) -> None:
    client.post("/account/password/reset/", {"email": "operator@example.com"})
    [letter] = mail.outbox
    link = re.findall(r"http://\w+(/account/password/reset/key/\S+)", str(letter.body))[0]
    choose_password(client, link, "a-long-enough-secret")
    assert sign_in(Client(), password="a-long-enough-secret")
    assert not sign_in(Client())


def test_a_stranger_learns_nothing_about_who_has_a_login(client: Client, people: make.People) -> None:
    answers = [
        client.post("/account/password/reset/", {"email": email}).headers["Location"]
        for email in ("operator@example.com", "stranger@example.com")
    ]
    assert answers[0] == answers[1]
    assert [letter.to for letter in mail.outbox if "/key/" in str(letter.body)] == [["operator@example.com"]]


@pytest.mark.parametrize(("language", "words"), [("en", "by invitation only"), ("ja", "招待")])
def test_the_mail_to_a_stranger_offers_no_sign_up(
    client: Client, people: make.People, language: str, words: str
) -> None:
    client.cookies["django_language"] = language
    client.post("/account/password/reset/", {"email": "stranger@example.com"})
    [letter] = mail.outbox
    assert letter.to == ["stranger@example.com"]
    assert words in str(letter.body)
    for offer in ("http", "signup", "sign up", "登録"):
        assert offer not in str(letter.body).lower()


def test_a_sign_in_is_recorded_with_its_address_and_user_agent(client: Client, people: make.People) -> None:
    client.defaults["HTTP_USER_AGENT"] = "Mozilla/5.0 " + "x" * 5000
    sign_in(client, password="wrong", address=ELSEWHERE)
    sign_in(client, address=ELSEWHERE)
    for entry in Entry.objects.filter(action__startswith="signin."):
        assert entry.details["address"] == ELSEWHERE
        assert entry.details["user_agent"].startswith("Mozilla/5.0 xxx")


def test_wrong_passwords_from_one_address_lock_nobody_out_from_another(people: make.People) -> None:
    for _ in range(12):
        sign_in(Client(), password="wrong", address=ELSEWHERE)
    assert not sign_in(Client(), address=ELSEWHERE)
    assert sign_in(Client())


def test_wrong_passwords_for_one_account_refuse_no_other_from_there(people: make.People) -> None:
    for _ in range(12):
        sign_in(Client(), password="wrong")
    assert sign_in(Client(), "reviewer@example.com")


def test_all_addresses_of_one_ipv6_network_are_one(people: make.People) -> None:
    for number in range(5):
        sign_in(Client(), password="wrong", address=f"2001:db8::{number}")
    assert not sign_in(Client(), address="2001:db8::ffff")


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    seconds: list[float] = []
    monkeypatch.setattr("kvops.people.signin.time.sleep", seconds.append)
    return seconds


def fail_everywhere(times: int) -> None:
    for number in range(times):
        sign_in(Client(), "Operator@example.com", "wrong", address=f"198.51.100.{number}")


def test_failures_over_all_addresses_only_delay_an_answer(people: make.People, waits: list[float]) -> None:
    fail_everywhere(14)
    assert sign_in(Client())
    longest = timing.SIGNIN_DELAY
    assert waits == pytest.approx([longest / 5 * step for step in (1, 2, 3, 4, 5, 5, 5, 5, 5)])
    assert timing.SIGNIN_DELAY == 5 * timing.SCALE


def test_old_failures_delay_nothing(people: make.People, waits: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    fail_everywhere(6)
    monkeypatch.setattr(timing, "SIGNIN_COUNTED", 0)
    assert (sign_in(Client()), waits) == (True, [])


def test_a_flood_of_sign_ins_leaves_threads_for_the_emergency_stop(people: make.People, waits: list[float]) -> None:
    fail_everywhere(6)
    with signin._delayed, signin._delayed:
        assert (sign_in(Client()), waits) == (True, [])


def test_a_signed_in_session_is_not_touched(people: make.People, waits: list[float]) -> None:
    browser = signed_in(people.operator)
    for _ in range(12):
        sign_in(Client(), password="wrong")
    browser.post("/account/reauthenticate/", {"password": make.PASSWORD})
    assert ("account_authentication_methods" in browser.session, waits) == (True, [])
