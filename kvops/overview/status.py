"""Waiting requests and to-dos, work under way, and the alarms of this floor, for the overview.

It counts no keys; the scans did.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import CharField, Exists, F, OuterRef, Q, QuerySet, Subquery, Value
from django.db.models.functions import Cast, Concat, Now
from django.urls import reverse
from django.utils.translation import gettext as _, ngettext

from kvops import timing
from kvops.approvals.titles import title_of
from kvops.models import (
    ApprovalRequest,
    EmergencyStop,
    Firing,
    Notification,
    Person,
    Role,
    Run,
    Scan,
    Schedule,
)
from kvops.names import visible
from kvops.operations import registry
from kvops.overview import key_alarms, service_alarms
from kvops.overview.estate import Estate
from kvops.overview.key_alarms import NEVER, Alarm
from kvops.overview.lines import Line, Urgency
from kvops.runbook import todo
from kvops.runbook.todo import OpenTodo
from kvops.schedules import punctuality
from kvops.supervision import heartbeats, work
from kvops.wording import labelled, said, spelled

SHOWN = 20
"""Rows. The most requests and runs that the overview lists."""
TODO_DAYS = 3
"""Days. A to-do that is due within so many has a line of its own."""
NOTED_DAYS = 7
"""Days. What a person has acknowledged stays on the overview for so long, folded."""


@dataclass(frozen=True)
class Reader:
    """The person who reads the overview, and their roles."""

    person: Person
    roles: frozenset[Role]

    @property
    def may_operate(self) -> bool:
        """Whether the person is an operator."""
        return Role.OPERATOR in self.roles


@dataclass(frozen=True)
class SetupStep:
    """One step of setting up."""

    title: str
    state: str
    note: str


def requests_for(person: Person, roles: Iterable[Role]) -> QuerySet[ApprovalRequest]:
    """The requests that wait for the person: to decide, to put an approved change in force, or to answer a rejection.

    A rejection of a deletion is left out, because its stage waits; so is the release of a stop that is over.
    """
    again = ApprovalRequest.objects.filter(kind=OuterRef("kind"), subject=OuterRef("subject"), pk__gt=OuterRef("pk"))
    requests = (
        ApprovalRequest.objects.filter(
            requester=person,
            state=ApprovalRequest.State.REJECTED,
            decided_at__gt=Now() - timedelta(seconds=timing.REJECTED_SHOWN),
        )
        .exclude(kind=ApprovalRequest.Kind.DELETE_KEYS)
        .exclude(Exists(again))
    )
    if Role.REVIEWER in roles:
        requests |= ApprovalRequest.objects.waiting_for(person)
    if Role.OPERATOR in roles:
        requests |= ApprovalRequest.objects.filter(
            state=ApprovalRequest.State.APPROVED,
            kind__in=[kind for kind, one in registry.REQUESTS.items() if one.use],
            use_by__gt=Now(),
        ).exclude(approver=person)
    subject = Concat(Value("stop:"), Cast("pk", CharField()))
    in_force = EmergencyStop.objects.in_force().annotate(named=subject).values("named")
    released = Q(kind=ApprovalRequest.Kind.RELEASE_STOP) & ~Q(subject__in=in_force)
    return requests.exclude(released).select_related("environment", "requester", "approver").order_by("decide_by")


def running() -> QuerySet[Run]:
    """The runs that are not over, oldest first; a late check only while a worker holds it."""
    asleep = Q(kind=Run.Kind.LATE_CHECK, owner="")
    return Run.objects.open().exclude(asleep).select_related("environment", "started_by").order_by("pk")


def first_steps(estate: Estate) -> list[SetupStep]:
    """The set-up steps; empty once every environment was scanned."""
    scans = [holdings.scanned_at for column in estate.columns for holdings in column.holdings]
    done = [bool(estate.columns), bool(estate.families), bool(scans) and all(scans)]
    if all(done):
        return []
    texts = [
        (
            _("Describe the environments"),
            _("Write environments.toml and run manage.py apply_environments environments.toml."),
        ),
        (
            _("Classify the keys"),
            _("Run manage.py apply_policy for the included policy, or with your own file."),
        ),
        (_("Scan every namespace"), _("Use “Scan now” below, or run manage.py scan ENV/BINDING.")),
    ]
    now = done.index(False)
    states = ["done" if is_done else "current" if at == now else "todo" for at, is_done in enumerate(done)]
    return [SetupStep(title, state, note) for (title, note), state in zip(texts, states, strict=True)]


def steps(reader: Reader, todos: Sequence[OpenTodo], now: datetime) -> list[Line]:
    """The requests and the to-dos that wait for the person."""
    requests = requests_for(reader.person, reader.roles)[:SHOWN]
    mine = [one for one in todos if one.owner == reader.person]
    soon = todo.today(now) + timedelta(days=TODO_DAYS)
    near = [one for one in mine if one.due <= soon]
    later = mine[len(near) :]
    return [*map(_request, requests), *(_todo(one, now) for one in near[:SHOWN]), *_later(later, reader, now)]


def _todo(one: OpenTodo, now: datetime) -> Line:
    late = one.due < todo.today(now)
    label = _("overdue since") if late else _("due")
    places = [(one.environment, one.address)] if one.environment else []
    urgency = Urgency.RED if late else Urgency.STEP
    return Line(urgency, visible(one.title), f"{label} {one.due}", one.address, _("Open"), places)


def _later(todos: Sequence[OpenTodo], reader: Reader, now: datetime) -> list[Line]:
    """One line for the to-dos that are due later, so that they bury no other work."""
    if len(todos) < 2:
        return [_todo(one, now) for one in todos]
    title = ngettext("%(n)s to-do", "%(n)s to-dos", len(todos)) % {"n": len(todos)}
    text = _("the first is due %(due)s") % {"due": todos[0].due}
    url = f"{reverse('runbook-todos')}?owner={reader.person.pk}"
    places = {one.environment.pk: (one.environment, url) for one in todos if one.environment}
    return [Line(Urgency.STEP, title, text, url, _("Open"), tuple(places.values()))]


def _request(request: ApprovalRequest) -> Line:
    url = reverse("approval", args=[request.pk])
    places = [(request.environment, url)] if request.environment else []
    title, text = title_of(request), request.requester.name
    step = Urgency.STEP
    if request.state == ApprovalRequest.State.PENDING:
        return Line(step, title, text, url, _("Decide"), places, request.decide_by, _("Decide by"), request.decide_by)
    if request.state == ApprovalRequest.State.REJECTED:
        sentence = _("Rejected by %(name)s: %(reason)s") % {
            "name": request.approver.name if request.approver else "",
            "reason": request.reason[:120],
        }
        return Line(step, title, sentence, url, _("See the reason"), places, request.decided_at)
    return Line(step, title, text, url, _("Apply"), places, request.use_by, _("Apply by"), request.use_by)


def alarms(estate: Estate, scans: Iterable[Scan]) -> list[Alarm]:
    """Alarms for processes that do not run, failed runs, undelivered messages, unexplained deletions and so on."""
    return [
        *_processes(estate.now),
        *_failed(),
        *_undelivered(),
        *_overdue(),
        *service_alarms.alarms(),
        *key_alarms.unexplained(scans),
        *key_alarms.unclassified(estate.holdings),
        *key_alarms.lacking(estate),
    ]


def _processes(now: datetime) -> list[Alarm]:
    """Alarms for a sweep that does not wake runs, and for each worker that does not execute tasks."""
    found = []
    for one in work.stopped(heartbeats.seen()):
        if one.process == "sweep":
            title, cure = _("The sweep does not run"), _("Start manage.py sweep.")
        else:
            title, cure = work.worker_stopped(one), _("Start manage.py worker.")
        text = f"{_last_seen(one.at, now)} {cure}"
        found.append(Alarm("danger", f"process.{one.process}", title, text, since=one.at or NEVER))
    return found


def _last_seen(at: datetime | None, now: datetime) -> str:
    if at is None:
        return _("It was never seen.")
    minutes = int((now - at).total_seconds() // 60)
    sentence = ngettext("It was last seen %(n)d minute ago.", "It was last seen %(n)d minutes ago.", minutes)
    return sentence % {"n": minutes}


def _failed() -> list[Alarm]:
    """One alarm for the failed runs."""
    failed = list(Run.objects.unattended().select_related("environment").order_by("-pk")[: SHOWN + 1])
    if not failed:
        return []
    title = ngettext("%(count)s run failed", "%(count)s runs failed", len(failed)) % {"count": len(failed)}
    if len(failed) == 1:
        text, url = labelled(failed[0], failed[0].shown_error), reverse("run", args=[failed[0].pk])
    else:
        text = ", ".join(dict.fromkeys(run.get_kind_display() for run in failed))
        url = f"{reverse('runs')}?state=failed"
    environment = failed[0].environment if len({run.environment_id for run in failed}) == 1 else None
    since = failed[-1].finished_at
    return [Alarm("danger", "run.failed", title, text, url, _("See details"), since, environment)]


def _undelivered() -> list[Alarm]:
    """One alarm for messages that could not be delivered, or have been under way for too long."""
    late = Notification.objects.undelivered().late()
    count = late.count()
    if not count:
        return []
    title = ngettext(
        "%(count)s notification could not be delivered", "%(count)s notifications could not be delivered", count
    ) % {"count": count}
    error = str(late.order_by("-pk").values_list("error", flat=True)[0])
    text = said(error) or _("No worker sends it.")
    since = late.earliest("created_at").created_at
    url = f"{reverse('notifications')}?state=undelivered"
    return [Alarm("danger", "message.undelivered", title, text, url, _("See details"), since)]


def _perhaps_overdue() -> QuerySet[Schedule]:
    """The schedules whose newest due time did not succeed; `punctuality` knows which of them are overdue."""
    newest = Firing.objects.filter(schedule=OuterRef("pk")).order_by("-due_at")
    good = punctuality.good(Firing.objects.filter(pk=OuterRef("newest")))
    known = Schedule.objects.filter(job__in=registry.JOBS, paused_at=None)
    with_newest = known.annotate(newest=Subquery(newest.values("pk")[:1])).exclude(newest=None)
    return with_newest.filter(~Exists(good))


def _overdue() -> list[Alarm]:
    """One alarm for the schedules whose work did not succeed twice."""
    found = []
    if _perhaps_overdue().exists():
        found = [one for _place, ones in punctuality.all_() for one in ones if one.state == "overdue"]
    if not found:
        return []
    title = ngettext("%(count)s schedule is overdue", "%(count)s schedules are overdue", len(found))
    text = ", ".join(dict.fromkeys(one.label for one in found))
    since = min((one.newest.due_at for one in found if one.newest), default=None)
    title %= {"count": len(found)}
    return [Alarm("danger", "schedule.missed", title, text, reverse("schedules"), _("See details"), since)]


def attended(todos: Sequence[OpenTodo], now: datetime) -> list[Line]:
    """The problems that a person looks into in time."""
    found = []
    for one in todos:
        if one.attends and one.due >= todo.today(now):
            text = _("%(name)s, until %(due)s") % {"name": one.owner.name, "due": one.due}
            places = [(one.environment, one.address)] if one.environment else []
            found.append(Line(Urgency.KNOWN, one.title, text, one.address, _("See details"), places))
    return found[:SHOWN]


def odd_scans() -> list[Scan]:
    """The scans with unexplained changes: first those that nobody acknowledged, then those of the last days."""
    recent = Q(acknowledged_at=None) | Q(acknowledged_at__gt=Now() - timedelta(days=NOTED_DAYS))
    odd = Scan.objects.odd().filter(recent).select_related("namespace__environment", "acknowledged_by")
    return list(odd.order_by(F("acknowledged_at").asc(nulls_first=True), "-pk")[:SHOWN])


def acknowledged(scans: Iterable[Scan]) -> list[Line]:
    """The unexplained changes that a person acknowledged, with the note."""
    found = []
    for scan in scans:
        if not scan.acknowledged_at:
            continue
        n = scan.unexplained + scan.unexpected
        title = ngettext("%(n)s unexplained change", "%(n)s unexplained changes", n) % {"n": spelled(n)}
        person = scan.acknowledged_by.name if scan.acknowledged_by else ""
        url = reverse("unexplained-scan", args=[scan.pk])
        places = [(scan.namespace.environment, url)]
        text = labelled(person, scan.acknowledged_note[:120])
        found.append(Line(Urgency.KNOWN, title, text, url, _("See details"), places, scan.acknowledged_at))
    return found
