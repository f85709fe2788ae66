"""QA first: the accepted bulk changes of an earlier environment that a change in production may repeat."""

from collections.abc import Iterator
from datetime import timedelta

from django.db.models import Exists, OuterRef, Q

from backups.models import BulkChange, Restore
from kvops import clock, timing

State = Restore.State
DIFFERS = "bulk_qa_differs"
"""The risk of a change of other keys than the one of QA: of another prefix, or chosen in another way."""


def accepted_before(bulk: BulkChange) -> BulkChange | None:
    """The newest change of the last week that may be repeated; None if there is none."""
    since = clock.now() - timedelta(seconds=timing.QA_EVIDENCE)
    return next((one for one in _repeatable(bulk) if one.accepted_at and one.accepted_at >= since), None)


def still_counts(bulk: BulkChange) -> bool:
    """Whether the change that this one repeats may still be repeated, however long ago it was accepted."""
    return not comes_first(bulk) or any(one.pk == bulk.repeats_id for one in _repeatable(bulk))


def comes_first(bulk: BulkChange) -> bool:
    """Whether the change needs an accepted one: in production, without an exception."""
    return bulk.restore.environment.production


def is_of_other_keys(bulk: BulkChange, earlier: BulkChange) -> bool:
    """Whether the earlier change was of another prefix, or chose the keys in another way."""
    return (earlier.restore.prefix, earlier.scope) != (bulk.restore.prefix, bulk.scope)


def _repeatable(bulk: BulkChange) -> Iterator[BulkChange]:
    """Accepted changes of the same family, operation and mark, the newest first.

    None was undone since: a restore from its backup wrote nothing. The keys of none lived longer than those here do.
    """
    written_back = Restore.objects.restoring().filter(
        Q(state=State.WRITING) | Q(state=State.DONE, written__gt=0),
        generation=OuterRef("restore__generation"),
        namespace=OuterRef("restore__namespace"),
    )
    found = BulkChange.objects.filter(
        ~Exists(written_back),
        operation=bulk.operation,
        family=bulk.family,
        member=bulk.member,
        restore__state=State.DONE,
        restore__environment__order__lt=bulk.restore.environment.order,
        restore__namespace__binding=bulk.restore.namespace.binding,
        accepted_at__isnull=False,
    )
    related = ("restore__environment", "restore__run", "accepted_by")
    for one in found.select_related(*related).order_by("-accepted_at"):
        if bulk.operation != Restore.Operation.EXPIRATION or _life(one) <= _life(bulk):
            yield one


def _life(bulk: BulkChange) -> float:
    """Seconds that the keys live: from the start of the run, or from now if it has not started."""
    if bulk.lifetime is not None:
        return bulk.lifetime
    since = bulk.restore.run.created_at if bulk.restore.run else clock.now()
    return (bulk.until or 0) - since.timestamp()
