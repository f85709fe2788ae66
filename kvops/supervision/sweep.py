"""The rounds of the sweep: wake due runs, take over lost ones, fire schedules, close expired requests."""

import logging

from django.db import transaction

from kvops import queue, timing
from kvops.approvals import announcements, gate as approval_gate
from kvops.models import Environment
from kvops.notifications import clocks_apart, outbox, refused_tokens, rolled_back
from kvops.operations import registry
from kvops.operations.parts import Question
from kvops.runs import sweeping, waiting
from kvops.schedules import jobs as schedule_jobs
from kvops.supervision import heartbeats

logger = logging.getLogger(__name__)

TIDY = 3600.0


def stand_in() -> bool:
    """Do a round in place of a sweep that was not seen for too long. Return whether a round was done."""
    seen = heartbeats.age("sweep")
    if seen is not None and seen <= timing.CANARY_LATE:
        return False
    _round()
    return True


def sweep_once() -> int:
    """Do one round of the sweep and note its heartbeat. Return the number of woken runs."""
    woken = _round()
    heartbeats.beat("sweep")
    return woken


def _round() -> int:
    """Wake due runs, close expired requests and lost runs, tidy up. Two rounds at once do no harm."""
    # Without a worker every round would queue more tasks; a full queue needs no more.
    room = queue.length() < queue.FULL
    if room:
        _have_looked()
    woken = sweeping.wake_due() if room else 0
    if room:
        outbox.send_due()
    sweeping.close_abandoned()
    approval_gate.expire()
    announcements.expiring()
    refused_tokens.tell()
    clocks_apart.tell()
    rolled_back.tell()
    waiting.tell()
    schedule_jobs.fire_due()
    for host in heartbeats.forget():
        logger.warning("The worker on %s was not seen for long and is forgotten, because another one works.", host)
    registry.ask(Question.EACH_ROUND)
    tidied = heartbeats.age("tidied")
    if (tidied is None or tidied >= TIDY) and queue.prune() < queue.BATCH:
        heartbeats.beat("tidied")
    if heartbeats.claim("compared", TIDY):
        registry.ask(Question.EACH_HOUR)
    return woken


def _have_looked() -> None:
    """Queue a check of every bucket for a worker, if it is due. The sweep itself must not wait for outside calls."""
    looked = heartbeats.age("looked")
    if looked is not None and looked < timing.LOOK:
        return
    with transaction.atomic():
        heartbeats.beat("looked")
        for pk in Environment.objects.values_list("pk", flat=True):
            queue.enqueue("kvops.tasks.look_into_bucket", pk)


def look_into_bucket(environment_id: int) -> None:
    """Check the bucket of an environment, if the environment still exists."""
    for environment in Environment.objects.filter(pk=environment_id):
        for look in registry.LOOKS:
            look(environment)
