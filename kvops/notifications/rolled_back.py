"""Messages about a database that was rolled back: one for each rollback, with the way out."""

from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from audit import log
from kvops.models import DatabaseRollback, Notification, NotificationEvent
from kvops.notifications import outbox
from kvops.wording import say


def tell() -> None:
    """Write a message about each rollback in force that was not told yet. `sweep` calls it."""
    for found in DatabaseRollback.objects.in_force().select_related("environment").order_by("pk"):
        told = Notification.objects.filter(event=NotificationEvent.DATABASE_ROLLED_BACK, occasion=_occasion(found))
        if not told.exists():
            _post(found)


def _occasion(found: DatabaseRollback) -> str:
    return f"rollback {found.pk}"


def _post(found: DatabaseRollback) -> None:
    name = found.environment.name
    with log.transaction():
        outbox.post(
            NotificationEvent.DATABASE_ROLLED_BACK,
            subject=f"environment:{found.environment.slug}",
            occasion=_occasion(found),
            environment=found.environment,
            title=say(_("KVOps is read-only: the database was rolled back")),
            lines=[
                say(
                    _("The bucket of %(environment)s holds a backup that this database does not know."),
                    environment=name,
                ),
                say(_("Nothing is backed up, deleted, restored, asked for or approved until this is settled.")),
                say(_("Restore a newer state of the database, or run manage.py accept_restored_database.")),
            ],
            link=reverse("environments"),
        )
