"""The numbers beside the entries of the menu: work that waits for the person, and what is wrong.

All numbers come from one query, so they are of the same moment, and nothing is cached that could be out of date.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.db.models import Count, Exists, IntegerField, OuterRef, Q, QuerySet, Value
from django.db.models.functions import Now, TruncDate
from django.utils.functional import Promise
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
from kvops.operations import registry
from kvops.operations.parts import BadgeCount
from kvops.references import reading


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


COUNTS = (
    BadgeCount("approvals", to_decide, _("waiting for you"), alarm=False, permission="kvops.review"),
    BadgeCount("todos", overdue_todos, _("overdue")),
    BadgeCount("todos", overdue_follow_ups, _("overdue")),
    BadgeCount("overview", alive, _("processes not running"), expected=3),
    BadgeCount("overview", rolled_back, _("database rolled back")),
    BadgeCount("runs", failed_runs, _("failed")),
    BadgeCount("unexplained", unexplained_scans, _("found by scans, not explained")),
    BadgeCount("environments", stops, _("stopped")),
    BadgeCount("environments", refused_tokens, _("tokens refused")),
    BadgeCount("notifications", undelivered, _("not delivered")),
)
"""The numbers of this floor. Those of other features are in their `operation.py`."""


@dataclass(frozen=True, slots=True)
class Badge:
    """A number of the menu that is not zero; `rows` as in its `BadgeCount`."""

    count: int
    says: Promise
    alarm: bool
    rows: Callable[[Person], QuerySet[Any]]


def of(user: Any) -> Mapping[str, list[Badge]]:
    """The numbers that are not zero and that the user may see, by entry of the menu; in one statement."""
    person: Person | None = getattr(user, "person", None)
    counts = [one for one in (*COUNTS, *registry.BADGES) if person and user.has_perm(one.permission)]
    asked = [_counted(one.rows(person), at) for at, one in enumerate(counts) if person]
    numbers = dict(asked[0].union(*asked[1:], all=True)) if asked else {}
    found: dict[str, list[Badge]] = defaultdict(list)
    for at, one in enumerate(counts):
        number = numbers.get(at, 0)
        shown = max(one.expected - number, 0) if one.expected else number
        if shown:
            found[one.entry].append(Badge(shown, one.says, one.alarm, one.rows))
    return {entry: _together(some) for entry, some in found.items()}


def _together(some: Sequence[Badge]) -> list[Badge]:
    """The numbers of an entry; those with the same words are one."""
    of_words: dict[tuple[str, bool], Badge] = {}
    for one in some:
        earlier = of_words.get((str(one.says), one.alarm))
        more = earlier.count if earlier else 0
        of_words[str(one.says), one.alarm] = replace(one, count=one.count + more)
    return list(of_words.values())


def _counted(rows: QuerySet[Any], at: int) -> QuerySet[Any, tuple[int, int]]:
    together = rows.order_by().annotate(badge=Value(at, IntegerField())).values("badge")
    found: QuerySet[Any, tuple[int, int]] = together.annotate(n=Count("pk")).values_list("badge", "n")
    return found
