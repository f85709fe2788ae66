"""The emergency stop: one click stops, two people release."""

import re

import pytest
from django.test import Client
from django.urls import reverse

from audit.actions import Action
from audit.models import Entry
from kvops.approvals import emergency_release, gate as approval_gate
from kvops.models import ApprovalRequest, EmergencyStop, Environment
from kvops.runs import emergency, outcomes
from tests import make
from tests.signing import said, signed_in

pytestmark = pytest.mark.django_db


@pytest.fixture
def qa(estate: make.Estate) -> Environment:
    return estate.qa.environment


@pytest.fixture
def stop(qa: Environment, people: make.People) -> EmergencyStop:
    return emergency.press(qa, by=people.auditor, reason="Pages are empty")


def released(stop: EmergencyStop, people: make.People) -> ApprovalRequest:
    """Asked for by the operator, approved by the reviewer, put in force by the operator."""
    asked = emergency_release.ask(stop.environment, by=people.operator, reason="It was the cache of a phone.")
    approval_gate.approve(asked, by=people.reviewer, shown=asked.digest)
    emergency_release.use(asked, by=people.operator)
    return asked


@pytest.mark.parametrize("who", ["operator", "reviewer", "auditor"])
def test_every_role_may_press_it_and_it_is_recorded(qa: Environment, people: make.People, who: str) -> None:
    emergency.press(qa, by=getattr(people, who))
    entry = Entry.objects.get(action=Action.EMERGENCY_STOPPED)
    assert (entry.environment, entry.actor_id) == ("qa", getattr(people, who).pk)
    assert emergency.stop_in_force(qa)


@pytest.mark.parametrize("reason", ["a\0b", "\ud800", "\0", "\n\u202e", "x" * 100_000], ids=range(5))
def test_it_never_fails_for_its_reason(qa: Environment, people: make.People, reason: str) -> None:
    stop = emergency.press(qa, by=people.operator, reason=reason)
    assert "\0" not in stop.reason
    assert len(stop.reason) <= 500
    assert emergency.why_stopped(qa)


def test_the_button_never_fails_for_its_reason(qa: Environment, people: make.People) -> None:
    body = b"reason=%00%FF%ED%A0%80" + b"x" * 5_000
    signed_in(people.auditor).post("/environments/qa/stop", body, "application/x-www-form-urlencoded")
    assert emergency.stop_in_force(qa)


def test_who_has_no_role_cannot_press_it(qa: Environment, people: make.People) -> None:
    with pytest.raises(emergency.StopRefused, match="Only an operator, a reviewer or an auditor"):
        emergency.press(qa, by=people.nobody)


def test_a_second_press_changes_nothing(stop: EmergencyStop, people: make.People) -> None:
    with pytest.raises(emergency.StopRefused, match="on already"):
        emergency.press(stop.environment, by=people.operator)
    assert EmergencyStop.objects.count() == 1


def test_the_other_environment_goes_on(stop: EmergencyStop, estate: make.Estate) -> None:
    emergency.insist_none(estate.production.environment)
    with pytest.raises(outcomes.Stopped, match="QA is stopped: Auditor"):
        emergency.insist_none(stop.environment)


def test_two_people_release_it(stop: EmergencyStop, people: make.People) -> None:
    asked = released(stop, people)
    stop.refresh_from_db()
    assert (stop.approval_id, emergency.stop_in_force(stop.environment)) == (asked.pk, None)
    assert Entry.objects.filter(action=Action.EMERGENCY_RELEASED, digest=asked.digest).count() == 1


def test_a_release_that_nobody_approved_is_refused(stop: EmergencyStop, people: make.People) -> None:
    asked = emergency_release.ask(stop.environment, by=people.operator, reason="no longer needed")
    with pytest.raises(approval_gate.ApprovalRefused, match="not approved"):
        emergency_release.use(asked, by=people.operator)
    assert emergency.stop_in_force(stop.environment)


def test_an_approval_releases_only_its_own_stop(stop: EmergencyStop, people: make.People) -> None:
    first = emergency_release.ask(stop.environment, by=people.operator, reason="no longer needed")
    approval_gate.approve(first, by=people.reviewer, shown=first.digest)
    approval_gate.withdraw(first, by=people.operator)
    released(stop, people)
    emergency.press(stop.environment, by=people.reviewer)
    with pytest.raises(approval_gate.ApprovalRefused, match="a different emergency stop"):
        emergency_release.use(first, by=people.operator)


