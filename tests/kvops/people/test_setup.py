"""The first people, and the mailboxes of persons: one mailbox is one person."""

import pytest

from audit import log
from kvops.approvals.gate import ApprovalRefused
from kvops.models import Person, Role
from kvops.people import setup as people_setup
from kvops.people.setup import SetupRefused
from kvops.roles import recovery, requests
from kvops.roles.recovery import RecoveryRefused
from kvops.roles.requests import RoleChange
from tests import make
from tests.gate.changing_roles import approve, invite, take_effect
from tests.signing import signed_in

pytestmark = pytest.mark.django_db
OPERATOR, AUDITOR = Role.OPERATOR, Role.AUDITOR


@pytest.mark.parametrize(
    "auditors", [["mika+2@example.com"], ["AKI+x@example.com"], ["ken@example.com", "ken+1@example.com"]]
)
def test_the_first_people_have_a_mailbox_each(auditors: list[str]) -> None:
    first = {"operator": "mika+1@example.com", "reviewer": "aki@example.com", "actor": log.Actor.command()}
    with pytest.raises(SetupRefused, match="one mailbox"):
        people_setup.set_up(auditors=auditors, **first)  # type: ignore[arg-type]
    assert not Person.objects.exists()


def test_a_recovery_makes_no_second_person_of_one_mailbox(people: make.People) -> None:
    make.deactivate(people.reviewer)
    with pytest.raises(RecoveryRefused, match="This is the mailbox of Operator"):
        recovery.ask("operator+1@example.com", name="", reason="no longer needed", actor=log.Actor.command())


@pytest.mark.parametrize("email", ["reviewer+1@example.com", "Reviewer+a+b@EXAMPLE.com ", "reviewer+@example.com"])
def test_a_second_person_of_one_mailbox_is_not_invited(people: make.People, email: str) -> None:
    told = str(requests.why_not_ask(RoleChange.invitation(email, "Mika", OPERATOR), by=people.operator))
    assert told.startswith("This is the mailbox of Reviewer <reviewer@example.com>")
    assert requests.why_not_ask(RoleChange.invitation("reviewer@example.org", "Mika"), by=people.operator) == ""


def test_of_two_invitations_into_one_mailbox_one_takes_effect(people: make.People) -> None:
    first, second = (invite(OPERATOR, by=people.operator, email=f"mika+{n}@example.com") for n in (1, 2))
    take_effect(first, by=people.reviewer)
    with pytest.raises(ApprovalRefused, match="This is the mailbox of"):
        approve(second, by=people.reviewer)


@pytest.mark.parametrize("who", ["operator", "reviewer"])
def test_an_address_that_differs_by_dots_is_shown_to_both_people(people: make.People, who: str) -> None:
    asked = invite(OPERATOR, by=people.operator, email="re.viewer+x@example.com")
    page = signed_in(getattr(people, who)).get(f"/approvals/{asked.pk}/").content.decode()
    assert f'The address is like the one of <a href="/people/{people.reviewer.pk}/">Reviewer</a>' in page
    assert "(reviewer@example.com)" in page
    take_effect(asked, by=people.reviewer)
    other = invite(AUDITOR, by=people.operator)
    assert "The address is like" not in signed_in(people.operator).get(f"/approvals/{other.pk}/").content.decode()
