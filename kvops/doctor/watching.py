"""The watch from outside: the heartbeat and the metrics."""

from collections.abc import Iterator

from django.conf import settings
from django.utils.translation import gettext_lazy as _

from kvops.doctor.findings import Diagnosis, Examined, ok, unknown, wrong
from kvops.supervision import heartbeats

MISSED = 900.0
"""Seconds since the last call of the address that are a finding: the sweep calls it each minute."""


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
