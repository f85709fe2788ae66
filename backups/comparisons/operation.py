"""The operation of comparisons of backups."""

from django.utils.translation import gettext_lazy as _

from backups.comparisons import start
from backups.models import Comparison
from kvops.models import Run
from kvops.operations.parts import BackupRead, FeatureOperation

OPERATION = FeatureOperation(
    runs={Run.Kind.COMPARISON: start.compare_backups},
    figures={
        "outside": _("Settings changed outside KVOps"),
        "removed": _("Removed"),
    },
    reads=[BackupRead(Comparison.objects.all, "other")],
)
