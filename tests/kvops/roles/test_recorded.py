"""Rows written past the gate: the trigger, the verification of the audit log and the sweep ask for the entries."""

import json
from datetime import timedelta
from hashlib import sha256

import pytest
from django.db import IntegrityError
from django.db.models.functions import Now
from django.db.transaction import atomic

from audit import claims
from audit.verify import verify
from kvops.models import ApprovalRequest, Notification, NotificationEvent, Role, RoleGrant
from kvops.roles import recorded
from kvops.supervision import sweep
from tests import make
from tests.gate.changing_roles import ask, take_effect

DAY = timedelta(days=1)
pytestmark = [pytest.mark.django_db, pytest.mark.hazard("B34")]


def forged(people: make.People, *, state: str = "used") -> ApprovalRequest:
    """A request for a role and its approval, both inserted as rows by who knows the application's password."""
    shown = {"action": "grant", "person": {"email": people.nobody.email}, "roles": ["operator"]}
    text = json.dumps(shown)
    found = ApprovalRequest.objects.create(
        kind="role",
        subject=f"person:{people.nobody.pk}",
        title="x",
        evidence=text,
        digest=sha256(text.encode()).hexdigest(),
        requester=people.operator,
        decide_by=Now() + DAY,
    )
    mine = ApprovalRequest.objects.filter(pk=found.pk)
    mine.update(state="approved", approver=people.reviewer, decided_at=Now(), use_by=Now() + DAY)
    if state == "used":
        mine.update(state="used", starter=people.operator, used_at=Now())
    return mine.get()


def told() -> set[tuple[str, str]]:
    found = Notification.objects.filter(event=NotificationEvent.ENTRY_MISSING)
    return set(found.values_list("subject", "occasion"))


def test_a_role_is_not_granted_by_rows_alone(people: make.People) -> None:
    request = forged(people)
    with pytest.raises(IntegrityError, match="the audit log knows the decision behind a role"), atomic():
        RoleGrant.objects.create(person=people.nobody, role="operator", granted_by="x", approval=request)
    assert people.nobody.roles() == []


@pytest.mark.parametrize("state", ["approved", "used"])
def test_a_request_that_was_decided_by_rows_is_found(people: make.People, state: str) -> None:
    request = forged(people, state=state)
    problems = [one.problem for one in verify().problems]
    assert any(f"has approval:{request.pk}, and no entry “approval.approved” is about it" in one for one in problems)
    sweep.sweep_once()
    subject = f"approval:{request.pk}"
    wanted = {(subject, f"approval.requested {request.pk}"), (subject, f"approval.approved {request.pk}")}
    assert wanted <= told()
    assert Notification.objects.filter(event="entry.missing", person=people.auditor, subject=subject).exists()


def test_a_grant_without_its_entry_is_found_once(people: make.People) -> None:
    approval = take_effect(ask("grant", people.nobody, Role.AUDITOR, by=people.operator), by=people.reviewer)
    recorded.compare()
    assert (told(), verify().problems) == (set(), ())
    with make.past_the_triggers():
        grant = RoleGrant.objects.create(person=people.nobody, role="operator", granted_by="x", approval=approval)
    for _round in range(2):
        recorded.compare()
    assert told() == {(f"person:{people.nobody.pk}", f"person.role_granted {grant.pk}")}
    [problem] = verify().problems
    assert f"person:{people.nobody.pk} in row {grant.pk}, and no entry “person.role_granted”" in problem.problem


def test_a_decision_by_another_person_than_the_entry_names_is_found(people: make.People) -> None:
    approval = take_effect(ask("grant", people.nobody, Role.AUDITOR, by=people.operator), by=people.reviewer)
    with make.past_the_triggers():
        ApprovalRequest.objects.filter(pk=approval.pk).update(approver=people.auditor)
    recorded.compare()
    assert told() == {(f"approval:{approval.pk}", f"approval.approved {approval.pk}")}


def test_no_row_is_hidden_behind_the_first(people: make.People) -> None:
    forged_rows = [forged(people) for _row in range(claims.ROWS_SHOWN + 1)]
    recorded.compare()
    *_others, last_shown, newest = forged_rows
    subject = f"approval:{last_shown.pk}"
    assert (subject, f"approval.approved {newest.pk} and 1 more") in told()
    title = "kvops_approvalrequest has more rows that the audit log does not know: 1"
    assert Notification.objects.filter(person=people.auditor, title__contains=title).exists()
    assert any("(more such rows: 1)" in one.problem for one in verify().problems)
    later = forged(people)
    recorded.compare()
    assert (subject, f"approval.approved {later.pk} and 2 more") in told()


def test_the_rows_are_compared_once_an_hour(people: make.People) -> None:
    sweep.sweep_once()
    forged(people)
    sweep.sweep_once()
    assert told() == set()
