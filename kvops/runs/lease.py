"""The durable execution of work: leases, epochs, steps (design: runs).

A handler is called with a `Lease`, works for about a step, and commits its progress with `lease.checkpoint()`, a
transaction in which the lease is proven and renewed. It ends the step by passing `Again` (the next step is queued, or
waits) or `Done` to its last checkpoint and returning None, or simply by returning one of them.

A process that is paused wakes up with a lease that is no longer trusted. Inside a changing call, the kernel ends it.
"""

import logging
import os
import signal
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TypedDict, Unpack

from django.db.models import F, Q, QuerySet
from django.db.models.functions import Now

from audit import log
from audit.actions import Action
from kvops import queue, timing
from kvops.models import Run
from kvops.operations import registry
from kvops.runs import announcements as run_announcements
from kvops.runs.outcomes import Again, Done, LeaseLost, Stopped
from kvops.wording import Words, columns, sentence_of

logger = logging.getLogger(__name__)


class RunProgress(TypedDict, total=False):
    """The fields of a run that a checkpoint may save."""

    cursor: Mapping[str, object]
    done: int
    total: int
    calls: int
    note: Words
    starts: int
    tries: int
    waiting_since: datetime | None


def worker_name() -> str:
    """The current process, as the owner of a lease."""
    return f"{socket.gethostname()}:{os.getpid()}"


class Lease:
    """The right to work on a run, until the trust deadline. Every write proves it by the epoch."""

    def __init__(self, run: Run, *, foreground: bool, asked_at: float) -> None:
        """`asked_at` is the time when the lease was requested, by `time.monotonic()`."""
        self.run = run
        self.epoch = run.epoch
        self.foreground = foreground
        self.over = False
        self._trusted_until = asked_at + timing.TRUST
        self._step_until = asked_at + timing.STEP
        self._fenced = False

    @property
    def actor(self) -> log.Actor:
        """The actor of the run's audit entries."""
        person = self.run.started_by
        return log.Actor(person.pk if person else None, self.run.actor)

    @property
    def tired(self) -> bool:
        """Whether the step has lasted long enough and should end at the next boundary."""
        return time.monotonic() >= self._step_until

    def insist(self) -> None:
        """Raise LeaseLost if the trust deadline has passed."""
        if time.monotonic() >= self._trusted_until:
            raise LeaseLost(f"Run {self.run.pk}: the lease is too old to be trusted.")

    @contextmanager
    def fence(self) -> Iterator[None]:
        """Make a change outside the database, only in this block and in the main thread. Raises LeaseLost.

        A change that begins before the trust deadline must be over one longest request after it. A process that is
        paused in this block cannot notice the deadline. If it wakes later than that, the kernel ends it before it does
        anything more. Its run is then taken over like that of any worker that died.
        """
        self.insist()
        # django-q2 times its tasks with the same timer of the process.
        entered, (theirs, interval) = time.monotonic(), signal.setitimer(signal.ITIMER_REAL, 0)
        handler = signal.signal(signal.SIGALRM, signal.SIG_DFL)
        try:
            self._fenced = True
            self._arm()
            # Check again: from here on the timer ends a process that was paused.
            self.insist()
            yield
        finally:
            self._fenced = False
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, handler)
            if theirs:
                signal.setitimer(signal.ITIMER_REAL, max(theirs - (time.monotonic() - entered), 0.001), interval)

    def _arm(self) -> None:
        """Let the kernel end this process one longest request after the trust deadline."""
        left = self._trusted_until + timing.REQUEST_TIMEOUT - time.monotonic()
        signal.setitimer(signal.ITIMER_REAL, max(left, 0.001))

    def held(self) -> QuerySet[Run]:
        """The run's row while the lease is held; no row once it was taken over or given back.

        If the answer to its commit was lost, the worker does not know that it gave the lease back. By constraint, a run
        with an owner is running.
        """
        return Run.objects.filter(pk=self.run.pk, epoch=self.epoch).exclude(owner="")

    def renew(self, **values: Unpack[RunProgress]) -> None:
        """Prove and prolong the lease, and save `values` of the run. Raises LeaseLost, and Stopped on request."""
        asked_at = time.monotonic()
        saved = dict(values) | (columns("note", values["note"], 300) if "note" in values else {})
        changed = self.held().update(lease_until=Now() + timedelta(seconds=timing.LEASE), updated_at=Now(), **saved)
        if changed != 1:
            raise LeaseLost(f"Run {self.run.pk} was taken over.")
        self._trusted_until = asked_at + timing.TRUST
        if self._fenced:
            self._arm()
        for name, value in saved.items():
            setattr(self.run, name, value)
        if Run.objects.filter(pk=self.run.pk).exclude(stop_requested_by="").exists():
            raise Stopped

    def keep(self) -> None:
        """Renew the lease unless it was renewed a moment ago. Call this between the pieces of long work."""
        if time.monotonic() >= self._trusted_until - timing.TRUST + timing.KEEP:
            self.renew()

    @contextmanager
    def checkpoint(
        self, then: Again | Done | None = None, /, *, no_further: bool = False, **values: Unpack[RunProgress]
    ) -> Iterator[None]:
        """A transaction for the effects of the work so far, with progress (`cursor`, `done`, `total`, `calls`, `note`).

        `then` ends the step in the same transaction: the next step is queued, or the run is finished. `no_further`
        means that the run made no progress, for example with an intent alone, so its starts and tries are not reset. If
        the transaction rolls back, `run` and the trust deadline are restored as well.
        """
        before, trusted_until = dict(vars(self.run)), self._trusted_until
        try:
            with log.transaction():
                self.renew(**({} if no_further else {"starts": 0, "tries": 0, "waiting_since": None}), **values)
                yield
                if then is not None:
                    self._end(then)
        except BaseException:
            vars(self.run).update(before)
            self._trusted_until = trusted_until
            raise

    def _end(self, then: Again | Done) -> None:
        """Give the lease back, within the open transaction."""
        mine = self.held()
        if isinstance(then, Done):
            changed = mine.update(
                state=Run.State.SUCCEEDED,
                owner="",
                lease_until=None,
                wake_at=None,
                result={**then.result, **then.sentences},
                finished_at=Now(),
                updated_at=Now(),
            )
            log.record(Action.RUN_FINISHED, actor=self.actor, **self.run.audited, details=dict(then.result))
            run_announcements.run_finished(self.run)
        else:
            values = columns("note", then.note, 300) if then.note else {}
            changed = mine.update(
                owner="",
                lease_until=None,
                updated_at=Now(),
                task_sent_at=Now(),
                wake_at=Now() + timedelta(seconds=then.wait) if then.wait else None,
                **values,
            )
            if not self.foreground and not then.wait:
                queue.enqueue("kvops.tasks.step", self.run.pk)
        if changed != 1:
            raise LeaseLost(f"Run {self.run.pk} was taken over.")
        if isinstance(then, Done):
            for finished in registry.RUNS[self.run.kind].finished:
                finished(self.run)
        self.over = True


