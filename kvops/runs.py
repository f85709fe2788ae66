"""The durable execution of work: leases, epochs, steps (design: runs).

A handler is called with a `Lease`, works for about a step, and commits its progress with `lease.checkpoint()`,
a transaction in which the lease is proven and renewed. It ends the step by passing `Again` (the next step is
queued, or waits) or `Done` to its last checkpoint and returning None, or simply by returning one of them.
"""

import logging
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta

from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils.module_loading import import_string
from django.utils.translation import gettext_lazy as _
from django.utils.translation import gettext_noop

from audit import log
from audit.actions import Action
from audit.chain import JSON
from kvops import queue, timing
from kvops.cloudflare import ApiError, CloudflareError, RateLimited, TransportError
from kvops.models import ApprovalRequest, Environment, Person, Run
from kvops.wording import say

logger = logging.getLogger(__name__)

MAX_STARTS = 5
"""Starts without a checkpoint before a run fails: the only defence against work that kills its worker."""


@dataclass(frozen=True)
class Kind:
    """Who does the work of a kind of run, and who is told in the transaction that finishes it."""

    handler: str
    finished: str = ""


KINDS: dict[str, Kind] = {
    Run.Kind.SCAN: Kind("kvops.inventory.scan"),
    Run.Kind.BACKUP: Kind("backups.generations.export", finished="backups.preparation.backup_finished"),
    Run.Kind.VERIFY: Kind("backups.generations.read_back", finished="backups.preparation.verify_finished"),
    Run.Kind.CHECK: Kind("backups.integrity.compare", finished="backups.preparation.check_finished"),
    Run.Kind.DELETE: Kind("backups.deletion.delete_keys_permanently"),
    Run.Kind.CONFIRM: Kind("backups.proof.confirm_absence"),
}
"""Kind -> functions by name, so that the estate need not import what is built on it; a system check resolves each."""


