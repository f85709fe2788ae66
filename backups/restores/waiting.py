"""The next steps of restores, for the overview and the menu."""

from collections.abc import Iterator

from django.db.models import QuerySet
from django.db.models.functions import Now
from django.urls import reverse
from django.utils.formats import number_format
from django.utils.translation import gettext as _, ngettext

from backups.models import Restore
from kvops.models import Person
from kvops.overview.lines import MOST, Line, step


def to_start(person: Person) -> QuerySet[Restore]:
    """Approved restores, of deletions too, that the person may start."""
    approved = Restore.objects.restoring().filter(state=Restore.State.APPROVED, approval__use_by__gt=Now())
    return approved.exclude(approval__approver=person)


def steps(person: Person) -> Iterator[Line]:
    """The restores that the person starts."""
    for restore in to_start(person).select_related("environment", "approval").order_by("pk")[:MOST]:
        subject = ngettext("%(n)s key from backup %(pk)s", "%(n)s keys from backup %(pk)s", restore.names) % {
            "n": number_format(restore.names, force_grouping=True),
            "pk": restore.generation_id,
        }
        url = reverse("backups:restore", args=[restore.pk])
        by = restore.approval.use_by if restore.approval else None
        yield step(restore.environment, _("Start the restore"), subject, url, since=restore.created_at, by=by)
