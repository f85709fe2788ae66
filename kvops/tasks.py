"""The functions that the queue may call: an id in, one call."""

from kvops.notifications import outbox
from kvops.runs import driver as run_driver
from kvops.supervision import heartbeats, sweep


def step(run_id: int) -> None:
    """Work on a run for one step."""
    run_driver.drive(run_id)


def look_into_bucket(environment_id: int) -> None:
    """Check an environment's bucket: its newest manifest against the audit log, and its protection."""
    sweep.look_into_bucket(environment_id)


def deliver(notification_id: int) -> None:
    """Send a notification."""
    outbox.deliver(notification_id)


def canary(_pk: int) -> None:
    """Do nothing. Its return shows that the cluster works."""


def came_back(_task: object) -> None:
    """Note that a task went through the whole cluster. The cluster's monitor calls it with the result of every task."""
    heartbeats.beat("canary")