class RunError(Exception):
    """The work cannot go on; `code` is for machines, the message is one sentence for people."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


class TryLater(Exception):
    """Something outside does not answer; the run waits and tries again, a limited number of times."""


class LeaseLost(Exception):
    """Another worker owns the run now; nothing more may be written or sent for it."""


class NotResumable(Exception):
    """The run is not in a state from which it can be tried again."""


class AlreadyOpen(Exception):
    """The subject already has an open run of this kind."""


class _Stopped(Exception):
    """A person asked the run to stop."""


@dataclass(frozen=True)
class Again:
    """Go on in another step, after `wait` seconds."""

    wait: float = 0.0
    note: str = ""


@dataclass(frozen=True)
class Done:
    """The work is complete; `result` is shown on the run."""

    result: Mapping[str, JSON] = field(default_factory=dict)


def worker_name() -> str:
    """The process at hand, as the owner of a lease."""
    return f"{socket.gethostname()}:{os.getpid()}"


def create(
    kind: Run.Kind,
    *,
    subject: str,
    label: str,
    actor: log.Actor,
    person: Person | None = None,
    environment: Environment | None = None,
    approval: ApprovalRequest | None = None,
    foreground: bool = False,
    total: int | None = None,
) -> Run:
    """A new run and its doorbell, inside the caller's `audit.log.transaction()`.

    Raises AlreadyOpen when the subject has an open run of this kind.
    """
    log.insist()
    if Run.objects.open().filter(kind=kind, subject=subject).exists():
        raise AlreadyOpen(say(_("%(kind)s of %(what)s is already running."), kind=kind.label, what=label))
    run = Run.objects.create(
        kind=kind,
        subject=subject,
        label=label,
        environment=environment,
        approval=approval,
        approval_digest=approval.digest if approval else "",
        started_by=person,
        actor=actor.text,
        foreground=foreground,
        total=total,
    )
    log.record(
        Action.RUN_CREATED,
        actor=actor,
        environment=_slug(run),
        subject=f"run:{run.pk}",
        details={"kind": kind, "of": subject},
    )
    if not foreground:
        queue.enqueue("kvops.tasks.step", run.pk)
    return run


def _slug(run: Run) -> str:
    return run.environment.slug if run.environment else ""


class Lease:
    """The right to work on a run, until the trust deadline. Every write proves it by the epoch."""

    def __init__(self, run: Run, *, foreground: bool) -> None:
        self.run = run
        self.epoch = run.epoch
        self.foreground = foreground
        self.over = False
        self._trusted_until = time.monotonic() + timing.TRUST
        self._step_until = time.monotonic() + timing.STEP

    @property
    def actor(self) -> log.Actor:
        """Who the run works for, in the audit log."""
        person = self.run.started_by
        return log.Actor(person.pk if person else None, self.run.actor)

    @property
    def tired(self) -> bool:
        """Whether the step has lasted long enough and should end at the next boundary."""
        return time.monotonic() >= self._step_until

    def insist(self) -> None:
        """Raise LeaseLost when the trust deadline has passed: call right before anything outside is changed."""
        if time.monotonic() >= self._trusted_until:
            raise LeaseLost(f"Run {self.run.pk}: the lease is too old to be trusted.")

    def renew(self, **values: object) -> None:
        """Prove and prolong the lease, saving `values` of the run with it. Raises LeaseLost, or stops on request."""
        asked_at = time.monotonic()
        changed = Run.objects.filter(pk=self.run.pk, epoch=self.epoch, state=Run.State.RUNNING).update(
            lease_until=Now() + timedelta(seconds=timing.LEASE), updated_at=Now(), **values
        )
        if changed != 1:
            raise LeaseLost(f"Run {self.run.pk} was taken over.")
        self._trusted_until = asked_at + timing.TRUST
        for name, value in values.items():
            setattr(self.run, name, value)
        if Run.objects.filter(pk=self.run.pk).exclude(stop_requested_by="").exists():
            raise _Stopped

    def keep(self) -> None:
        """Renew the lease unless that was a moment ago: call between the pieces of long work."""
        if time.monotonic() >= self._trusted_until - timing.TRUST + timing.KEEP:
            self.renew()

    @contextmanager
    def checkpoint(self, then: Again | Done | None = None, **values: object) -> Iterator[None]:
        """A transaction for the effects of the work so far, with progress (`cursor`, `done`, `total`, `calls`, `note`).

        `then` ends the step in the same transaction: what follows is queued, or the run is finished.
        """
        with log.transaction():
            self.renew(starts=0, **values)
            yield
            if then is not None:
                self._end(then)

    def _end(self, then: Again | Done) -> None:
        """Give the lease back, within the open transaction."""
        mine = Run.objects.filter(pk=self.run.pk, epoch=self.epoch, state=Run.State.RUNNING)
        if isinstance(then, Done):
            changed = mine.update(
                state=Run.State.SUCCEEDED,
                owner="",
                lease_until=None,
                wake_at=None,
                result=dict(then.result),
                finished_at=Now(),
                updated_at=Now(),
            )
            log.record(
                Action.RUN_FINISHED,
                actor=self.actor,
                environment=_slug(self.run),
                subject=f"run:{self.run.pk}",
                details=dict(then.result),
            )
        else:
            values: dict[str, object] = {"note": then.note} if then.note else {}
            changed = mine.update(
                owner="",
                lease_until=None,
                updated_at=Now(),
                rung_at=Now(),
                wake_at=Now() + timedelta(seconds=then.wait) if then.wait else None,
                **values,
            )
            if not self.foreground and not then.wait:
                queue.enqueue("kvops.tasks.step", self.run.pk)
        if changed != 1:
            raise LeaseLost(f"Run {self.run.pk} was taken over.")
        if isinstance(then, Done) and (finished := KINDS[self.run.kind].finished):
            import_string(finished)(self.run)
        self.over = True


def take(run_id: int, *, foreground: bool = False) -> Lease | None:
    """The lease of a run that is due and that nobody holds; None when it is held, waiting or over.

    A lease that ran out is taken over only after the longest request its owner could still have under way.
    """
    free = Q(owner="") | Q(lease_until__lt=Now() - timedelta(seconds=timing.REQUEST_TIMEOUT))
    due = Q(wake_at__isnull=True) | Q(wake_at__lte=Now())
    with log.transaction():
        before = (
            Run.objects.select_for_update()
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
        lease = Lease(run, foreground=foreground)
        if before.owner:
            log.record(
                Action.RUN_TAKEN_OVER,
                actor=lease.actor,
                environment=_slug(run),
                subject=f"run:{run.pk}",
                details={"from": before.owner, "epoch": run.epoch},
            )
    return lease


def drive(run_id: int, *, foreground: bool = False) -> None:
    """Work on a run for one step and commit what follows. A run that is held, waiting or over is left alone."""
    lease = take(run_id, foreground=foreground)
    if lease is None:
        logger.info("Run %s is not due; the doorbell is ignored.", run_id)
        return
    try:
        _step(lease)
    except LeaseLost as lost:
        logger.warning("%s", lost)
    except _Stopped:
        _stop(lease)
    except RateLimited as limited:
        # Waiting for the budget is not a failed start.
        starts = max(0, lease.run.starts - 1)
        _pause(lease, limited.retry_after, "Waiting for Cloudflare's request limit.", starts=starts)
    except (CloudflareError, TryLater) as error:
        if _transient(error):
            _pause(lease, timing.RETRY, f"Waiting to try again: {error}"[:300])
        else:
            _fail(lease, "cloudflare", str(error))
    except RunError as error:
        _fail(lease, error.code, str(error))
    except Exception as error:
        logger.exception("Run %s failed.", run_id)
        _fail(
            lease,
            "unexpected",
            f"Unexpected {type(error).__name__}. The worker's log has the details; the run can be tried again.",
        )


def _step(lease: Lease) -> None:
    if lease.run.starts > MAX_STARTS:
        raise RunError("gave_up", f"Started {MAX_STARTS} times without getting any further. {lease.run.note}")
    if lease.run.stop_requested_by:
        raise _Stopped
    then: Again | Done | None = import_string(KINDS[lease.run.kind].handler)(lease)
    if then is not None:
        with lease.checkpoint(then):
            pass


def _transient(error: Exception) -> bool:
    """Whether the same call may succeed later: no answer, or an answer that blames the server."""
    if isinstance(error, ApiError):
        return error.status >= 500 or error.status in {408, 429}
    return isinstance(error, TryLater | TransportError)


def _pause(lease: Lease, wait: float, note: str, **values: object) -> None:
    try:
        with log.transaction():
            lease.renew(note=note, **values)
            lease._end(Again(wait=max(wait, 0.1), note=note))
    except _Stopped:
        _stop(lease)
    except LeaseLost as lost:
        logger.warning("%s", lost)


def _fail(lease: Lease, code: str, sentence: str) -> None:
    _close(lease, Run.State.FAILED, Action.RUN_FAILED, code, sentence[:1000])


def _stop(lease: Lease) -> None:
    _close(lease, Run.State.STOPPED, Action.RUN_STOPPED, "", "")


def _close(lease: Lease, state: Run.State, action: Action, code: str, sentence: str) -> None:
    with log.transaction():
        changed = Run.objects.filter(pk=lease.run.pk, epoch=lease.epoch, state=Run.State.RUNNING).update(
            state=state,
            owner="",
            lease_until=None,
            wake_at=None,
            error_code=code,
            error=sentence,
            stop_requested_by="",
            finished_at=Now(),
            updated_at=Now(),
        )
        if changed:
            log.record(
                action,
                actor=lease.actor,
                environment=_slug(lease.run),
                subject=f"run:{lease.run.pk}",
                details={"code": code, "error": sentence[:500]},
            )
    if not changed:
        logger.warning("Run %s was taken over before it could be closed.", lease.run.pk)


def drive_to_the_end(run: Run) -> Iterator[Run]:
    """Work on a foreground run until it is over, yielding it after every step for progress. Never enqueues."""
    while True:
        drive(run.pk, foreground=True)
        run.refresh_from_db()
        yield run
        if not run.is_open:
            return
        if run.wake_at is not None:
            time.sleep(max(0.05, min((run.wake_at.timestamp() - time.time()), 5.0)))


def request_stop(run: Run, *, actor: log.Actor) -> None:
    """Ask a run to stop at its next checkpoint; one that nobody works on is stopped at once."""
    with log.transaction():
        asked = Run.objects.filter(pk=run.pk, state__in=Run.OPEN, stop_requested_by="").update(
            stop_requested_by=actor.text, wake_at=None, updated_at=Now()
        )
        if not asked:
            raise NotResumable(_("The run is over, or was already asked to stop."))
        log.record(Action.RUN_STOP_REQUESTED, actor=actor, environment=_slug(run), subject=f"run:{run.pk}")
        if not run.foreground:
            queue.enqueue("kvops.tasks.step", run.pk)


def insist_not_approver(run: Run, actor: log.Actor) -> None:
    """Raise NotResumable when the actor approved what the run does: another person lets it go on, as at its start."""
    if actor.id is not None and run.approval is not None and run.approval.approver_id == actor.id:
        raise NotResumable(_("You approved this; another person must do it."))


def resume(run: Run, *, actor: log.Actor) -> None:
    """Queue a failed or stopped run again: the same run, the next epoch. Raises NotResumable."""
    insist_not_approver(run, actor)
    with log.transaction():
        if Run.objects.open().filter(kind=run.kind, subject=run.subject).exclude(pk=run.pk).exists():
            raise NotResumable(_("Another run is already doing this."))
        changed = Run.objects.filter(pk=run.pk, state__in=Run.RESUMABLE).update(
            state=Run.State.QUEUED,
            epoch=F("epoch") + 1,
            starts=0,
            error_code="",
            error="",
            note="",
            stop_requested_by="",
            finished_at=None,
            wake_at=None,
            rung_at=Now(),
            updated_at=Now(),
            foreground=False,
        )
        if not changed:
            raise NotResumable(_("Only a failed or stopped run can be tried again."))
        log.record(Action.RUN_RESUMED, actor=actor, environment=_slug(run), subject=f"run:{run.pk}")
        queue.enqueue("kvops.tasks.step", run.pk)


def ring() -> int:
    """Queue every run that is due and has no live owner; how many. `sweep` calls it every few seconds.

    Covers waits that are over, leases that ran out, and doorbells that got lost.
    """
    silent = Now() - timedelta(seconds=timing.STALE_DOORBELL)
    due = (
        Q(wake_at__lte=Now(), rung_at__lt=F("wake_at"))
        | Q(wake_at__lte=Now(), rung_at__lt=silent)
        | Q(wake_at__isnull=True, owner="", rung_at__lt=silent)
        | Q(lease_until__lt=Now() - timedelta(seconds=timing.REQUEST_TIMEOUT), rung_at__lt=silent)
    )
    rung = 0
    for pk in Run.objects.open().filter(due, foreground=False).values_list("pk", flat=True)[:1000]:
        with log.transaction():
            # wake_at stays, take() clears it; rung_at keeps the next sweep from ringing again.
            if Run.objects.open().filter(due, pk=pk).update(rung_at=Now()):
                queue.enqueue("kvops.tasks.step", pk)
                rung += 1
    return rung


def close_abandoned() -> int:
    """Fail the foreground runs whose command is gone, so that they block nothing; how many. `sweep` calls it."""
    silent = Now() - timedelta(seconds=timing.STALE_DOORBELL + timing.REQUEST_TIMEOUT)
    gone = Q(lease_until__lt=Now() - timedelta(seconds=timing.REQUEST_TIMEOUT)) | (
        Q(owner="", updated_at__lt=silent) & (Q(wake_at__isnull=True) | Q(wake_at__lt=silent))
    )
    closed = 0
    for pk in Run.objects.open().filter(gone, foreground=True).values_list("pk", flat=True)[:1000]:
        lease = take(pk, foreground=True)
        if lease is not None:
            _fail(
                lease,
                "abandoned",
                gettext_noop("The command ended too early. Start it again, or let a worker go on from here."),
            )
            closed += 1
    return closed
