"""The only door to django-q2: a wake-up task carries one id and nothing else.

All clusters read one queue. Each has its own canary, which only its own cluster can take.
"""

import os
import socket
from datetime import timedelta

from django.db import transaction
from django.db.models.functions import Now
from django_q.brokers.orm import ORM
from django_q.models import OrmQ, Task
from django_q.tasks import async_task

FULL = 1_000
BATCH = 10_000
KEPT = timedelta(days=1)
"""The queue keeps its own note of a task this long; the lasting account is the run."""

CANARY = "kvops.tasks.canary"
CLUSTER_OF = "KVOPS_CLUSTER_OF"
"""Environment variable of a cluster: the worker that started it."""


class Broker(ORM):  # type: ignore[misc]
    """The queue as a cluster reads it: its own canary first, then what all share."""

    def dequeue(self) -> list[tuple[int, str]] | None:
        """The next task; None after a pause if there is none."""
        mine = ORM(list_key=_canary_key(worker()))
        found: list[tuple[int, str]] | None = mine.dequeue() if mine.queue_size() else super().dequeue()
        return found


def worker() -> str:
    """The `manage.py worker` that this process belongs to, as host and process."""
    return os.environ.get(CLUSTER_OF) or f"{socket.gethostname()}:{os.getpid()}"


def enqueue(task: str, pk: int) -> None:
    """Queue `task(pk)` as part of the open transaction. Raises TransactionManagementError if none is open."""
    if not transaction.get_connection().in_atomic_block:
        raise transaction.TransactionManagementError("enqueue() belongs into the transaction that changes the row.")
    async_task(task, pk, task_name=f"{task.rsplit('.', 1)[-1]} {pk}", hook="kvops.tasks.came_back")


def length() -> int:
    """The number of tasks that wait or are executed."""
    return int(OrmQ.objects.count())


def send_canary() -> None:
    """Queue a canary for the cluster of this worker, in place of one that waits."""
    withdraw_canary(worker())
    async_task(CANARY, 0, task_name="canary", hook="kvops.tasks.came_back", cluster=_canary_key(worker()))


def withdraw_canary(of: str) -> None:
    """Remove the waiting canary of a worker."""
    OrmQ.objects.filter(key=_canary_key(of)).delete()


def _canary_key(of: str) -> str:
    return f"canary {of}"


def prune() -> int:
    """Delete a batch of the queue's notes about tasks that ended a day ago. Return their number."""
    old = Task.objects.filter(stopped__lt=Now() - KEPT).order_by().values("pk")[:BATCH]
    deleted, _ = Task.objects.filter(pk__in=old).delete()
    return int(deleted)
