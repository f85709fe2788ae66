"""The pages of people: each person, the possible requests, and the reasons against the others."""

import re

import pytest
from django.test import Client

from kvops.models import ApprovalRequest, Role
from tests import make
from tests.gate.changing_roles import ask, invite, take_effect
from tests.signing import fresh, said, sent, signed_in

pytestmark = pytest.mark.django_db
OPERATOR, REVIEWER, AUDITOR = Role.OPERATOR, Role.REVIEWER, Role.AUDITOR


def text(browser: Client, path: str) -> str:
    answer = browser.get(path)
    assert answer.status_code == 200
    return " ".join(re.sub(r"<[^>]+>", " ", answer.content.decode()).split())


def decide(browser: Client, asked: ApprovalRequest) -> object:
    form = {"decision": "approve", "shown": asked.digest, "confirm": _email(asked), "reason": ""}
    return sent(browser, f"/approvals/{asked.pk}/decide", form)


def _email(asked: ApprovalRequest) -> str:
    found = re.search(r'"email":"([^"]+)"', asked.evidence)
    assert found
    return found[1]


def test_the_list_has_everybody_with_roles_and_state(people: make.People) -> None:
    asked = take_effect(ask("grant", people.auditor, OPERATOR, by=people.operator), by=people.reviewer)
    make.deactivate(people.operator2)
    take_effect(invite(AUDITOR, by=people.operator), by=people.reviewer)
    page = text(signed_in(people.auditor), "/people/")
    granted = (f"by approval {asked.pk}", "by tests")
    for words in ("Mika mika@example.com auditor since", "Invited", "Deactivated", *granted):
        assert words in page


def test_the_list_says_that_only_one_reviewer_is_active(people: make.People) -> None:
    assert "Only one reviewer is active." in text(signed_in(people.operator), "/people/")
    make.person("second", REVIEWER)
    assert "Only one reviewer is active." not in text(signed_in(people.operator), "/people/")


def test_an_open_request_is_in_the_list_and_on_the_page_of_the_person(people: make.People) -> None:
    ask("deactivate", people.operator2, by=people.operator)
    for path in ("/people/", f"/people/{people.operator2.pk}/"):
        assert "Deactivate Operator2" in text(signed_in(people.auditor), path)


def test_an_operator_asks_and_a_reviewer_puts_it_in_force(people: make.People) -> None:
    form = {"change": "grant:auditor", "reason": "audits too"}
    signed_in(people.operator).post(f"/people/{people.operator2.pk}/ask", form)
    asked = ApprovalRequest.objects.get(kind="role")
    answer = decide(fresh(people.reviewer), asked)
    assert said(answer) == ["Your decision is recorded.", "The change is in force."]
    assert people.operator2.roles() == [OPERATOR, AUDITOR]


def test_a_decision_that_cannot_take_effect_says_why(people: make.People) -> None:
    asked = ask("grant", people.auditor, OPERATOR, by=people.operator)
    make.revoke(people.operator, OPERATOR)
    answer = decide(fresh(people.reviewer), asked)
    assert said(answer)[1].startswith("Operator asked for this and is neither operator nor reviewer any more")
    asked.refresh_from_db()
    assert asked.state == "approved"


def test_the_page_says_before_it_is_sent_that_nobody_could_approve(people: make.People) -> None:
    browser = signed_in(people.reviewer)
    for path in ("/people/invite/", f"/people/{people.operator.pk}/"):
        assert "You are the only active reviewer, and nobody approves their own request." in text(browser, path)
    form = {"name": "Mika", "email": "mika@example.com", "roles": "operator", "reason": "no longer needed"}
    answer = browser.post("/people/invite/", form)
    assert (answer.status_code, ApprovalRequest.objects.count()) == (409, 0)


def test_a_change_that_is_off_is_refused_when_it_is_sent_all_the_same(people: make.People) -> None:
    page = f"/people/{people.reviewer.pk}/"
    answer = signed_in(people.operator).post(
        f"{page}ask", {"change": "revoke:reviewer", "reason": "no longer needed"}, follow=True
    )
    [message] = said(answer)
    assert message.startswith("Reviewer is the only active reviewer. Grant the role to another person first")


@pytest.mark.parametrize(
    "form", [{}, {"change": "grant:king", "reason": "no longer needed"}, {"change": "grant:auditor"}]
)
def test_an_incomplete_form_is_shown_again(people: make.People, form: dict[str, str]) -> None:
    answer = signed_in(people.operator).post(f"/people/{people.operator2.pk}/ask", form)
    assert (answer.status_code, ApprovalRequest.objects.count()) == (422, 0)


def test_an_invitation_is_asked_for_on_its_page(people: make.People) -> None:
    form = {
        "name": "Mika",
        "email": "Mika@Example.com",
        "roles": ["auditor", "operator"],
        "reason": "new here as agreed",
    }
    answer = signed_in(people.operator).post("/people/invite/", form, follow=True)
    page = " ".join(answer.content.decode().split())
    assert "Invite Mika as operator, auditor" in page
    assert "mika@example.com" in page


def test_somebody_decides_on_a_request_about_themselves_nowhere(people: make.People) -> None:
    second = make.person("second", REVIEWER)
    asked = ask("deactivate", second, by=people.operator)
    page = text(signed_in(second), f"/approvals/{asked.pk}/")
    assert "This is about your own roles; another reviewer must decide." in page
    assert "Deactivate Second" not in text(signed_in(second), "/")
    assert "Deactivate Second" in text(signed_in(people.reviewer), "/")


def test_the_sessions_of_a_deactivated_person_end(people: make.People) -> None:
    browser = signed_in(people.operator2)
    take_effect(ask("deactivate", people.operator2, by=people.operator), by=people.reviewer)
    assert browser.get("/runs/").headers["Location"].startswith("/account/login/")
    take_effect(invite(AUDITOR, by=people.operator, email=people.operator2.email), by=people.reviewer)
    assert browser.get("/runs/").headers["Location"].startswith("/account/login/")


def test_the_history_of_a_person_is_on_their_page(people: make.People) -> None:
    take_effect(ask("revoke", people.operator2, OPERATOR, by=people.operator), by=people.reviewer)
    page = text(signed_in(people.auditor), f"/people/{people.operator2.pk}/")
    for words in ("Role revoked operator", "Earlier roles", "Revoke the role operator of Operator2"):
        assert words in page


def test_the_change_is_an_entry_of_the_runbook(people: make.People) -> None:
    take_effect(ask("grant", people.auditor, OPERATOR, by=people.operator), by=people.reviewer)
    page = text(signed_in(people.auditor), "/runbook/")
    assert "Change of a person's roles" in page.replace("&#x27;", "'")
