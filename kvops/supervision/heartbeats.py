"""Heartbeats of `worker` and `sweep`: the overview, `/readyz` and `/healthz/work` name the missing one, with its host.

Each `manage.py worker` has rows of its own. A worker that ended in order leaves none if another one is there. One that
comes back, or takes the place of a dead one on its host, is believed only when its own cluster executed a task.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import blake2s

import psutil
from django.db import transaction
from django.db.models import F, Max, Q
from django.db.models.functions import Now

from kvops import clock, queue, timing
from kvops.models import Heartbeat

WITHIN = {
    "sweep": timing.CANARY_LATE,
    "worker": timing.CANARY_LATE,
    # While parts of backups are written, no task returns for as long as a part may take.
    "canary": timing.CANARY_LATE + timing.PART,
}
"""Seconds. The longest time between two heartbeats of each process that must run."""
OF_A_WORKER = frozenset({"worker", "canary", "canary_sent", "onepassword"})
TOLD = "outage_told"
"""The row that stands as long as people believe that a worker is gone."""
TOLD_OF_ALL = "outage_told_of_all"
"""The row that stands besides it if they believe that no other worker is left."""
OUTSIDE = "outside"
"""The row with the time of the last successful call of KVOPS_HEARTBEAT_URL."""
_NAMES = {"sweep": "The sweep", "worker": "The worker", "canary": "An executed task"}


@dataclass(frozen=True, slots=True)
class ProcessSeen:
    """A process that must run, with the worker that it belongs to. `late` means that it was not seen for too long."""

    process: str
    worker: str
    at: datetime
    late: bool

    @property
    def host(self) -> str:
        """The host of the worker; empty if there is only one of its kind."""
        return host_of(self.worker)


def beat(name: str) -> None:
    """Note that the process or task `name` is alive, by the database's clock."""
    worker = queue.worker() if name in OF_A_WORKER else ""
    within = timedelta(seconds=WITHIN[name]) if name in WITHIN else None
    Heartbeat.objects.bulk_create(
        [Heartbeat(name=_key(name, worker), worker=worker, at=Now(), within=within)],
        update_conflicts=True,
        unique_fields=["name"],
        update_fields=["at", "worker", "within"],
    )


def mine(name: str) -> datetime | None:
    """The time of the last heartbeat `name` of this worker."""
    return Heartbeat.objects.filter(name=_key(name, queue.worker())).values_list("at", flat=True).first()


def age(name: str) -> float | None:
    """Seconds since `name` was last alive on any host; None if it never was."""
    at = Heartbeat.objects.of(name).aggregate(at=Max("at"))["at"]
    return None if at is None else (clock.now() - at).total_seconds()


def claim(name: str, every: float) -> bool:
    """Whether `name` may act now: the last to act did so more than `every` seconds ago. Only one caller gets it."""
    late = Heartbeat.objects.filter(name=name, at__lt=Now() - timedelta(seconds=every))
    return bool(late.update(at=Now())) or Heartbeat.objects.get_or_create(name=name, defaults={"at": Now()})[1]


def beat_worker() -> None:
    """Note that this worker is alive. If it was away, or just began, its next executed task must show that it works."""
    fresh = Heartbeat.objects.watched().filter(name=_key("worker", queue.worker()), late=False)
    if not fresh.exists():
        with transaction.atomic():
            _begin()
    beat("worker")


def doubt() -> None:
    """Let the next executed task show that this worker's cluster works: it was restarted."""
    within = timedelta(seconds=timing.CANARY_LATE)
    Heartbeat.objects.filter(name=_key("canary", queue.worker())).update(within=within)


def _begin() -> None:
    """Take the place of dead workers of this host, and of those that ended, with their last executed task."""
    me = queue.worker()
    workers = Heartbeat.objects.of("worker")
    dead = {one.worker for one in workers if one.worker == me or not one.worker or _died(one)}
    before = Heartbeat.objects.of("canary").filter(worker__in=dead).aggregate(at=Max("at"))["at"]
    others = workers.exclude(worker__in=dead).exists()
    _delete(dead)
    if before or others:
        Heartbeat.objects.create(name=_key("canary", me), worker=me, at=before or Now())
        within = timedelta(seconds=timing.CANARY_LATE)
        Heartbeat.objects.filter(name=_key("canary", me)).update(within=within)


