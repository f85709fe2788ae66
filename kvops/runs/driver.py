"""Runs: created, driven step by step, stopped, resumed (design: runs).

Five starts without progress fail a run. A server or a database that fails is tried again after ever longer waits,
twenty times since the last progress. These tries are counted apart from the starts, which protect from poisonous
work. Progress is a checkpoint of finished work. An intent is no progress, nor is a checkpoint of unsent names, of
planning, or of work that was rolled back (`no_further`). A deletion whose writer cannot connect thus fails after
twenty tries, with everything settled. A resume gives a run all its starts and tries again.
"""

import logging
import time
from collections.abc import Iterator

from django.db import connection
from django.db.models import F
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _, gettext_noop

from audit import log
from audit.actions import Action
from kvops import logs, queue, rollback, timing
from kvops.cloudflare import ApiError, AuthError, CloudflareError, DailyLimitReached, RateLimited, TransportError
from kvops.models import ApprovalRequest, Environment, Person, Run
from kvops.names import visible
from kvops.notifications import bundles
from kvops.operations import registry
from kvops.outages import AWAY
from kvops.refusals import Refused
from kvops.runs import emergency
from kvops.runs.lease import Lease, close_failed, take
from kvops.runs.outcomes import TOKEN_REFUSED, Again, Done, LeaseLost, RunError, Stopped, TryLater
from kvops.wording import Words, columns, say, sentence_of

logger = logging.getLogger(__name__)

MAX_STARTS = 5
"""Starts without progress before a run fails. The only protection against work that kills its worker."""


MAX_TRIES = 20
"""Attempts in a row with a server error or no answer before a run fails. With their waits, well over an hour."""

WAITS_FOR_TOMORROW = gettext_noop("Today's quota of the free plan is used up. The run continues after 00:00 UTC.")


class NotResumable(Refused):
    """The run is not in a state from which it can be tried again."""


class AlreadyOpen(Refused):
    """The subject already has an open run of this kind."""


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
    """Create a run and its wake-up task, inside the caller's `audit.log.transaction()`.

    Raises AlreadyOpen if the subject has an open run of this kind.
    """
    log.insist()
    if Run.objects.open().filter(kind=kind, subject=subject).exists():
        raise AlreadyOpen(say(_("%(kind)s of %(what)s is already running."), kind=kind.label, what=label))
    run = Run.objects.create(
        kind=kind,
        subject=subject,
        label=visible(label)[:300],
        environment=environment,
        approval=approval,
        approval_digest=approval.digest if approval else "",
        started_by=person,
        actor=actor.text,
        foreground=foreground,
        total=total,
    )
    log.record(Action.RUN_CREATED, actor=actor, **run.audited, details={"kind": kind, "of": subject})
    if not foreground:
        queue.enqueue("kvops.tasks.step", run.pk)
    return run


def drive(run_id: int, *, foreground: bool = False) -> None:
    """Work on a run for one step and commit the next state. A run that is held, waiting or over is left alone."""
    lease = take(run_id, foreground=foreground)
    if lease is None:
        logger.info("Run %s is not due; the wake-up task is ignored.", run_id)
        return
    with bundles.one_bundle(bundles.of_run(lease.run)), logs.bound(run=run_id):
        _work(lease)


def _work(lease: Lease) -> None:
    """One step, and the state that its end or its error leads to."""
    try:
        _step(lease)
    except LeaseLost as lost:
        logger.warning("%s", lost)
    except Stopped as stopped:
        _stop(lease, stopped)
    except RateLimited as limited:
        daily = isinstance(limited, DailyLimitReached)
        note = WAITS_FOR_TOMORROW if daily else gettext_noop("Waiting for Cloudflare's request limit.")
        _pause(lease, limited.retry_after, note, tries=lease.run.tries)
    except Exception as error:  # noqa: BLE001  (each kind is dealt with, none is swallowed)
        _pause_or_fail(lease, error)


def _pause_or_fail(lease: Lease, error: Exception) -> None:
    """Retry errors that may pass, a limited number of times; any other error fails the run with its reason."""
    match error:
        case RunError(code=code):
            fail(lease, code, error)
        case Exception() if isinstance(error, AWAY):
            logger.warning("Run %s: the database failed: %s", lease.run.pk, error)
            # If no new connection can be made either, the lease runs out, and another worker continues.
            if not connection.is_usable():
                connection.close()
            _try_later(lease, TryLater(gettext_noop("The database failed.")))
        case CloudflareError() | TryLater() if _transient(error):
            _try_later(lease, error)
        case AuthError():
            fail(lease, TOKEN_REFUSED, error)
        case CloudflareError():
            fail(lease, "cloudflare", error)
        case _:
            logger.error("Run %s failed.", lease.run.pk, exc_info=error)
            told = _("Unexpected %(error)s. The worker's log has the details; the run can be tried again.")
            fail(lease, "unexpected", say(told, error=type(error).__name__))


def _try_later(lease: Lease, error: Exception) -> None:
    """Wait ever longer, and at least as long as the answer asked for."""
    tries = lease.run.tries + 1
    if tries > MAX_TRIES:
        told = _("Tried %(tries)s times without getting any further. %(reason)s")
        fail(lease, "gave_up", say(told, tries=MAX_TRIES, reason=sentence_of(error)))
        return
    asked = error.retry_after if isinstance(error, ApiError) else None
    wait = max(asked or 0.0, min(timing.RETRY * 2 ** (tries - 1), timing.LONGEST_RETRY))
    note = say(_("Waiting to try again: %(reason)s"), reason=sentence_of(error))
    _pause(lease, wait, note, tries=tries)


