"""What commands that work through a run have in common."""

from django.core.management.base import CommandError, OutputWrapper

from kvops import runs
from kvops.models import Run


def progress(stderr: OutputWrapper, note: str) -> None:
    """Show where the work is, on a terminal only."""
    if stderr.isatty():
        stderr.write(f"\r\033[K{note}", ending="")


def to_the_end(run: Run, stderr: OutputWrapper) -> None:
    """Work on a foreground run until it is over; it is refreshed then. Raises CommandError unless it succeeded."""
    for now in runs.drive_to_the_end(run):
        progress(stderr, now.note)
    if run.state != Run.State.SUCCEEDED:
        raise CommandError(run.error or f"The {run.get_kind_display()} was stopped.")
