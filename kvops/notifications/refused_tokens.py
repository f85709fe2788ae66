"""Messages about refused secrets: one for each environment and reference, with the reference and what to do."""

from collections.abc import Sequence
from http import HTTPStatus

from django.db.models.functions import Now
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from audit import log
from kvops.models import NotificationEvent, RefusedToken, Skew
from kvops.notifications import outbox
from kvops.wording import moment, say


def tell() -> None:
    """Write the messages about secrets that were refused since the last round. `sweep` calls it."""
    for refused in RefusedToken.objects.filter(told_at=None, over_at=None).select_related("environment"):
        with log.transaction():
            if RefusedToken.objects.filter(pk=refused.pk, told_at=None).update(told_at=Now()):
                _post(refused)


def _post(refused: RefusedToken) -> None:
    service = Skew.Service(refused.service).label
    outbox.post(
        NotificationEvent.TOKEN_REFUSED,
        subject=f"environment:{refused.environment.slug}",
        occasion=f"refused {refused.pk}",
        environment=refused.environment,
        title=say(
            _("%(service)s refuses %(reference)s of %(environment)s"),
            service=service,
            reference=refused.reference,
            environment=refused.environment.name,
        ),
        lines=[*_cause(refused), say(_FOLDED)],
        link=reverse("environments"),
    )


_FOLDED = _(
    "Runs that fail for this reason are not told one by one. Try the failed runs again when the secret is accepted."
)


def _cause(refused: RefusedToken) -> Sequence[str]:
    facts = {"reference": refused.reference, "since": moment(refused.since), "call": refused.route}
    if refused.service == Skew.Service.R2:
        return [
            say(
                _("R2 does not know the key behind %(reference)s, or its secret does not fit, since %(since)s."),
                **facts,
            ),
            say(
                _("Its token was deleted, or one of the two is mistyped. Make a new R2 token for the bucket."), **facts
            ),
            say(_("Store its key at %(reference)s and its secret where r2_secret_access_key points."), **facts),
        ]
    if refused.status == HTTPStatus.UNAUTHORIZED:
        return [
            say(_("Cloudflare does not know the token behind %(reference)s, since %(since)s (401)."), **facts),
            say(_("It expired, was revoked or is mistyped. Make a new one with the same permissions."), **facts),
            say(_("Store it at %(reference)s, and restart the processes if it is a variable (env:)."), **facts),
        ]
    return [
        say(_("The token behind %(reference)s lacks a permission, since %(since)s (403, %(call)s)."), **facts),
        say(_("Give it the missing permission for KV or D1 in Cloudflare. No restart is needed."), **facts),
    ]