def test_a_release_is_asked_for_with_a_reason_and_only_while_it_is_on(
    stop: EmergencyStop, people: make.People, estate: make.Estate
) -> None:
    with pytest.raises(approval_gate.ApprovalRefused, match="Give the reason for the release"):
        emergency_release.ask(stop.environment, by=people.operator, reason=" ")
    with pytest.raises(approval_gate.ApprovalRefused, match="Production is not stopped"):
        emergency_release.ask(estate.production.environment, by=people.operator, reason="no longer needed")


def test_one_click_on_the_page_stops(qa: Environment, people: make.People) -> None:
    page = signed_in(people.reviewer).post(reverse("environment-stop", args=["qa"]), follow=True)
    assert "Emergency stop: QA" in page.content.decode()
    assert "Reviewer pressed the emergency stop" in page.content.decode()


@pytest.mark.parametrize("who", ["operator", "reviewer", "auditor"])
def test_the_page_of_the_environments_has_the_button_for_every_role(
    estate: make.Estate, people: make.People, who: str
) -> None:
    page = signed_in(getattr(people, who)).get("/environments/").content.decode()
    content = page.partition("<main")[2].partition("</main>")[0]
    assert [content.count(f'action="/environments/{slug}/stop"') for slug in ("qa", "production")] == [1, 1]
    assert [page.count(f'formaction="/environments/{slug}/stop"') for slug in ("qa", "production")] == [1, 1]


@pytest.mark.parametrize("address", ["/", "/environments/", "/runs/", "/keys/qa/SETTINGS/", "/cleanup/", "/audit/"])
def test_the_banner_is_on_the_pages(stop: EmergencyStop, people: make.People, address: str) -> None:
    text = signed_in(people.operator).get(address).content.decode()
    assert "Emergency stop: QA" in text
    assert "Pages are empty" in text


def test_the_reason_stands_apart_from_the_banners_own_words(qa: Environment, people: make.People) -> None:
    emergency.press(qa, by=people.operator, reason="wait\u202e")
    shown = signed_in(people.auditor).get("/").content.decode()
    assert "<div>Reason for the stop: <bdi>wait\u202e</bdi></div>" in shown


def test_pages_of_the_other_environment_do_not_show_it(stop: EmergencyStop, people: make.People) -> None:
    assert "Emergency stop: QA" not in signed_in(people.operator).get("/keys/production/SETTINGS/").content.decode()


def test_who_has_no_role_sees_no_banner(stop: EmergencyStop, people: make.People) -> None:
    assert "Pages are empty" not in Client().get("/account/login/").content.decode()


def test_the_release_is_asked_for_approved_and_used_on_the_pages(stop: EmergencyStop, people: make.People) -> None:
    operator = signed_in(people.operator)
    page = operator.post(reverse("environment-release", args=["qa"]), {"reason": "All went well"}, follow=True)
    assert re.search(r"<blockquote[^>]*>All went well</blockquote>", page.content.decode())
    asked = ApprovalRequest.objects.get(kind=ApprovalRequest.Kind.RELEASE_STOP)
    approval_gate.approve(asked, by=people.reviewer, shown=asked.digest)
    assert "Release the stop" in operator.get(reverse("approval", args=[asked.pk])).content.decode()
    assert asked.title in operator.get("/").content.decode()
    operator.post(reverse("approval-apply", args=[asked.pk]))
    assert emergency.stop_in_force(stop.environment) is None


def test_the_page_of_the_release_says_what_is_left_to_do(stop: EmergencyStop, people: make.People) -> None:
    asked = emergency_release.ask(stop.environment, by=people.operator, reason="All went well")
    address, link = reverse("approval", args=[asked.pk]), "See the release request"
    reviewer, operator = signed_in(people.reviewer), signed_in(people.operator)
    assert [link in reviewer.get(one).content.decode() for one in ("/", address)] == [True, False]
    approval_gate.approve(asked, by=people.reviewer, shown=asked.digest)
    assert "The stop is still on. An operator releases it on this page" in reviewer.get(address).content.decode()
    assert said(operator.post(f"{address}apply", follow=True)) == [
        "The stop is released. An operator lets each run go on."
    ]


def test_a_refused_press_and_a_refused_release_are_said_and_recorded(stop: EmergencyStop, people: make.People) -> None:
    operator = signed_in(people.operator)
    for name in ("environment-stop", "environment-release"):
        page = operator.post(reverse(name, args=["qa"]), follow=True)
        assert "alert-danger" in page.content.decode()
    assert Entry.objects.filter(action=Action.REFUSED, environment="qa").count() == 2
