"""Wakes due runs, and takes over runs whose lease ran out.

A takeover waits for the lease and for the longest request that a paused owner could still have under way.
"""

from datetime import timedelta

from django.db.models import F, Min, Q
from django.db.models.functions import Now
from django.utils.translation import gettext_noop

from audit import log
from kvops import clock, queue, timing
from kvops.models import Run
from kvops.runs.driver import fail
from kvops.runs.lease import take


def wake_due() -> int:
    """Queue every run that is due and has no live owner. Return their number. `sweep` calls it every few seconds.

    Covers waits that are over, expired leases, and lost wake-up tasks.
    """
    silent = Now() - timedelta(seconds=timing.STALE_WAKE_UP_TASK)
    due = (
        Q(wake_at__lte=Now(), task_sent_at__lt=F("wake_at"))
        | Q(wake_at__lte=Now(), task_sent_at__lt=silent)
        | Q(wake_at__isnull=True, owner="", task_sent_at__lt=silent)
        | Q(lease_until__lt=Now() - timedelta(seconds=timing.REQUEST_TIMEOUT), task_sent_at__lt=silent)
    )
    woken = 0
    for pk in Run.objects.open().filter(due, foreground=False).values_list("pk", flat=True)[:1000]:
        with log.transaction():
            # A locked row means that a worker has the run. take() clears wake_at; task_sent_at keeps the next sweep
            # from sending another task.
            free = Run.objects.open().filter(due, pk=pk).select_for_update(skip_locked=True)
            if Run.objects.filter(pk__in=[run.pk for run in free]).update(task_sent_at=Now()):
                queue.enqueue("kvops.tasks.step", pk)
                woken += 1
    return woken


def seconds_to_next() -> float:
    """Seconds until the sweep's next round: `timing.SWEEP`, or less if a lost run can be taken over before."""
    free_at = F("lease_until") + timedelta(seconds=timing.REQUEST_TIMEOUT)
    leased = Run.objects.open().annotate(free_at=free_at).filter(free_at__gt=Now())
    nearest = leased.aggregate(nearest=Min("free_at"))["nearest"]
    # A margin, because the round looks for leases that ended before it.
    return min(timing.SWEEP, clock.seconds_until(nearest) + 0.05) if nearest else timing.SWEEP


def close_abandoned() -> int:
    """Fail foreground runs whose command is gone, so that they block nothing. Return their number. `sweep` calls it."""
    silent = Now() - timedelta(seconds=timing.STALE_WAKE_UP_TASK + timing.REQUEST_TIMEOUT)
    gone = Q(lease_until__lt=Now() - timedelta(seconds=timing.REQUEST_TIMEOUT)) | (
        Q(owner="", updated_at__lt=silent) & (Q(wake_at__isnull=True) | Q(wake_at__lt=silent))
    )
    closed = 0
    for pk in Run.objects.open().filter(gone, foreground=True).values_list("pk", flat=True)[:1000]:
        lease = take(pk, foreground=True)
        if lease is not None:
            fail(
                lease,
                "abandoned",
                gettext_noop("The command ended too early. Start it again, or let a worker resume it."),
            )
            closed += 1
    return closed
