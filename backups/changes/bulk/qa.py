"""QA first: the accepted bulk changes of an earlier environment that a change in production may repeat."""

from datetime import timedelta

from django.db.models import QuerySet
from django.db.models.functions import Now

from backups.models import BulkChange, Restore
from kvops import timing


def accepted_before(bulk: BulkChange) -> QuerySet[BulkChange]:
    """Accepted changes of the last week, of the same family, operation and mark, the newest first."""
    return (
        BulkChange.objects.filter(
            operation=bulk.operation,
            family=bulk.family,
            member=bulk.member,
            restore__state=Restore.State.DONE,
            restore__environment__order__lt=bulk.restore.environment.order,
            restore__namespace__binding=bulk.restore.namespace.binding,
            accepted_at__gte=Now() - timedelta(seconds=timing.QA_EVIDENCE),
        )
        .select_related("restore__environment", "accepted_by")
        .order_by("-accepted_at")
    )


def comes_first(bulk: BulkChange) -> bool:
    """Whether the change needs an accepted one: in production, without an exception."""
    return bulk.restore.environment.production
