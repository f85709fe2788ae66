"""The operation of settings backups in 1Password."""

from datetime import timedelta

from django.utils.translation import gettext_lazy as _, pgettext_lazy

from backups.vault import announcements, run, standing, start
from kvops.models import NotificationEvent, Role, Run
from kvops.operations import looks
from kvops.operations.parts import FeatureOperation, Notice, ScheduledJob

OPERATION = FeatureOperation(
    runs={Run.Kind.VAULT: run.keep_in_vault, Run.Kind.VAULT_CHECK: run.look_into_vault},
    jobs={
        "vault": ScheduledJob(
            _("Settings backups kept in 1Password"), start.scheduled, "57 2 * * *", apart=timedelta(hours=6)
        ),
        "vault_in_time": ScheduledJob(
            _("Notices of settings backups missing from 1Password"), announcements.in_time, "43 * * * *"
        ),
    },
    notices={NotificationEvent.VAULT_LACKS: Notice(roles=(Role.OPERATOR,), channel=True)},
    alarms=[standing.alarms],
    states={
        "document_waiting": looks.Look(_("Being put into 1Password"), *looks.BUSY),
        "document_failed": looks.Look(_("Could not be kept in 1Password"), *looks.BAD),
        "document_kept": looks.Look(_("Kept in 1Password"), *looks.PROVEN),
        "document_gone": looks.Look(_("Missing from 1Password"), *looks.CARE),
        "document_changed": looks.Look(_("Changed in 1Password"), *looks.CARE),
        "vault_kept": looks.Look(_("Kept in 1Password"), *looks.PROVEN),
        "vault_due": looks.Look(_("At the next due time"), *looks.WAITS),
        "vault_late": looks.Look(pgettext_lazy("1Password", "Late"), *looks.CARE),
        "vault_refused": looks.Look(_("Could not be kept in 1Password"), *looks.BAD),
        "vault_too_large": looks.Look(_("Too large for 1Password"), *looks.CARE),
        "vault_gone": looks.Look(_("Missing from 1Password"), *looks.CARE),
        "vault_changed": looks.Look(_("Changed in 1Password"), *looks.CARE),
    },
)
