"""What the queue may call: an id in, one call."""

from kvops import runs, supervision


def step(run_id: int) -> None:
    """Work on a run for one step."""
    runs.drive(run_id)


def canary(_pk: int) -> None:
    """Show that the cluster executes tasks."""
    supervision.beat("canary")
