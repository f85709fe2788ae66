"""The state of every environment for the overview: open work, waiting requests, alarms.

It counts no keys; the scans did.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db.models import Exists, OuterRef, Q, QuerySet, Sum
from django.db.models.functions import Now
from django.urls import reverse
from django.utils.translation import gettext as _, ngettext

from kvops import timing
from kvops.approvals import kinds as approval_kinds
from kvops.models import (
    ApprovalRequest,
    Category,
    EmergencyStop,
    Environment,
    Heartbeat,
    Namespace,
    Notification,
    Person,
    PolicyVersion,
    Role,
    Run,
    Scan,
    ScanCount,
)
from kvops.overview import key_alarms, service_alarms
from kvops.overview.key_alarms import NEVER, Alarm
from kvops.schedules import punctuality
from kvops.supervision import heartbeats
from kvops.wording import said

SHOWN = 20
"""Rows. The most requests and runs that the overview lists."""


@dataclass(frozen=True)
class SetupStep:
    """One step of setting up."""

    title: str
    state: str
    note: str


@dataclass(frozen=True)
class Holdings:
    """A namespace with the counts of its newest scan."""

    namespace: Namespace
    scan: Scan | None
    scanning: Run | None
    counts: dict[str, int]

    @property
    def categories(self) -> list[tuple[str, int]]:
        """Keys per category, in the order of the policy."""
        return [(category.value, self.counts[category]) for category in Category if self.counts.get(category)]

    @property
    def total(self) -> int:
        """All keys."""
        return sum(self.counts.values())

    @property
    def keys_url(self) -> str:
        """The page of the keys."""
        return _address("keys", self.namespace)

    @property
    def scan_url(self) -> str:
        """The address that starts a scan."""
        return _address("scan", self.namespace)


@dataclass(frozen=True)
class Column:
    """An environment and its namespaces."""

    environment: Environment
    holdings: list[Holdings] = field(default_factory=list)


def _address(name: str, namespace: Namespace) -> str:
    return reverse(name, args=[namespace.environment.slug, namespace.binding])


def columns() -> list[Column]:
    """Every environment in the order of clean-up, with the counts of the newest scans."""
    found = {one.pk: Column(one) for one in Environment.objects.order_by("order")}
    namespaces = list(Namespace.objects.select_related("environment").order_by("binding"))
    # One short index read per namespace; DISTINCT ON would read every scan there ever was.
    newest = {one.pk: Scan.objects.newest(one) for one in namespaces}
    counts: dict[int, dict[str, int]] = defaultdict(dict)
    for scan, category, keys in (
        ScanCount.objects.filter(scan__in=[scan.pk for scan in newest.values() if scan])
        .values_list("scan", "category")
        .annotate(Sum("keys"))
    ):
        counts[scan][category] = keys
    scanning = {
        run.subject: run
        for run in Run.objects.open().filter(
            kind=Run.Kind.SCAN, subject__in=[f"namespace:{one.pk}" for one in namespaces]
        )
    }
    for one in namespaces:
        scan = newest[one.pk]
        holdings = Holdings(one, scan, scanning.get(f"namespace:{one.pk}"), counts[scan.pk] if scan else {})
        found[one.environment_id].holdings.append(holdings)
    return list(found.values())


def waiting_requests(person: Person, roles: Iterable[Role]) -> QuerySet[ApprovalRequest]:
    """The requests that wait for the person: to decide, to put an approved change in force, or to answer a rejection.

    A rejection of a deletion is left out, because its stage waits; so is the release of a stop that is over.
    """
    again = ApprovalRequest.objects.filter(kind=OuterRef("kind"), subject=OuterRef("subject"), pk__gt=OuterRef("pk"))
    requests = ApprovalRequest.objects.filter(
        ~Exists(again),
        requester=person,
        state=ApprovalRequest.State.REJECTED,
        decided_at__gt=Now() - timedelta(seconds=timing.REJECTED_SHOWN),
    ).exclude(kind=ApprovalRequest.Kind.DELETE_KEYS)
    if Role.REVIEWER in roles:
        requests |= ApprovalRequest.objects.waiting_for(person)
    if Role.OPERATOR in roles:
        requests |= ApprovalRequest.objects.filter(
            state=ApprovalRequest.State.APPROVED,
            kind__in=[name for name, kind in approval_kinds.KINDS.items() if kind.use],
            use_by__gt=Now(),
        ).exclude(approver=person)
    in_force = [f"stop:{pk}" for pk in EmergencyStop.objects.in_force().values_list("pk", flat=True)]
    released = Q(kind=ApprovalRequest.Kind.RELEASE_STOP) & ~Q(subject__in=in_force)
    found = requests.exclude(released).select_related("environment", "requester", "approver")
    return found.order_by("decide_by")[:SHOWN]


def running() -> QuerySet[Run]:
    """The runs that are not over, oldest first; a late check only while a worker holds it."""
    asleep = Q(kind=Run.Kind.LATE_CHECK, owner="")
    return Run.objects.open().exclude(asleep).select_related("environment").order_by("pk")[:SHOWN]


def first_steps(shown: Sequence[Column]) -> list[SetupStep]:
    """The set-up steps; empty once every environment was scanned."""
    scans = [holdings.scan for column in shown for holdings in column.holdings]
    done = [bool(shown), PolicyVersion.objects.exists(), bool(scans) and all(scans)]
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


def alarms(shown: Sequence[Column]) -> list[Alarm]:
    """All alarms: processes that do not run, failed runs, undelivered messages, unexplained deletions and so on."""
    unclassified = [
        (held.namespace, held.counts.get(Category.UNCLASSIFIED, 0), held.keys_url, held.scan)
        for column in shown
        for held in column.holdings
    ]
    others = [*service_alarms.alarms(), *key_alarms.alarms(unclassified)]
    return [*_processes(), *_failed(), *_undelivered(), *_overdue(), *others]


def _processes() -> list[Alarm]:
    """Alarms for a sweep that does not wake runs, and for a worker that does not execute tasks."""
    found = []
    if sweep := _late("sweep", timing.CANARY_LATE):
        text = f"{sweep} {_('Start manage.py sweep.')}"
        found.append(Alarm("danger", "process.sweep", _("The sweep does not run"), text, since=_seen("sweep")))
    # While a part of a backup is written, no task returns for as long as a part may take.
    worker = _late("worker", timing.CANARY_LATE) or _late("canary", timing.CANARY_LATE + timing.PART)
    if worker:
        text = f"{worker} {_('Start manage.py worker.')}"
        since = min(_seen("worker"), _seen("canary"))
        title = _("The worker does not execute tasks")
        found.append(Alarm("danger", "process.worker", title, text, since=since))
    return found


def _seen(name: str) -> datetime:
    """The time when a process was last seen; long ago if it never was."""
    seen = Heartbeat.objects.filter(name=name).values_list("at", flat=True).first()
    return seen or NEVER


def _late(name: str, limit: float) -> str:
    """The time since a process was last seen, in words; empty if it is within `limit` seconds."""
    seconds = heartbeats.age(name)
    if seconds is None:
        return _("It was never seen.")
    if seconds <= limit:
        return ""
    minutes = int(seconds // 60)
    return ngettext("It was last seen %(n)d minute ago.", "It was last seen %(n)d minutes ago.", minutes) % {
        "n": minutes
    }


def _failed() -> list[Alarm]:
    """One alarm for the failed runs of a week that were neither resumed nor followed by a newer run."""
    failed = list(Run.objects.unattended().order_by("-pk")[: SHOWN + 1])
    if not failed:
        return []
    title = ngettext("%(count)s run failed", "%(count)s runs failed", len(failed)) % {"count": len(failed)}
    if len(failed) == 1:
        text, url = f"{failed[0]}: {failed[0].shown_error}", reverse("run", args=[failed[0].pk])
    else:
        text = ", ".join(dict.fromkeys(run.get_kind_display() for run in failed))
        url = f"{reverse('runs')}?state=failed"
    return [Alarm("danger", "run.failed", title, text, url, _("See details"), failed[-1].finished_at)]


def _undelivered() -> list[Alarm]:
    """One alarm for messages that could not be delivered, or have been under way for too long."""
    found = Notification.objects.undelivered().late()
    if not (count := found.count()):
        return []
    title = ngettext(
        "%(count)s notification could not be delivered", "%(count)s notifications could not be delivered", count
    ) % {"count": count}
    error = str(found.order_by("-pk").values_list("error", flat=True)[0])
    text = said(error) or _("No worker sends it.")
    since = found.earliest("created_at").created_at
    url = f"{reverse('notifications')}?state=undelivered"
    return [Alarm("danger", "message.undelivered", title, text, url, _("See details"), since)]


def _overdue() -> list[Alarm]:
    """One alarm for the schedules whose work did not succeed twice."""
    found = [one for _place, ones in punctuality.all_() for one in ones if one.state == "overdue"]
    if not found:
        return []
    title = ngettext("%(count)s schedule is overdue", "%(count)s schedules are overdue", len(found))
    text = ", ".join(dict.fromkeys(one.label for one in found))
    since = min((one.newest.due_at for one in found if one.newest), default=None)
    title %= {"count": len(found)}
    return [Alarm("danger", "schedule.missed", title, text, reverse("schedules"), _("See details"), since)]
