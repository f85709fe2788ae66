"""The numbers beside the entries of the menu: work that waits for the person, and what is wrong.

All numbers come from one query, so they are of the same moment, and nothing is cached that could be out of date.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.db.models import Count, Exists, IntegerField, OuterRef, Q, QuerySet, Value
from django.db.models.functions import Now, TruncDate
from django.utils.functional import Promise
from django.utils.module_loading import import_string
from django.utils.translation import gettext_lazy as _

from kvops.models import (
    ApprovalRequest,
    DatabaseRollback,
    EmergencyStop,
    Heartbeat,
    Notification,
    Person,
    ReferenceAnswer,
    RefusedToken,
    Run,
    RunbookTodo,
    Scan,
)
from kvops.references import reading
from kvops.web.gather import Gathered


@dataclass(frozen=True, slots=True)
class BadgeCount:
    """A number beside an entry of the menu.

    `rows` names the function that takes the person and gives the rows to be counted. With `expected`, the number is how
    many of so many rows are missing. `alarm` makes the number red.
    """

    entry: str
    rows: str
    says: Promise
    alarm: bool = True
    permission: str = "kvops.view"
    expected: int = 0


COUNTS = (
    BadgeCount(
        "approvals", "kvops.site.badges.to_decide", _("waiting for you"), alarm=False, permission="kvops.review"
    ),
    BadgeCount(
        "cleanup",
        "backups.frame.badges.waiting_stages",
        _("waiting for an operator"),
        alarm=False,
        permission="kvops.operate",
    ),
    BadgeCount(
        "restores",
        "backups.overview.steps.restores_to_start",
        _("waiting for you"),
        alarm=False,
        permission="kvops.operate",
    ),
    BadgeCount(
        "changes",
        "backups.overview.steps.changes_to_take_on",
        _("waiting for you"),
        alarm=False,
        permission="kvops.operate",
    ),
    BadgeCount(
        "changes",
        "backups.overview.steps.bulk_changes_to_take_on",
        _("waiting for you"),
        alarm=False,
        permission="kvops.operate",
    ),
    BadgeCount(
        "retention",
        "backups.overview.steps.prunes_to_start",
        _("waiting for you"),
        alarm=False,
        permission="kvops.operate",
    ),
    BadgeCount("todos", "kvops.site.badges.overdue_todos", _("overdue")),
    BadgeCount("todos", "kvops.site.badges.overdue_follow_ups", _("overdue")),
    BadgeCount("todos", "backups.frame.badges.overdue_cases", _("overdue")),
    BadgeCount("storage", "backups.frame.badges.differing_buckets", _("buckets that differ from the backups")),
    BadgeCount("overview", "kvops.site.badges.alive", _("processes not running"), expected=3),
    BadgeCount("overview", "kvops.site.badges.rolled_back", _("database rolled back")),
    BadgeCount("cleanup", "backups.frame.badges.wrong_stages", _("with reappeared keys or differences")),
    BadgeCount("integrity", "backups.frame.badges.unattended_checks", _("differ from D1")),
    BadgeCount("runs", "kvops.site.badges.failed_runs", _("failed")),
    BadgeCount("unexplained", "kvops.site.badges.unexplained_scans", _("found by scans, not explained")),
    BadgeCount("unexplained", "backups.frame.badges.outside_searches", _("found by backups, not explained")),
    BadgeCount("environments", "kvops.site.badges.stops", _("stopped")),
    BadgeCount("environments", "kvops.site.badges.refused_tokens", _("tokens refused")),
    BadgeCount("notifications", "kvops.site.badges.undelivered", _("not delivered")),
)
"""Every number of the menu. The functions are named by strings, so that `kvops` does not import the app above it."""


@dataclass(frozen=True, slots=True)
class Badge:
    """A number of the menu that is not zero; `rows` as in its `BadgeCount`."""

    count: int
    says: Promise
    alarm: bool
    rows: str


def questions(user: Any) -> Mapping[str, QuerySet[Any, Any]]:
    """The questions for the numbers that the user may see, for `gather.ask`."""
    person: Person | None = getattr(user, "person", None)
    shown = [one for one in COUNTS if person and user.has_perm(one.permission)]
    return {one.rows: _counted(import_string(one.rows)(person)) for one in shown}


def of(answers: Gathered) -> Mapping[str, list[Badge]]:
    """The numbers by the answers to these questions, by entry of the menu."""
    found: dict[str, list[Badge]] = defaultdict(list)
    for one in COUNTS:
        if one.rows in answers.rows:
            count = sum(row[0] for row in answers[one.rows])
            if one.expected:
                count = max(one.expected - count, 0)
            if count:
                found[one.entry].append(Badge(count, one.says, one.alarm, one.rows))
    return {entry: _together(some) for entry, some in found.items()}


def _together(some: Sequence[Badge]) -> list[Badge]:
    """The numbers of an entry; those with the same words are one."""
    of_words: dict[tuple[str, bool], Badge] = {}
    for one in some:
        earlier = of_words.get((str(one.says), one.alarm))
        more = earlier.count if earlier else 0
        of_words[str(one.says), one.alarm] = replace(one, count=one.count + more)
    return list(of_words.values())


def _counted(rows: QuerySet[Any]) -> QuerySet[Any, Any]:
    together = rows.order_by().annotate(badge=Value(0, IntegerField())).values("badge")
    counted: QuerySet[Any, Any] = together.annotate(badge_count=Count("pk")).values_list("badge_count")
    return counted


def to_decide(person: Person) -> QuerySet[ApprovalRequest]:
    """The requests that the person could decide."""
    return ApprovalRequest.objects.waiting_for(person)


def alive(_person: Person) -> QuerySet[Heartbeat]:
    """One row for each process that was seen in time on all its hosts."""
    same = Heartbeat.objects.watched().filter(process=OuterRef("process"))
    return Heartbeat.objects.watched().exclude(Exists(same.filter(Q(late=True) | Q(name__lt=OuterRef("name")))))


def rolled_back(_person: Person) -> QuerySet[DatabaseRollback]:
    """The rollbacks of the database in force."""
    return DatabaseRollback.objects.in_force()


def overdue_todos(person: Person) -> QuerySet[RunbookTodo]:
    """The person's to-dos on entries of the runbook whose day is over."""
    return RunbookTodo.objects.filter(done_at=None, owner=person, due__lt=TruncDate(Now()))


def overdue_follow_ups(person: Person) -> QuerySet[ReferenceAnswer]:
    """The person's follow-ups of the code whose day is over."""
    return reading.open_follow_ups().filter(owner=person, due__lt=TruncDate(Now()))


def failed_runs(_person: Person) -> QuerySet[Run]:
    """The failed runs of a week that were neither resumed nor followed by a newer run."""
    return Run.objects.unattended()


def unexplained_scans(_person: Person) -> QuerySet[Scan]:
    """The scans with changes of keys that nobody explained."""
    return Scan.objects.unexplained()


def stops(_person: Person) -> QuerySet[EmergencyStop]:
    """The emergency stops in force."""
    return EmergencyStop.objects.in_force()


def refused_tokens(_person: Person) -> QuerySet[RefusedToken]:
    """The secrets that a service refuses now."""
    return RefusedToken.objects.filter(over_at=None)


def undelivered(_person: Person) -> QuerySet[Notification]:
    """The notifications that could not be delivered, or that have been under way for too long."""
    return Notification.objects.undelivered().late()
