"""The operation of approvals, with the release of an emergency stop."""

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext, gettext_lazy as _

from kvops.approvals import emergency_release, titles
from kvops.approvals.lines import EvidenceLine
from kvops.models import ApprovalRequest, NotificationEvent, Role
from kvops.operations.parts import (
    FeatureOperation,
    Notice,
    NoticeReason,
    RequestKind,
    Searched,
    SearchGroup,
    SubjectKind,
    TypedWord,
)


def _title(_asked: ApprovalRequest, _shown: Mapping[str, Any], environment: str) -> str:
    return gettext("Release the emergency stop of %(environment)s") % {"environment": environment}


def _no_run_resumes(_shown: Mapping[str, Any]) -> EvidenceLine:
    said = gettext("an operator resumes each one after the release")
    return EvidenceLine(gettext("No run resumes by itself"), said, True)


_SLUG = TypedWord(_("Short name of the environment"), lambda shown: str(shown["environment"]))

OPERATION = FeatureOperation(
    subjects={
        "approval": SubjectKind(
            _("Approval"),
            "approval",
            "kvops.ApprovalRequest",
            named=["{}"],
            titled=titles.of_requests,
            searched=Searched(SearchGroup.REQUESTS, ["title"], "title", "environment", kinds=ApprovalRequest.Kind),
        ),
    },
    requests={
        ApprovalRequest.Kind.RELEASE_STOP: RequestKind(
            _title, _SLUG, lines=[_no_run_resumes], use=emergency_release.use
        ),
    },
    notices={
        NotificationEvent.APPROVAL_WAITING: Notice(roles=(Role.REVIEWER,), channel=True, reason=NoticeReason.DECISION),
        NotificationEvent.APPROVAL_DECIDED: Notice(),
        NotificationEvent.APPROVAL_EXPIRING: Notice(reason=NoticeReason.DECISION),
    },
)
