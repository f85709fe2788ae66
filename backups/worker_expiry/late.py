"""Workers that did not ask at a due time of their Cron Trigger: told once per due time, and kept as a round."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import islice, takewhile

from django.utils.translation import gettext_lazy as _

from audit import log
from backups.models import WorkerRule
from backups.worker_expiry import rounds, rules
from kvops import clock, timing
from kvops.approvals import standing
from kvops.models import Environment
from kvops.schedules import cron as crons
from kvops.schedules.jobs import Begun
from kvops.wording import moment, say, sentence_of

COUNTED = 3_000
"""Due times. An approval of 90 days has fewer, one an hour."""
EARLY = timedelta(minutes=5)
"""A question so long before a due time, by another clock, is the one of this due time."""


def tell_missing(environment: Environment, _actor: log.Actor) -> Begun:
    """The job of each hour, within the open transaction."""
    found = WorkerRule.objects.filter(namespace__environment=environment, retired_at=None)
    for rule in found.select_related("namespace__environment", "family").order_by("pk"):
        if (due := missing(rule, clock.now())) is not None:
            why = say(
                _("The Worker did not ask at its due time, %(time)s. Look at it in Cloudflare."), time=moment(due)
            )
            rounds.keep_without_run(rule, sentence_of(why), due_at=due)
    return Begun()


def missing(rule: WorkerRule, now: datetime) -> datetime | None:
    """The newest due time that passed without a question; None if there is none, or the Worker never asked so far."""
    approval = standing.approval_in_force(rules.KIND, rule.subject)
    newest = rule.newest_round
    asked = rule.rounds.filter(due_at=None).exists()
    if approval is None or approval.decided_at is None or newest is None or not asked or newest.state == "running":
        return None
    since = max(approval.decided_at, newest.started_at + EARLY)
    return max(_due(rule, since, now - timedelta(seconds=timing.WORKER_LATE)), default=None)


def is_expected(rule: WorkerRule, now: datetime) -> bool:
    """Whether the Worker of the rule calls about now: its round is under way, or a due time is near."""
    newest = rule.newest_round
    if newest is not None and newest.state == "running":
        return True
    if rule.retired_at is not None or standing.approval_in_force(rules.KIND, rule.subject) is None:
        return False
    since, until = now - timedelta(seconds=timing.WORKER_LATE), now + EARLY
    return any(True for _due_time in _due(rule, since, until))


def _due(rule: WorkerRule, since: datetime, until: datetime) -> Iterator[datetime]:
    yield from takewhile(lambda due: due <= until, islice(crons.times(rule.cron, "UTC", since), COUNTED))
