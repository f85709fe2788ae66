"""Notifications about settings backups that are not in 1Password: late, too large, missing or changed there."""

from hashlib import sha256

from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from audit import log
from backups.models import Generation, VaultDocument
from backups.vault import standing
from backups.vault.standing import Place, VaultLine
from kvops.models import Environment, NotificationEvent
from kvops.notifications import outbox
from kvops.schedules.jobs import Begun
from kvops.wording import moment, say

TITLES: dict[str, Promise] = {
    Place.LATE: _("The settings backup of %(what)s is late in 1Password"),
    Place.TOO_LARGE: _("The settings backup of %(what)s is too large for 1Password"),
    Place.GONE: _("The Document of %(what)s is missing from 1Password"),
    Place.CHANGED: _("The Document of %(what)s was changed in 1Password"),
}
"""A backup that a run could not keep is told by the failure of the run."""
NEXT: dict[str, Promise] = {
    Place.LATE: _("Look at the schedule and at the worker, or keep the newest backup by hand."),
    Place.TOO_LARGE: _("Split the family into smaller ones, or keep the backup in another encrypted place by hand."),
    Place.GONE: _("If nobody archived it on purpose, find out who did. Keep the backup again on its page."),
    Place.CHANGED: _("Find out who changed it. Archive the changed Document, then keep the backup again on its page."),
}


def in_time(environment: Environment, _actor: log.Actor) -> Begun:
    """Notify of each line whose newest settings backup is not in 1Password, once until one is kept again."""
    for line in standing.lines(environment):
        if line.place in TITLES:
            last = _lost(line.document) if line.document and not line.waiting else _waiting(line)
            newest = moment(line.newest.finished_at)
            made = say(_("The newest verified backup is from %(date)s."), date=newest)
            _tell(line.newest, line.place, last, [made])
    return Begun()


def lost(document: VaultDocument, found: VaultDocument.State) -> None:
    """Notify at once of a Document that a look found missing or changed, within the open transaction."""
    document.refresh_from_db(fields=["lost_at"])
    kept = say(_("Kept on %(date)s by %(who)s."), date=moment(document.kept_at), who=document.actor)
    _tell(document.generation, Place(found.value), _lost(document), [kept])


def _lost(document: VaultDocument) -> str:
    """The loss of a Document: one that came back and is lost again is told again."""
    return f"{document.pk} {document.lost_at.isoformat() if document.lost_at else ''}"


def _waiting(line: VaultLine) -> str:
    """What a line waits for: the Document kept last, in the vault that the environment names now."""
    return f"{line.document.pk if line.document else 'none'} in {_short(line.newest.environment.vault)}"


def _tell(generation: Generation, place: Place, last: str, lines: list[str]) -> None:
    what = f"{generation.namespace} {' '.join(generation.shown_prefixes)}"
    outbox.post(
        NotificationEvent.VAULT_LACKS,
        subject=f"namespace:{generation.namespace_id}",
        title=say(TITLES[place], what=what),
        lines=[*lines, say(NEXT[place])],
        link=reverse("backups:generation", args=[generation.pk]),
        environment=generation.environment,
        occasion=f"{place} {_short(repr(generation.prefixes))} after {last}",
    )


def _short(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:16]