def _died(row: Heartbeat) -> bool:
    """Whether the row is of this host and its process ended, or another one has its number now."""
    host, _colon, pid = row.worker.rpartition(":")
    if host != host_of(queue.worker()):
        return False
    try:
        process = psutil.Process(int(pid))
        # One that was killed keeps its number until its parent asks for its end.
        return process.status() == psutil.STATUS_ZOMBIE or process.create_time() > row.at.timestamp()
    except psutil.NoSuchProcess:
        return True


def leave() -> None:
    """Forget this worker, which ends in order. The last one of all is remembered, because then nothing works."""
    me = queue.worker()
    with transaction.atomic():
        if Heartbeat.objects.of("worker").exclude(worker=me).exists():
            _delete({me})
            return
        kept = [row for row in Heartbeat.objects.filter(worker=me) if process_of(row.name) in WITHIN]
        _delete({me})
        for row in kept:
            row.name, row.worker = process_of(row.name), ""
        Heartbeat.objects.bulk_create(kept)


def forget() -> list[str]:
    """Forget the workers that were not seen for long while another one executes tasks. Return their hosts."""
    long_ago = Heartbeat.objects.of("worker").watched().filter(at__lt=Now() - timedelta(seconds=timing.TAKEN_AWAY))
    gone = set(long_ago.values_list("worker", flat=True))
    found = seen() if gone else []
    if not executing(found):
        return []
    with transaction.atomic():
        _delete(gone)
        if not any(one.late for one in found if one.process in OF_A_WORKER and one.worker not in gone):
            # The outage is over in another way than by coming back.
            Heartbeat.objects.filter(name__in=(TOLD, TOLD_OF_ALL)).delete()
    return sorted(map(host_of, gone))


def _delete(workers: set[str]) -> None:
    """Delete the rows and canaries of the workers; the empty name stands for the last one, which ended in order."""
    Heartbeat.objects.filter(Q(name__in=OF_A_WORKER) | ~Q(worker=""), worker__in=workers).delete()
    for worker in workers - {""}:
        queue.withdraw_canary(worker)


def seen() -> list[ProcessSeen]:
    """The processes that must run, as far as they were ever seen; the one that was seen longest ago first."""
    rows = Heartbeat.objects.watched().order_by("at").values_list("name", "worker", "at", "late")
    return [ProcessSeen(process_of(name), worker, at, late) for name, worker, at, late in rows]


def executing(found: Iterable[ProcessSeen]) -> set[str]:
    """The workers that are alive and execute tasks."""
    well = [one for one in found if not one.late]
    alive, answered = ({one.worker for one in well if one.process == name} for name in ("worker", "canary"))
    return alive & answered


def worker_is_gone() -> bool:
    """Whether a worker, or its last executed task, was seen so long ago that people are told."""
    longer = timedelta(seconds=timing.OUTAGE - timing.CANARY_LATE)
    rows = [Heartbeat.objects.of(name).watched() for name in ("worker", "canary")]
    return any(not one.exists() or one.filter(at__lt=Now() - F("within") - longer).exists() for one in rows)


def missing() -> list[str]:
    """One sentence for each process that should run and was not seen for too long."""
    found, now = seen(), clock.now()
    sentences = []
    for process, name in _NAMES.items():
        mine = [one for one in found if one.process == process]
        for one in mine:
            if one.late:
                place = f" on {one.host}" if one.host else ""
                sentences.append(f"{name}{place} was last seen {(now - one.at).total_seconds():.0f} s ago.")
        if not mine:
            sentences.append(f"{name} was never seen.")
    return sentences


def process_of(name: str) -> str:
    """The process that a row is about."""
    return name.partition("@")[0]


def host_of(worker: str) -> str:
    """The host of a worker."""
    return worker.rpartition(":")[0]


def _key(name: str, worker: str) -> str:
    """The name of the row. A host's name may be longer than the column."""
    return f"{name}@{blake2s(worker.encode(), digest_size=8).hexdigest()}" if worker else name
