"""Shared by commands that work through a run in the foreground."""

from django.core.management.base import CommandError, OutputWrapper

from audit.log import Actor
from backups.generations import start as generation_start
from backups.models import Generation
from kvops.models import Run
from kvops.runs import driver as run_driver


def progress(stderr: OutputWrapper, note: str) -> None:
    """Show the progress of the work, on a terminal only."""
    if stderr.isatty():
        stderr.write(f"\r\033[K{note}", ending="")


def to_the_end(run: Run, stderr: OutputWrapper) -> None:
    """Work on a foreground run until it is over, then refresh it. Raises CommandError unless it succeeded."""
    for now in run_driver.drive_to_the_end(run):
        progress(stderr, now.note)
    if run.state != Run.State.SUCCEEDED:
        raise CommandError(run.error or f"The {run.get_kind_display()} was stopped.")


def until_verified(generation: Generation, stderr: OutputWrapper, actor: Actor) -> int:
    """Work on a foreground backup until it is verified, then refresh it. Returns the number of requests to Cloudflare.

    Raises CommandError if a run failed.
    """
    to_the_end(generation.run, stderr)
    generation.refresh_from_db()
    if generation.status == Generation.Status.COMPLETE:
        to_the_end(generation_start.start_verification(generation, actor=actor, foreground=True), stderr)
        generation.refresh_from_db()
    return generation.run.calls
