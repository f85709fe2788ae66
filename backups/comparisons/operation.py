"""What comparisons of backups say about themselves."""

from django.utils.translation import gettext_lazy as _

from backups.comparisons import start
from kvops.models import Run
from kvops.operations.parts import Operation

OPERATION = Operation(
    runs={Run.Kind.COMPARISON: start.compare_backups},
    figures={
        "outside": _("Settings changed outside KVOps"),
        "removed": _("Removed"),
    },
)
