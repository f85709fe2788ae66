"""The only door to django-q2: a wake-up task carries one id and nothing else."""

from datetime import timedelta

from django.db import transaction
from django.db.models.functions import Now
from django_q.models import OrmQ, Task
from django_q.tasks import async_task

FULL = 1_000
BATCH = 10_000
KEPT = timedelta(days=1)
"""The queue keeps its own note of a task this long; the lasting account is the run."""


def enqueue(task: str, pk: int) -> None:
    """Queue `task(pk)` as part of the open transaction. Raises TransactionManagementError if none is open."""
    if not transaction.get_connection().in_atomic_block:
        raise transaction.TransactionManagementError("enqueue() belongs into the transaction that changes the row.")
    async_task(task, pk, task_name=f"{task.rsplit('.', 1)[-1]} {pk}", hook="kvops.tasks.came_back")


def length() -> int:
    """The number of tasks that wait or are executed."""
    return int(OrmQ.objects.count())


def withdraw_tasks(task: str) -> None:
    """Remove every waiting `task`, with any id."""
    waiting = [row.pk for row in OrmQ.objects.iterator() if row.func() == task]
    OrmQ.objects.filter(pk__in=waiting).delete()


def prune() -> int:
    """Delete a batch of the queue's notes about tasks that ended a day ago. Return their number."""
    old = Task.objects.filter(stopped__lt=Now() - KEPT).order_by().values("pk")[:BATCH]
    deleted, _ = Task.objects.filter(pk__in=old).delete()
    return int(deleted)
