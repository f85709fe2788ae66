"""Whether background work goes on: worker, sweep, executed tasks, outgoing messages, and no read-only mode."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models.functions import Now
from django.utils.translation import gettext as _

from kvops import rollback, timing
from kvops.models import Notification
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


def of_run() -> str:
    """The sentence on a run that waits; empty while all workers execute tasks, so that the run will go on."""
    names = [worker_stopped(one) for one in stopped(heartbeats.seen(heartbeats.rows())) if one.process == "worker"]
    return " ".join(f"{name}." for name in names)


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
