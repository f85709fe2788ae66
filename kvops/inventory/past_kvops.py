"""Changes of keys past KVOps: Cloudflare's audit log of the account, for the time between two scans or backups.

The answer is Cloudflare's statement. It is shown and not stored, because it has addresses of persons. The audit log of
KVOps records the person who asked, the time asked for, and the number of entries.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from audit import log
from audit.actions import Action
from kvops.cloudflare import ApiError, AuditEntry, AuthError, CloudflareError
from kvops.connections import clients
from kvops.models import Namespace, Person, Role, Scan
from kvops.refusals import Refused

logger = logging.getLogger(__name__)

SHOWN = 200
"""Entries on the page."""


class PastRefused(Refused):
    """Cloudflare's audit log cannot be asked this way; the message gives the reason."""


@dataclass(frozen=True)
class CloudflareStatement:
    """The recorded calls that changed the namespace in that time. If `more`, there are others."""

    since: datetime
    before: datetime
    entries: Sequence[AuditEntry]
    more: bool


def ask(scan: Scan, *, by: Person) -> CloudflareStatement:
    """Ask Cloudflare who changed the namespace since the scan before this one. Raises PastRefused."""
    earlier = Scan.objects.complete().filter(namespace=scan.namespace_id, pk__lt=scan.pk).order_by("-pk")
    before = next((one for one in earlier[:SHOWN] if scan.prefix.startswith(one.prefix)), None)
    if before is None or scan.completed_at is None:
        raise PastRefused(_("There is no earlier scan of these keys, so the time of the change is not known."))
    return ask_between(scan.namespace, before.created_at, scan.completed_at, subject=f"unexplained:{scan.pk}", by=by)


def ask_between(
    namespace: Namespace, since: datetime, until: datetime, *, subject: str, by: Person
) -> CloudflareStatement:
    """Ask Cloudflare who changed the namespace in this time, for a subject of the audit log. Raises PastRefused."""
    if not by.holds(Role.OPERATOR):
        raise PastRefused(_("Only an operator can do this."))
    try:
        with clients.reader(namespace.environment) as client:
            entries, more = client.changes_of_namespace(namespace.namespace_id, since, until)
    except CloudflareError as error:
        logger.warning("Cloudflare's audit log of %s does not answer: %s", namespace, error)
        raise PastRefused(_sentence(error)) from error
    with log.transaction():
        log.record(
            Action.CLOUDFLARE_ASKED,
            actor=by.actor,
            environment=namespace.environment.slug,
            subject=subject,
            subject_label=str(namespace),
            details={"since": since.isoformat(), "before": until.isoformat(), "entries": len(entries)},
        )
    return CloudflareStatement(since, until, entries[:SHOWN], more or len(entries) > SHOWN)


def _sentence(error: CloudflareError) -> Promise:
    status = error.status if isinstance(error, ApiError) else None
    if isinstance(error, AuthError) and error.token_unknown:
        return _("Cloudflare does not know the read token (401). Store a valid one where read_token points.")
    if isinstance(error, AuthError) or status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return _("The read token may not read Cloudflare's audit log. Give it the permission Account Settings Read.")
    return _("Cloudflare's audit log did not answer as documented. Ask again later.")
