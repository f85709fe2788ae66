"""The operation of a change of the environments."""

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext_lazy as _

from kvops.approvals import prepared_changes
from kvops.approvals.environment_changes import change_in_words
from kvops.environments import apply as environment_changes
from kvops.models import ApprovalRequest
from kvops.operations.parts import FeatureOperation, RequestKind, TypedWord


def _title(asked: ApprovalRequest, _shown: Mapping[str, Any], _environment: str) -> str:
    """Its first change."""
    return change_in_words(asked.title)


_SLUGS = TypedWord(
    _("Short names of the environments"),
    lambda shown: " ".join(str(environment["slug"]) for environment in shown["definition"]["environment"]),
)

OPERATION = FeatureOperation(
    requests={
        ApprovalRequest.Kind.ENVIRONMENT: RequestKind(
            _title,
            _SLUGS,
            decided=prepared_changes.change_decided,
            use=environment_changes.use_change,
            evidence=prepared_changes.definition_evidence,
        ),
    },
)
