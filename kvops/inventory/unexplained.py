"""Unexplained deletions: keys that are gone, not deleted by KVOps and not expired (design: unexplained deletions).

Every scan computes them within its merge. `backups.deletion.own_deletions`, named by a string, gives the SQL of
KVOps's own deletions. If an application gave a key an expiration after the last scan, and it expired since, the key
is among them too: nobody recorded that.
"""

from django.db.models import QuerySet
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from audit import log
from audit.actions import Action
from kvops.models import Person, Role, Scan, UnexplainedDeletion
from kvops.models.inventory import beginning_with
from kvops.names import storable
from kvops.refusals import Refused

EXPLAINED = ("backups.deletion.own_deletions.deleted_by_us",)
"""Functions, by name, that give SQL for (name, at) of deletions, so that `kvops` does not import the apps above it.

The SQL may use %(namespace)s, %(since)s and %(shown)s. %(since)s is the earliest moment of interest. Writes before
%(shown)s are in the listing, unless the key was deleted.
"""


class AcknowledgeRefused(Refused):
    """The deletions cannot be acknowledged this way; the message gives the reason."""


def names(scan: Scan, *, prefix: str = "", after: str = "") -> QuerySet[UnexplainedDeletion]:
    """The unexplained deletions that this scan found, in byte order, under a prefix, after a name."""
    found = beginning_with(UnexplainedDeletion.objects.filter(scan=scan).order_by("name"), prefix)
    if not after:
        return found
    return found.filter(name__gt=after) if storable(after) else found.none()


def acknowledge_deletions(scan: Scan, *, by: Person, note: str) -> None:
    """Record a person's findings about the unexplained deletions of a scan. Raises AcknowledgeRefused."""
    with log.transaction():
        if not (by.holds(Role.OPERATOR) or by.holds(Role.REVIEWER)):
            raise AcknowledgeRefused(_("Only an operator or a reviewer can acknowledge this."))
        if not note.strip():
            raise AcknowledgeRefused(_("Describe your findings, or name the person you asked."))
        changed = (
            Scan.objects.unexplained()
            .filter(pk=scan.pk)
            .update(acknowledged_by=by, acknowledged_at=Now(), acknowledged_note=note.strip()[:2000])
        )
        if changed != 1:
            raise AcknowledgeRefused(_("There is nothing to acknowledge, or someone else acknowledged it."))
        log.record(
            Action.MISSING_ACKNOWLEDGED,
            actor=log.Actor(by.pk, str(by)),
            environment=scan.namespace.environment.slug,
            subject=f"unexplained:{scan.pk}",
            subject_label=str(scan.namespace),
            details={"keys": scan.unexplained, "note": note.strip()[:1000]},
        )