def take(run_id: int, *, foreground: bool = False) -> Lease | None:
    """The lease of a run that is due and free; None if the run is held, waiting or over.

    An expired lease is taken over only after the longest request that its owner could still have under way.
    """
    free = Q(owner="") | Q(lease_until__lt=Now() - timedelta(seconds=timing.REQUEST_TIMEOUT))
    due = Q(wake_at__isnull=True) | Q(wake_at__lte=Now())
    asked_at = time.monotonic()
    with log.transaction():
        before = (
            # A process that locks the row works on the run, or changes it and queues another wake-up task.
            Run.objects.select_for_update(skip_locked=True)
            .filter(free, due, pk=run_id, state__in=Run.OPEN, foreground=foreground)
            .first()
        )
        if before is None:
            return None
        Run.objects.filter(pk=run_id, epoch=before.epoch).update(
            state=Run.State.RUNNING,
            owner=worker_name(),
            epoch=F("epoch") + 1,
            starts=F("starts") + 1,
            lease_until=Now() + timedelta(seconds=timing.LEASE),
            wake_at=None,
            updated_at=Now(),
        )
        run = Run.objects.select_related("environment", "started_by", "approval").get(pk=run_id)
        lease = Lease(run, foreground=foreground, asked_at=asked_at)
        if before.owner:
            log.record(
                Action.RUN_TAKEN_OVER,
                actor=lease.actor,
                **run.audited,
                details={"from": before.owner, "epoch": run.epoch},
            )
    return lease


def close_failed(
    lease: Lease, state: Run.State, action: Action, code: str, words: Words, *, by: log.Actor | None = None
) -> None:
    """End a run that failed or was stopped, and give the lease back. With a lost lease, change nothing.

    The entry is in the name of `by`, or else of whoever the run works for.
    """
    sentence = sentence_of(words)
    stored = columns("error", sentence)
    with log.transaction():
        changed = lease.held().update(
            state=state,
            owner="",
            lease_until=None,
            wake_at=None,
            error_code=code,
            **stored,
            stop_requested_by="",
            finished_at=Now(),
            updated_at=Now(),
        )
        if changed:
            log.record(
                action,
                actor=by or lease.actor,
                **lease.run.audited,
                details={"code": code, "error": stored["error"][:500]},
            )
            if state == Run.State.FAILED:
                run_announcements.run_failed(lease.run, code, sentence)
    if not changed:
        logger.warning("Run %s was given back or taken over before it could be closed.", lease.run.pk)
