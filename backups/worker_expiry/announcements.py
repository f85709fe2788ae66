"""The notifications about an expiry Worker: stopped, silent, missing, or called with a wrong signature."""

from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from audit import log
from backups.models import WorkerRule
from kvops import clock
from kvops.models import Notification, NotificationEvent
from kvops.notifications import outbox
from kvops.refusals import Sentence
from kvops.wording import say, sentence_of, translated


def tell_stopped(rule: WorkerRule, why: Sentence, occasion: str) -> None:
    """Notify the team once per occasion, within the open transaction."""
    outbox.post(
        NotificationEvent.WORKER_STOPPED,
        subject=rule.subject,
        occasion=occasion[:100],
        environment=rule.namespace.environment,
        title=say(_("The expiry Worker of %(what)s stopped or is not heard"), what=rule),
        lines=[translated(why)],
        link=reverse("backups:worker", args=[rule.pk]),
    )


def tell_refused_call(rule: WorkerRule, word: str) -> None:
    """Notify the team that a call at the door of the Worker was refused, at most once a day per reason."""
    occasion = f"{word} {timezone.localdate(clock.now())}"
    told = Notification.objects.filter(event=NotificationEvent.WORKER_STOPPED, subject=rule.subject, occasion=occasion)
    if told.exists():
        return
    why = _("A call at its address was refused (%(word)s). If the Worker sent it, compare its key and its clock.")
    with log.transaction():
        tell_stopped(rule, sentence_of(say(why, word=word)), occasion)
