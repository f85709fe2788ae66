"""The only door to django-q2: a task is a doorbell that carries one id and nothing else."""

from django.db import transaction
from django_q.tasks import async_task


def enqueue(task: str, pk: int) -> None:
    """Queue `task(pk)` as part of the open transaction; raises TransactionManagementError when none is open."""
    if not transaction.get_connection().in_atomic_block:
        raise transaction.TransactionManagementError("enqueue() belongs into the transaction that changes the row.")
    async_task(task, pk, task_name=f"{task.rsplit('.', 1)[-1]} {pk}")
