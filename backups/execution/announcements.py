"""An answer of Cloudflare that contradicts itself is reported to the team."""

from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from backups.models import CleanupStage, Restore
from kvops.models import NotificationEvent
from kvops.notifications import outbox
from kvops.refusals import Sentence
from kvops.wording import say, translated


def contradicted(work: CleanupStage | Restore, problem: Sentence) -> None:
    """Notify people, once per deletion or restore, that Cloudflare's answer to a change of KV contradicts itself."""
    subject, page, pk = f"restore:{work.pk}", "backups:restore", work.pk
    if isinstance(work, Restore) and work.is_bulk:
        subject, page = f"bulkchange:{work.pk}", "backups:bulk_change"
    if isinstance(work, CleanupStage):
        subject, page, pk = f"stage:{work.pk}", "backups:stage", work.pk
    outbox.post(
        NotificationEvent.ANSWER_CONTRADICTED,
        subject=subject,
        environment=work.environment,
        title=say(_("Cloudflare's answer contradicts itself: %(what)s"), what=work),
        lines=[
            translated(problem),
            say(_("The answer is not trusted: the keys are read to find out the result. Look at the result.")),
        ],
        link=reverse(page, args=[pk]),
    )
