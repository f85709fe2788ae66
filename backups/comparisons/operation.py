"""What comparisons of backups say about themselves."""

from backups.comparisons import start
from kvops.models import Run
from kvops.operations.parts import Operation

OPERATION = Operation(runs={Run.Kind.COMPARISON: start.compare_backups})
