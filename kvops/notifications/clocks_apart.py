"""Messages about clocks that differ: one a day for each environment and service, as long as they differ."""

from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from audit import log
from kvops.models import Notification, NotificationEvent, Skew
from kvops.notifications import bundles, outbox
from kvops.wording import moment, say


def tell() -> None:
    """Write a message about each clock that differs too much, unless one of the same day did. `sweep` calls it."""
    for skew in Skew.objects.select_related("environment").order_by("pk"):
        if skew.too_large:
            # One wrong clock differs from those of all services: that is one message.
            with bundles.one_bundle(f"clocks {skew.measured_at:%Y-%m-%d}"):
                _tell(skew)


def _tell(skew: Skew) -> None:
    subject, occasion = f"environment:{skew.environment.slug}", f"{skew.service} {skew.measured_at:%Y-%m-%d}"
    told = Notification.objects.filter(event=NotificationEvent.CLOCK_APART, subject=subject, occasion=occasion)
    if told.exists():
        return
    facts = {
        "service": Skew.Service(skew.service).label,
        "environment": skew.environment.name,
        "seconds": skew.apart,
        "at": moment(skew.measured_at),
    }
    with log.transaction():
        outbox.post(
            NotificationEvent.CLOCK_APART,
            subject=subject,
            occasion=occasion,
            environment=skew.environment,
            title=say(_("The clocks of the database and of %(service)s in %(environment)s differ"), **facts),
            lines=[
                say(_("They differ by %(seconds)s s, measured at %(at)s by the database's clock."), **facts),
                say(_("Nothing is deleted or restored until they agree. Set the clock of the database's machine.")),
            ],
            link=reverse("environments"),
        )
