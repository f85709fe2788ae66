"""The operation of settings backups in 1Password."""

from datetime import timedelta

from django.utils.translation import gettext_lazy as _

from backups.vault import announcements, run, standing, start
from kvops.models import NotificationEvent, Role, Run
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
)