def _step(lease: Lease) -> None:
    if lease.run.starts > MAX_STARTS:
        told = _("Started %(starts)s times without getting any further. %(reason)s")
        raise RunError("gave_up", say(told, starts=MAX_STARTS, reason=lease.run.news))
    if lease.run.stop_requested_by:
        raise Stopped
    then: Again | Done | None = registry.RUNS[lease.run.kind].handler(lease)
    if isinstance(then, Done):
        with lease.checkpoint(then):
            pass
    elif then is not None:
        # The step has committed its own progress. Its end is neither progress nor a start without progress.
        with lease.checkpoint(then, no_further=True, starts=max(0, lease.run.starts - 1)):
            pass


def _transient(error: Exception) -> bool:
    """Whether the same call may succeed later: no answer, or a server error."""
    if isinstance(error, ApiError):
        return error.status >= 500 or error.status in {408, 429}
    return isinstance(error, TryLater | TransportError)


def _pause(lease: Lease, wait: float, note: Words, *, tries: int) -> None:
    """End the step and wait. No worker died, so the start is not counted."""
    try:
        with log.transaction():
            lease.renew(note=note, starts=max(0, lease.run.starts - 1), tries=tries)
            lease.held().filter(waiting_since=None).update(waiting_since=Now())
            lease._end(Again(wait=max(wait, 0.1), note=note))
    except Stopped as stopped:
        _stop(lease, stopped)
    except LeaseLost as lost:
        logger.warning("%s", lost)


def fail(lease: Lease, code: str, words: Words) -> None:
    """End the run as failed, in the current transaction."""
    close_failed(lease, Run.State.FAILED, Action.RUN_FAILED, code, words)


def _stop(lease: Lease, stopped: Stopped) -> None:
    close_failed(lease, Run.State.STOPPED, Action.RUN_STOPPED, stopped.code, stopped, by=_stopper(lease, stopped))


def _stopper(lease: Lease, stopped: Stopped) -> log.Actor:
    """The person or the part of the product that asked for the stop. With a code, the product stops by itself."""
    asked = Run.objects.values_list("stop_requested_by", flat=True).get(pk=lease.run.pk)
    if not asked:
        return log.Actor.system("runs") if stopped.code else lease.actor
    person = Person.objects.filter(email=asked.rpartition("<")[2].rstrip(">")).first()
    return person.actor if person and str(person) == asked else log.Actor(None, asked)


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
    """Ask a run to stop at its next checkpoint. A run without a worker stops at once."""
    with log.transaction():
        asked = Run.objects.filter(pk=run.pk, state__in=Run.OPEN, stop_requested_by="").update(
            stop_requested_by=actor.text, wake_at=None, updated_at=Now()
        )
        if not asked:
            raise NotResumable(_("The run is over, or was already asked to stop."))
        log.record(Action.RUN_STOP_REQUESTED, actor=actor, **run.audited)
        if not run.foreground:
            queue.enqueue("kvops.tasks.step", run.pk)


def insist_not_approver(run: Run, actor: log.Actor) -> None:
    """Raise NotResumable if the actor approved the run's action: as at its start, another person must resume it."""
    if actor.id is not None and run.approval is not None and run.approval.approver_id == actor.id:
        raise NotResumable(_("You approved this; another person must do it."))


def insist_not_stopped(run: Run) -> None:
    """Raise NotResumable if the run has an approval and its environment is stopped or the product is read-only."""
    if run.approval_id is not None and (why := rollback.why_read_only() or emergency.why_stopped(run.environment)):
        raise NotResumable(why)


def _insist_not_of_before(run: Run) -> None:
    """A run with an approval that was open when the database was restored may only settle its sent names."""
    now = Run.objects.get(pk=run.pk)
    if now.error_code == rollback.CODE and now.approval_id is not None and not now.cursor.get("ending"):
        raise NotResumable(now.why)


def resume(run: Run, *, actor: log.Actor) -> None:
    """Queue a failed or stopped run again: the same run, the next epoch. Raises NotResumable."""
    with log.transaction():
        go_on(run, actor=actor)


def go_on(run: Run, *, actor: log.Actor) -> None:
    """As `resume`, inside the caller's `audit.log.transaction()`, so that its other changes roll back with it."""
    log.insist()
    insist_not_approver(run, actor)
    insist_not_stopped(run)
    _insist_not_of_before(run)
    if Run.objects.open().filter(kind=run.kind, subject=run.subject).exclude(pk=run.pk).exists():
        raise NotResumable(_("Another run is already doing this."))
    changed = Run.objects.filter(pk=run.pk, state__in=Run.RESUMABLE).update(
        state=Run.State.QUEUED,
        epoch=F("epoch") + 1,
        starts=0,
        tries=0,
        waiting_since=None,
        error_code="",
        **columns("error", ""),
        **columns("note", ""),
        stop_requested_by="",
        finished_at=None,
        wake_at=None,
        task_sent_at=Now(),
        updated_at=Now(),
        foreground=False,
        resumed_at=Now(),
        resumed_done=F("done"),
    )
    if not changed:
        raise NotResumable(_("Only a failed or stopped run can be tried again."))
    ending = {"ending": True} if Run.objects.get(pk=run.pk).cursor.get("ending") else {}
    log.record(Action.RUN_RESUMED, actor=actor, **run.audited, details=ending)
    for resumed in registry.RUNS[run.kind].resumed:
        resumed(run, actor)
    queue.enqueue("kvops.tasks.step", run.pk)
