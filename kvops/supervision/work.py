"""Whether background work goes on: worker, sweep, executed tasks, outgoing messages, and no read-only mode."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext as _

from kvops import rollback, timing
from kvops.models import Notification, Run
from kvops.supervision import heartbeats
from kvops.supervision.heartbeats import ProcessSeen
from kvops.wording import english, several


@dataclass(frozen=True, slots=True)
class StoppedProcess:
    """A sweep, or the worker of a host, that does not do its work. `at` is None if it was never seen."""

    process: str
    host: str
    at: datetime | None


def stopped(found: Iterable[ProcessSeen]) -> list[StoppedProcess]:
    """The processes that do not do their work. A worker whose cluster executes nothing is one of them."""
    seen = list(found)
    late = [one for one in seen if one.late]
    stopped = [StoppedProcess("sweep", "", one.at) for one in late if one.process == "sweep"]
    # The one seen longest ago comes first; it counts for its host.
    of_host = {one.host: one.at for one in reversed(late) if one.process != "sweep"}
    stopped += [StoppedProcess("worker", host, at) for host, at in of_host.items()]
    known = {one.process for one in seen}
    if "sweep" not in known:
        stopped.append(StoppedProcess("sweep", "", None))
    if not of_host and not {"worker", "canary"} <= known:
        stopped.append(StoppedProcess("worker", "", None))
    return sorted(stopped, key=lambda one: one.process)


def worker_stopped(one: StoppedProcess) -> str:
    """The sentence about a worker that does not do its work, with its host if it is known."""
    if not one.host:
        return _("The worker does not execute tasks")
    return _("The worker on %(host)s does not execute tasks") % {"host": one.host}


def workers() -> tuple[list[StoppedProcess], bool]:
    """The workers that execute no tasks, and whether another one does."""
    seen = heartbeats.seen()
    ill = [one for one in stopped(seen) if one.process == "worker"]
    return ill, bool(heartbeats.executing(seen))


def of_run(run: Run) -> str:
    """The sentence on a run that waits for a worker; empty if one goes on with it."""
    ill, other = workers()
    if not ill:
        return ""
    if not other:
        return f"{_names(ill)} {_('This run goes on when a worker is back; nothing is lost.')}"
    mine = [one for one in ill if run.owner and one.host == heartbeats.host_of(run.owner)]
    # A worker on the same host that works has renewed the lease.
    renewed = Now() + timedelta(seconds=timing.LEASE - timing.CANARY_LATE)
    if not mine or not Run.objects.filter(pk=run.pk, owner=run.owner, lease_until__lt=renewed).exists():
        return ""
    free = (run.lease_until or run.updated_at) + timedelta(seconds=timing.REQUEST_TIMEOUT)
    sentence = _("Another worker takes this run over after %(at)s; nothing is lost.")
    return f"{_names(mine)} {sentence % {'at': f'{timezone.localtime(free):%H:%M:%S}'}}"


def of_all_runs() -> str:
    """The sentence on the list of runs; empty while a worker executes tasks."""
    ill, other = workers()
    if other or not ill:
        return ""
    return f"{_names(ill)} {_('Runs that wait go on when a worker is back; nothing is lost.')}"


def _names(ill: Iterable[StoppedProcess]) -> str:
    return " ".join(f"{worker_stopped(one)}." for one in ill)


def missing() -> list[str]:
    """One sentence for each part of the background work that does not go on."""
    return [*heartbeats.missing(), *_undelivered(), *filter(None, [english(rollback.why_read_only())])]


def _undelivered() -> list[str]:
    """The sentence about an outbox that nobody empties. A failed message is a person's business."""
    waiting = Notification.objects.filter(state__in=[Notification.State.WAITING, Notification.State.SENDING])
    late = waiting.filter(created_at__lt=Now() - timedelta(seconds=timing.OUTBOX_LATE)).count()
    return (
        [f"The outbox has {several(late, 'message')} older than {timing.OUTBOX_LATE / 60:.0f} minutes."] if late else []
    )
