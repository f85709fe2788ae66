"""The facts of a rule for its page, read in one statement. What acts reads them anew."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from backups.clearing import conditions, rules
from backups.models import Clearing
from kvops.models import Environment, Scan, Schedule
from kvops.schedules import punctuality
from kvops.web.gather import ask
from kvops.web.objects import Objects

_SCHEDULE = ("job", "expression", "zone", "next_at", "paused_at", *punctuality.PLACES)


@dataclass(frozen=True)
class RuleFacts:
    """The schedule of a rule, the newest scan of its namespace, and the environments before its own.

    `partly`: its family has more keys than a dry run looks at.
    """

    now: datetime
    schedule: Schedule
    scan: Scan | None
    earlier: Sequence[Environment]
    partly: bool


def facts_of(clearing: Clearing) -> RuleFacts:
    """The facts of a rule now."""
    schedules = punctuality.with_firings(Schedule.objects.filter(job="clearing", subject=clearing.subject))
    scans = Scan.objects.complete().filter(namespace=clearing.namespace).order_by("-completed_at", "-pk")
    asked: dict[str, Objects[Any]] = {
        "schedules": Objects(schedules, *_SCHEDULE),
        "scans": Objects(scans[:1], "completed_at"),
        "earlier": Objects(conditions.earlier_environments(clearing), "slug", "name", "production"),
        "beyond": Objects(rules.beyond(clearing)),
    }
    answers = ask({name: one.question for name, one in asked.items()}, {})
    found: dict[str, list[Any]] = {name: one.of(answers, name) for name, one in asked.items()}
    [schedule] = found["schedules"]
    return RuleFacts(answers.now, schedule, next(iter(found["scans"]), None), found["earlier"], bool(found["beyond"]))
