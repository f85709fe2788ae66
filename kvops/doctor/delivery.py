"""Mail, Slack, the heartbeat and the metrics. No message is sent."""

import smtplib
from collections.abc import Iterator
from contextlib import closing
from urllib.parse import urlsplit

from django.conf import settings
from django.core.mail import mailers
from django.utils.translation import gettext_lazy as _

from kvops.connections import credentials
from kvops.doctor.findings import Diagnosis, Examined, ok, unknown, wrong
from kvops.models import Environment, Notification
from kvops.supervision import heartbeats
from kvops.wording import say

MISSED = 900.0
"""Seconds since the last call of the address that are a finding: the sweep calls it each minute."""


def mail(_examined: Examined) -> Iterator[Diagnosis]:
    """Check that the mail server lets KVOps in. No mail is sent."""
    about, mailer = _("Mail"), mailers.settings["default"]
    options = mailer.get("OPTIONS", {})
    place = f"{options.get('host', '')}:{options.get('port', '')}"
    if not options.get("host"):
        yield ok(about, _("Mails are printed to the log. Only the sandbox does this."))
        return
    try:
        with closing(mailers.create_connection("default")) as connection:
            connection.open()
    except smtplib.SMTPAuthenticationError:
        sentence = _("%(place)s refuses the login. Correct SMTP_USER and SMTP_PASSWORD.")
        yield wrong(about, say(sentence, place=place))
    except (smtplib.SMTPException, OSError) as error:
        sentence = _("%(place)s cannot be reached (%(kind)s). Correct SMTP_HOST, SMTP_PORT and SMTP_TLS.")
        yield wrong(about, say(sentence, place=place, kind=type(error).__name__))
    else:
        yield ok(about, place)


def slack(environment: Environment, _examined: Examined) -> Iterator[Diagnosis]:
    """Check that the webhook is readable and allowed. Slack can be asked only by a message, so none is asked."""
    about = say(_("%(environment)s: Slack"), environment=environment.slug)
    if not environment.slack:
        sentence = _('No channel is named. People share each backup for a deletion themselves, or slack = "env:NAME".')
        yield unknown(about, sentence)
        return
    try:
        webhook = urlsplit(credentials.resolve(environment.slack))
    except credentials.UnresolvedReference as error:
        sentence = _("%(error)s The worker posts the messages; examine it with the worker's settings.")
        yield unknown(about, say(sentence, error=error))
        return
    if webhook.hostname not in settings.KVOPS_ALLOWED_WEBHOOK_HOSTS:
        sentence = _("%(reference)s is an address of another host. Correct it, or KVOPS_ALLOWED_WEBHOOK_HOSTS.")
        yield wrong(about, say(sentence, reference=environment.slack))
        return
    sent = Notification.objects.filter(environment=environment, person=None, delivered_at__isnull=False)
    if sent.exists():
        yield ok(about)
    else:
        yield unknown(about, _("The webhook is readable, and no message was delivered to it yet."))


def heartbeat(_examined: Examined) -> Iterator[Diagnosis]:
    """Check that the sweep calls an address outside, so that somebody is woken when the whole machine is gone."""
    about, age = _("Heartbeat"), heartbeats.age(heartbeats.OUTSIDE)
    if age is None:
        sentence = _("Nobody is told if this machine is gone. Set KVOPS_HEARTBEAT_URL for the sweep (docs/monitor.md).")
        yield wrong(about, sentence)
    elif age > MISSED:
        yield wrong(about, _("The sweep did not call KVOPS_HEARTBEAT_URL for more than 15 minutes. Read its log."))
    else:
        yield ok(about)


def metrics(examined: Examined) -> Iterator[Diagnosis]:
    """Check that somebody may read the metrics. A process that does not serve them may lack their settings."""
    about = _("Metrics")
    if settings.KVOPS_METRICS_HOSTS or settings.KVOPS_METRICS_TOKEN:
        yield ok(about)
    elif examined.web:
        sentence = _("Nobody may read /metrics. Set KVOPS_METRICS_HOSTS or KVOPS_METRICS_TOKEN (docs/monitor.md).")
        yield wrong(about, sentence)
    else:
        sentence = _(
            "This process names nobody who may read them. Run manage.py doctor --web with the web server's settings."
        )
        yield unknown(about, sentence)
