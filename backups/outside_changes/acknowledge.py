"""A person explains the changes outside KVOps that a search found, after asking Cloudflare's audit log if they wish."""

from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from audit import log
from audit.actions import Action
from backups.models import OutsideSearch
from kvops.inventory import past_kvops
from kvops.inventory.past_kvops import CloudflareStatement, PastRefused
from kvops.models import Person, Role
from kvops.refusals import Refused
from kvops.runbook import secrets
from kvops.wording import insist_explained

LONGEST = 2_000
"""Characters of a note."""


class ExplanationRefused(Refused):
    """The changes cannot be explained this way; the message gives the reason."""


def explain(search: OutsideSearch, *, by: Person, note: str) -> None:
    """Record a person's explanation: who changed the settings, and why. Raises ExplanationRefused."""
    note = note.strip()[:LONGEST]
    with log.transaction():
        if not (by.holds(Role.OPERATOR) or by.holds(Role.REVIEWER)):
            raise ExplanationRefused(_("Only an operator or a reviewer can explain this."))
        sentence = _("Say who changed the settings and why, or name the person you asked.")
        insist_explained(note, ExplanationRefused, sentence)
        secrets.insist_no_secret(note)
        open_ = OutsideSearch.objects.shown().filter(pk=search.pk, acknowledged_at__isnull=True)
        if open_.update(acknowledged_by=by, acknowledged_at=Now(), acknowledged_note=note) != 1:
            raise ExplanationRefused(_("There is nothing to explain, or someone else explained it."))
        log.record(
            Action.OUTSIDE_ACKNOWLEDGED,
            actor=by.actor,
            environment=search.namespace.environment.slug,
            subject=search.subject,
            subject_label=str(search)[:200],
            details={"changed": search.changed, "new": search.new, "gone": search.gone, "note": note[:1_000]},
        )


def ask_cloudflare(search: OutsideSearch, *, by: Person) -> CloudflareStatement:
    """Ask Cloudflare who changed the namespace between the two backups. Raises PastRefused."""
    earlier, until = search.earlier, search.generation.finished_at
    if earlier is None or until is None:
        raise PastRefused(_("There is no earlier backup of these keys, so the time of the change is not known."))
    return past_kvops.ask_between(search.namespace, earlier.started_at, until, subject=search.subject, by=by)
