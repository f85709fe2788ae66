"""The mail about a worker that is gone, and the heartbeat to a service outside: both by the sweep itself.

All other messages go through the worker, so nobody would hear that it is the worker that died. The sweep sends this
one mail to operators and reviewers, with the host that is ill, once for each outage. It sends another when no worker is
left, and one when the outage is over. If no mail was taken, it tries again each minute. Two sweeps at once send it
once, because one of them claims the attempt.

While all is well, the sweep calls `KVOPS_HEARTBEAT_URL` each minute. A service such as Healthchecks notices when the
calls end, so somebody is woken even if this whole machine is gone.
"""

import logging
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial

import httpx
from django.conf import settings
from django.db.models import Q
from django.urls import reverse
from django.utils import timezone, translation
from django.utils.translation import gettext as _

from kvops import timing
from kvops.help import pages as help_pages
from kvops.models import Heartbeat, Role
from kvops.notifications import outbox, senders
from kvops.notifications.senders import Message, NotDelivered
from kvops.supervision import heartbeats, work
from kvops.supervision.aside import Aside
from kvops.supervision.heartbeats import TOLD, TOLD_OF_ALL
from kvops.supervision.work import StoppedProcess
from kvops.wording import moment

logger = logging.getLogger(__name__)

TRIED = "outage_tried"
type Mails = list[tuple[Message, str]]


class Watch:
    """What the sweep does about the outside world after each round."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._next_call = 0.0
        self._caller = Aside("call of KVOPS_HEARTBEAT_URL")
        self._mailer = Aside("mail about the worker")
        self._notes: tuple[str, ...] = ()

    def look(self) -> None:
        """Call the address if all is well, and tell people of an outage or of its end. Waits for no service."""
        self._call()
        self._note_told()
        self._tell()

    def _call(self) -> None:
        if self._caller.outcome():
            heartbeats.beat(heartbeats.OUTSIDE)
        due = time.monotonic() >= self._next_call
        if settings.KVOPS_HEARTBEAT_URL and due and not self._caller.busy and not work.missing():
            self._next_call = time.monotonic() + timing.OUTSIDE_HEARTBEAT
            self._caller.start(partial(_call, settings.KVOPS_HEARTBEAT_URL))

    def _note_told(self) -> None:
        if self._mailer.outcome():
            for name in self._notes:
                heartbeats.beat(name)
            if not self._notes:
                Heartbeat.objects.filter(name__in=(TOLD, TOLD_OF_ALL)).delete()

    def _tell(self) -> None:
        told = Heartbeat.objects.filter(name=TOLD).values_list("at", flat=True).first()
        gone = not _is_back(told) if told else heartbeats.worker_is_gone()
        notes = _notes() if gone else ()
        news = gone != bool(told) or not set(notes) <= set(_noted())
        # After a start of everything the worker has as much time to appear as it may be away later.
        early = gone and time.monotonic() - self._began < timing.OUTAGE
        if not news or early or self._mailer.busy or not heartbeats.claim(TRIED, timing.OUTAGE_RETRY):
            return
        self._notes = notes
        self._mailer.start(partial(_mail, _gone_mails() if gone else _back_mails()))


def _notes() -> tuple[str, ...]:
    """The rows that stand for what is told: that a worker is gone, and that no other one works."""
    _ill, other = work.workers()
    return (TOLD,) if other else (TOLD, TOLD_OF_ALL)


def _noted() -> Sequence[str]:
    return list(Heartbeat.objects.filter(name__in=(TOLD, TOLD_OF_ALL)).values_list("name", flat=True))


def _is_back(told: datetime) -> bool:
    """Whether the outage is over: no worker is late, and each executed a task after the outage was told."""
    late = Heartbeat.objects.of("worker").watched().filter(late=True)
    executed = Heartbeat.objects.of("canary").watched()
    return executed.exists() and not late.exists() and not executed.filter(Q(late=True) | Q(at__lte=told)).exists()


def _call(address: str) -> bool:
    """Call the address, which may be a secret: the log never has it."""
    try:
        with httpx.Client(timeout=timing.MESSAGE_TIMEOUT, trust_env=False, follow_redirects=False) as client:
            status = client.get(address).status_code
    except httpx.HTTPError as error:
        logger.warning("KVOPS_HEARTBEAT_URL cannot be reached (%s).", type(error).__name__)
        return False
    if not httpx.codes.is_success(status):
        logger.warning("KVOPS_HEARTBEAT_URL answered %s. Check the setting.", status)
    return httpx.codes.is_success(status)


def _mail(mails: Mails) -> bool:
    """Send the mails. Return whether one of them was taken."""
    taken = 0
    for message, address in mails:
        try:
            senders.mail(message, address)
            taken += 1
        except NotDelivered as error:
            logger.warning("A mail about the worker was not delivered: %s", error)
    if not taken:
        logger.error("Nobody could be told about the worker by mail. Check SMTP_HOST, and start manage.py worker.")
    return taken > 0


def _gone_mails() -> Mails:
    ill, other = work.workers()
    return _mails("gone", ill[0].at if ill else None, partial(_gone, ill, other=other))


def _back_mails() -> Mails:
    told = Heartbeat.objects.filter(name=TOLD).values_list("at", flat=True).first()
    return _mails("back", told, partial(_back, told))


def _mails(what: str, at: datetime | None, say: Callable[[], tuple[str, Sequence[str]]]) -> Mails:
    mails = []
    for person in outbox.holding([Role.OPERATOR, Role.REVIEWER]):
        with translation.override(person.reads), timezone.override(person.zone):
            title, lines = say()
            number = f"worker-{what}-{at:%Y%m%d%H%M%S}-{person.pk}" if at else f"worker-{what}-{person.pk}"
            link = f"{settings.BASE_URL}{reverse('home')}"
            help_ = help_pages.in_message(["process.worker"]) if what == "gone" else ""
            mails.append((Message(number, title, lines, link, _("Open it in KVOps"), help_, ""), person.email))
    return mails


def _gone(ill: Sequence[StoppedProcess], *, other: bool) -> tuple[str, Sequence[str]]:
    alone = _("Until it is back, no backup, check, deletion or notification goes on. Nothing is lost.")
    shared = _("Another worker goes on, and takes over its runs when their leases end. Nothing is lost.")
    return " / ".join(map(work.worker_stopped, ill)), [
        *map(_last_seen, ill),
        shared if other else alone,
        _("Start manage.py worker. Its log has the reason."),
        _("The sweep sent this mail itself. You get one more when the worker is back."),
    ]


def _last_seen(one: StoppedProcess) -> str:
    if one.at is None:
        return _("The worker was never seen.")
    if not one.host:
        return _("The worker was last seen at %(at)s.") % {"at": moment(one.at)}
    return _("The worker on %(host)s was last seen at %(at)s.") % {"host": one.host, "at": moment(one.at)}


def _back(told: datetime | None) -> tuple[str, Sequence[str]]:
    return _("The worker executes tasks again"), [
        _("The outage was told at %(at)s. Work goes on where it was.") % {"at": moment(told)}
    ]
