"""The operation of people and their roles."""

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext, gettext_lazy as _

from audit.actions import Action
from kvops.models import ApprovalRequest, NotificationEvent, Person, Role
from kvops.names import visible
from kvops.operations import looks
from kvops.operations.parts import (
    FeatureOperation,
    Notice,
    NoticeReason,
    Procedure,
    ProcedureStep,
    Question,
    RequestKind,
    Searched,
    SearchGroup,
    SubjectKind,
    TypedWord,
)
from kvops.roles import invitations, recorded, recovery, requests as role_requests


def _title(_asked: ApprovalRequest, shown: Mapping[str, Any], _environment: str) -> str:
    texts = {
        "grant": gettext("Grant %(person)s the role %(roles)s"),
        "revoke": gettext("Revoke the role %(roles)s of %(person)s"),
        "invite": gettext("Invite %(person)s as %(roles)s"),
        "deactivate": gettext("Deactivate %(person)s"),
    }
    roles = ", ".join(str(Role(role).label) for role in shown["roles"])
    return texts[shown["action"]] % {"person": visible(shown["person"]["name"]), "roles": roles}


_PEOPLE = Procedure(
    "people",
    1,
    _("Change of a person's roles"),
    [
        ProcedureStep(
            _("Ask for the change"),
            _("An operator or a reviewer names the person, the roles and the reason."),
            [Action.PERSON_CHANGE_REQUESTED],
        ),
        ProcedureStep(
            _("Approval"),
            _("A reviewer who did not ask, and whom it is not about, approves it."),
            [Action.APPROVAL_APPROVED],
        ),
        ProcedureStep(
            _("Put it in force"),
            _("It takes effect with the approval, and the person and all reviewers are told."),
            [Action.APPROVAL_USED],
        ),
    ],
)

_ADDRESS = TypedWord(_("E-mail address of the person"), lambda shown: str(shown["person"]["email"]))

OPERATION = FeatureOperation(
    subjects={
        "person": SubjectKind(
            _("Person"),
            "person",
            "kvops.Person",
            searched=Searched(SearchGroup.PEOPLE, ["name", "email"], "name", rows=Person.objects.known),
        ),
        "recovery": SubjectKind(_("Recovery of the reviewer"), "", "kvops.ReviewerRecovery"),
    },
    requests={
        ApprovalRequest.Kind.ROLE: RequestKind(
            _title,
            _ADDRESS,
            use=role_requests.use,
            why_not=role_requests.why_not,
            why_not_by=role_requests.why_not_by,
            owners=role_requests.concerned,
            askers=(Role.OPERATOR, Role.REVIEWER),
            at_once=True,
        ),
    },
    notices={
        NotificationEvent.PERSON_INVITED: Notice(link=invitations.link, reason=NoticeReason.ACCESS),
        NotificationEvent.PERSON_CHANGED: Notice(roles=(Role.REVIEWER,), reason=NoticeReason.ACCESS),
        NotificationEvent.REVIEWER_RECOVERY: Notice(roles=tuple(Role), channel=True, reason=NoticeReason.ACCESS),
        NotificationEvent.ENTRY_MISSING: Notice(roles=tuple(Role)),
    },
    procedures=[_PEOPLE],
    begins={Action.PERSON_CHANGE_REQUESTED: "approval"},
    answers={Question.EACH_ROUND: recovery.settle, Question.EACH_HOUR: recorded.compare},
    states={
        "person_invited": looks.Look(_("Invited"), *looks.WAITS),
        "person_active": looks.Look(_("Active"), *looks.GOOD),
        "person_deactivated": looks.Look(_("Deactivated"), *looks.OVER),
    },
)
