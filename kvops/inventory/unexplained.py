"""Unexplained deletions and unexpected keys: changes of KV that must not happen outside KVOps.

A deletion is unexplained if KVOps did not delete the key and it had not expired. If an application gave a key an
expiration after the last scan, and it expired since, the key is among them too: nobody recorded that. A new key is
unexpected if its family is legacy, or if a clean-up emptied its prefix, and KVOps did not restore it.

Every scan finds both within its merge. Packages of `backups`, named by strings, give the SQL of KVOps' own deletions
and restores, and of the emptied prefixes.
"""

from django.db.models import QuerySet
from django.db.models.functions import Now
from django.urls import reverse
from django.utils.translation import gettext_lazy as _, ngettext_lazy

from audit import log
from audit.actions import Action
from kvops.inventory import families
from kvops.models import NotificationEvent, Person, Role, Scan, UnexpectedKey, UnexplainedDeletion
from kvops.models.inventory import beginning_with
from kvops.names import storable
from kvops.notifications import outbox
from kvops.refusals import Refused
from kvops.wording import insist_explained, say

_OWNERS_OF = 1_000
"""Names. The owners of the first families found are told, so that a message stays cheap after a large deletion."""

type OddKey = UnexplainedDeletion | UnexpectedKey


class AcknowledgeRefused(Refused):
    """The deletions cannot be acknowledged this way; the message gives the reason."""


def names(scan: Scan, *, prefix: str = "", after: str = "", new: bool = False) -> QuerySet[OddKey]:
    """The unexplained deletions that this scan found, in byte order, under a prefix, after a name.

    With `new`, its unexpected keys instead.
    """
    kept: QuerySet[OddKey] = scan.unexpected_keys.all() if new else scan.unexplained_deletions.all()
    found = beginning_with(kept.order_by("name"), prefix)
    if not after:
        return found
    return found.filter(name__gt=after) if storable(after) else found.none()


def report(scan: Scan, *, deletions: int, new: int, actor: log.Actor) -> None:
    """Record and announce the findings of a merge, within its transaction."""
    if deletions:
        _record(Action.MISSING_FOUND, scan, deletions, actor)
        _announce(
            NotificationEvent.DELETION_UNEXPLAINED,
            scan,
            say(
                ngettext_lazy(
                    "%(namespace)s: %(n)s key was deleted without an explanation",
                    "%(namespace)s: %(n)s keys were deleted without an explanation",
                    deletions,
                ),
                namespace=scan.namespace,
                n=f"{deletions:,}",
            ),
            say(_("KVOps did not delete them, and they had not expired. Find out who did, and note your findings.")),
        )
    if new:
        _record(Action.UNEXPECTED_FOUND, scan, new, actor)
        _announce(
            NotificationEvent.KEY_UNEXPECTED,
            scan,
            say(
                ngettext_lazy("%(namespace)s: %(n)s unexpected key", "%(namespace)s: %(n)s unexpected keys", new),
                namespace=scan.namespace,
                n=f"{new:,}",
            ),
            say(_("They are new, under a legacy family or an emptied prefix. Find out who wrote them.")),
        )


def _record(action: Action, scan: Scan, keys: int, actor: log.Actor) -> None:
    log.record(
        action,
        actor=actor,
        environment=scan.namespace.environment.slug,
        subject=f"unexplained:{scan.pk}",
        subject_label=str(scan.namespace),
        details={"keys": keys},
    )


def _announce(event: NotificationEvent, scan: Scan, title: str, line: str) -> None:
    new = event == NotificationEvent.KEY_UNEXPECTED
    show = "?show=new" if new else ""
    found = names(scan, new=new).values_list("name", flat=True)[:_OWNERS_OF]
    outbox.post(
        event,
        subject=f"unexplained:{scan.pk}",
        title=title,
        lines=[line],
        link=f"{reverse('unexplained-scan', args=[scan.pk])}{show}",
        environment=scan.namespace.environment,
        to=families.owners_of_names(scan.namespace.binding, found),
    )


def acknowledge_deletions(scan: Scan, *, by: Person, note: str) -> None:
    """Record a person's findings about a scan's unexplained deletions and unexpected keys.

    Raises AcknowledgeRefused.
    """
    with log.transaction():
        if not (by.holds(Role.OPERATOR) or by.holds(Role.REVIEWER)):
            raise AcknowledgeRefused(_("Only an operator or a reviewer can acknowledge this."))
        insist_explained(note, AcknowledgeRefused, _("Describe your findings, or name the person you asked."))
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
            details={"keys": scan.unexplained, "unexpected": scan.unexpected, "note": note.strip()[:1000]},
        )
