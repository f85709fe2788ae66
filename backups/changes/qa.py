"""QA first: the accepted changes of the same key in an earlier environment that a change may repeat."""

from datetime import timedelta

from django.db.models import Exists, OuterRef, QuerySet
from django.db.models.functions import Now

from backups.models import KeyChange
from kvops import timing


def accepted_before(change: KeyChange) -> QuerySet[KeyChange]:
    """The accepted changes of the key in earlier environments, the newest first.

    Each is of the last week, is not reversed, and changed at least the same parts.
    """
    undone = KeyChange.objects.applied().filter(reverses=OuterRef("pk"))
    return (
        KeyChange.objects.applied()
        .filter(
            ~Exists(undone),
            name=change.name,
            parts__contains=change.parts,
            namespace__binding=change.namespace.binding,
            environment__order__lt=change.environment.order,
            accepted_at__gte=Now() - timedelta(seconds=timing.QA_EVIDENCE),
        )
        .select_related("environment", "accepted_by")
        .order_by("-accepted_at")
    )


def comes_first(change: KeyChange) -> bool:
    """Whether the change needs an accepted one, or a reason: in production."""
    return change.environment.production


def reason_allowed(change: KeyChange) -> bool:
    """Whether a reason may stand in for QA: for the put of a value, for a new key, and for a reverse change.

    A change that gives an existing key another expiration, or only other metadata, has no exception.
    """
    if change.reverses_id is not None or change.new_key:
        return True
    return "value" in change.parts and "expiration" not in change.parts
