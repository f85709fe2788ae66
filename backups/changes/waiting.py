"""The next steps of changes and bulk changes, for the overview and the menu."""

from collections.abc import Iterator

from django.db.models import Q, QuerySet
from django.db.models.functions import Now
from django.urls import reverse
from django.utils.formats import number_format
from django.utils.translation import gettext as _, ngettext

from backups.models import KeyChange, Restore
from kvops.models import Person, Run
from kvops.names import visible
from kvops.overview.lines import MOST, Line, step


def to_take_on(person: Person) -> QuerySet[KeyChange]:
    """Approved changes, and those whose run failed or was stopped: the key is not as it was, or a right is gone."""
    approved = Q(state=KeyChange.State.APPROVED, approval__use_by__gt=Now())
    resting = Q(state=KeyChange.State.WRITING, run__state__in=Run.RESUMABLE)
    return KeyChange.objects.filter(approved | resting).exclude(approval__approver=person)


def bulk_to_take_on(person: Person) -> QuerySet[Restore]:
    """Approved bulk changes, and those whose run failed or was stopped."""
    approved = Q(state=Restore.State.APPROVED, approval__use_by__gt=Now())
    resting = Q(state=Restore.State.WRITING, run__state__in=Run.RESUMABLE)
    return Restore.objects.filter(approved | resting).exclude(operation="").exclude(approval__approver=person)


def steps(person: Person) -> Iterator[Line]:
    """The changes and bulk changes that the person takes on."""
    for change in to_take_on(person).select_related("environment", "approval").order_by("pk")[:MOST]:
        approved = change.state == KeyChange.State.APPROVED
        yield step(
            change.environment,
            _("Write the key") if approved else _("See why the change stopped"),
            visible(change.name),
            reverse("backups:change", args=[change.pk]),
            since=change.created_at,
            by=change.approval.use_by if approved and change.approval else None,
        )
    for bulk in bulk_to_take_on(person).select_related("environment", "approval").order_by("pk")[:MOST]:
        approved = bulk.state == Restore.State.APPROVED
        keys = ngettext("%(n)s key", "%(n)s keys", bulk.names) % {"n": number_format(bulk.names, force_grouping=True)}
        yield step(
            bulk.environment,
            _("Start the bulk change") if approved else _("See why the bulk change stopped"),
            keys,
            reverse("backups:bulk_change", args=[bulk.pk]),
            since=bulk.created_at,
            by=bulk.approval.use_by if approved and bulk.approval else None,
        )
