"""The operation of deletions: the run, its proof, and the late look."""

from django.utils.translation import gettext_lazy as _

from audit.actions import Action
from backups.deletion import late_check, own_deletions, proof, run
from backups.execution import write_token
from kvops.models import NotificationEvent, Run
from kvops.operations.parts import TEAM, FeatureOperation, Notice, OwnChange

OPERATION = FeatureOperation(
    runs={
        Run.Kind.DELETE: run.delete_keys_permanently,
        Run.Kind.CONFIRM: proof.confirm_absence,
        Run.Kind.LATE_CHECK: late_check.look_again,
    },
    resumed={Run.Kind.DELETE: run.let_go_on},
    notices={NotificationEvent.KEY_REAPPEARED: Notice(roles=TEAM, channel=True)},
    quiet=[Action.CHUNK_INTENDED, Action.CHUNK_SETTLED],
    figures={
        "deleted": _("Deleted"),
        "skipped": _("Not deleted"),
    },
    own_changes={
        OwnChange.DELETED: own_deletions.deleted_by_us,
        OwnChange.EMPTIED: own_deletions.emptied_by_us,
    },
    looks=[write_token.ask_when_due],
)
