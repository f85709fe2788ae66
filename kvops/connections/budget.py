"""Requests per 300 seconds, a sliding window in Postgres that all processes share.

Cloudflare allows a user 1,200 in 5 minutes, over all accounts, tools and the dashboard, and then refuses everything for
5 more. We take at most 80 % of it (developers.cloudflare.com/fundamentals/api/reference/limits). Environments share one
budget unless `environments.toml` says otherwise. If an answer tells that little is left, because colleagues work too,
all processes wait until the reset.

Requests count when they are taken. Prepaid requests count anew from the time they are known to be sent, and unsent
ones are given back before more are paid. A second counts for one second longer than the window, so no window of 300 s
holds more than 960 as they arrive. A killed worker can report nothing, so the requests it sent last count from their
payment. More than the limit at once is an error, not an endless wait. If a repeated call cannot be paid, the error
that made it necessary is reported, not the spent budget.
"""

import time
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from math import ceil
from threading import Lock
from typing import Any

from django.db import connection, transaction
from django.db.models import DateTimeField, F, Func
from django.db.models.functions import Greatest, Now

from kvops import timing
from kvops.models import Budget, BudgetSpend, Environment

GOOD_FOR = 300.0
"""Seconds. Paid requests must be sent within this time: in Cloudflare's next window other processes have them."""

TOLD_EVERY = 5.0
"""Seconds between two times that a process stores the requests left, as an answer tells them."""

_CLOCK = Func(function="clock_timestamp", output_field=DateTimeField())
_SPENT = ("spends__second", "spends__calls")

# One statement under the budget's lock. A second counts until it is wholly outside the window, so that no window ever
# holds more than the limit.
_TAKE = """
WITH gone AS (
  DELETE FROM kvops_budgetspend WHERE budget_id = %(budget)s AND second < %(now)s - %(window)s
), spent AS (
  SELECT coalesce(sum(calls), 0) AS calls FROM kvops_budgetspend
   WHERE budget_id = %(budget)s AND second >= %(now)s - %(window)s
), taken AS (
  INSERT INTO kvops_budgetspend (budget_id, second, calls)
  SELECT %(budget)s, %(now)s, %(calls)s FROM spent WHERE spent.calls + %(calls)s <= %(limit)s
  ON CONFLICT (budget_id, second) DO UPDATE SET calls = kvops_budgetspend.calls + excluded.calls
)
SELECT calls FROM spent
"""


@dataclass(frozen=True)
class Left:
    """The rest of a budget: requests that could be sent now, of `most`, and the seconds Cloudflare asked to wait.

    `told` are the requests that Cloudflare says are left to the user, colleagues included; None if it is not known.
    """

    calls: int
    most: int
    blocked: float
    told: int | None


class SharedBudget:
    """The client's budget protocol over Postgres, for one name."""

    def __init__(self, name: str, *, calls: int | None = None, window: float | None = None) -> None:
        """At most `calls` requests in `window` seconds; the defaults come from `timing`."""
        self.name = name
        self.calls = calls or timing.BUDGET_CALLS
        self.window = ceil((window or timing.BUDGET_WINDOW) + timing.BUDGET_DELAY)
        self._last = 0
        self._tell_at = 0.0
        self.good_for = 0.0
        """Seconds. The last grant must be sent within this time after it was asked for, before its second ends."""

    @classmethod
    def of(cls, environment: Environment) -> "SharedBudget":
        """The budget that the environment's requests count in."""
        return cls(environment.budget, calls=min(environment.requests, timing.BUDGET_CALLS))

    def take(self, calls: int = 1) -> float:
        """Take `calls` requests. Return 0.0 if granted, else the seconds until they could be granted (none taken).

        Raises ValueError for more than the limit, because the wait would never end.
        """
        if calls > self.calls:
            raise ValueError(f"{calls} requests at once are more than the limit of {self.calls}")
        with transaction.atomic():
            budget, now, blocked = self._lock()
            if blocked > 0:
                return blocked
            with connection.cursor() as cursor:
                cursor.execute(
                    _TAKE,
                    {"budget": budget.pk, "now": int(now), "window": self.window, "calls": calls, "limit": self.calls},
                )
                spent = int(cursor.fetchone()[0])
            if spent + calls > self.calls:
                return self._wait(budget, now, spent + calls - self.calls)
        self._last, self.good_for = int(now), 1 - now % 1
        return 0.0

    def give_back_last(self, calls: int) -> None:
        """Return requests of the last grant that were not sent."""
        spend = BudgetSpend.objects.filter(budget__name=self.name, second=self._last)
        spend.update(calls=Greatest(F("calls") - calls, 0))

    def restamp(self, granted: int, *, sent: int, kept: int) -> None:
        """Count requests of the last grant from now on: `sent` were sent until now, `kept` will be sent later.

        The rest of the grant is given back. A request must not count as older than it is, or a window could hold too
        many.
        """
        with transaction.atomic():
            budget, now, _ = self._lock()
            spends = budget.spends.filter(second=self._last)
            # If the grant left the window, its row may be gone; other grants must not be changed.
            spends.update(calls=Greatest(F("calls") - granted, 0))
            if sent + kept:
                spend, new = budget.spends.get_or_create(second=int(now), defaults={"calls": sent + kept})
                if not new:
                    BudgetSpend.objects.filter(pk=spend.pk).update(calls=F("calls") + sent + kept)
        self._last = int(now)

    def _lock(self) -> tuple[Budget, float, float]:
        """The budget's row, locked; the database's time; the seconds it is still blocked."""
        budget = Budget.objects.select_for_update().filter(name=self.name).first()
        if budget is None:
            Budget.objects.get_or_create(name=self.name)
            budget = Budget.objects.select_for_update().get(name=self.name)
        with connection.cursor() as cursor:
            cursor.execute("SELECT extract(epoch FROM clock_timestamp())")
            now = float(cursor.fetchone()[0])
        blocked = budget.blocked_until.timestamp() - now if budget.blocked_until else 0.0
        return budget, now, blocked

    def _wait(self, budget: Budget, now: float, missing: int) -> float:
        """Seconds until `missing` of the spent requests have left the window."""
        for second, calls in budget.spends.order_by("second").values_list("second", "calls"):
            missing -= calls
            if missing <= 0:
                return max(0.05, second + self.window + 1 - now)
        return float(self.window)

    def observed(self, *, wait: float, remaining: int | None) -> None:
        """Note an answer's headers: a wait blocks all processes; the requests left are shown on `/environments/`."""
        if not self.worth_noting(wait, remaining):
            return
        self._tell_at = time.monotonic() + TOLD_EVERY
        Budget.objects.get_or_create(name=self.name)
        found = Budget.objects.filter(name=self.name)
        if remaining is not None:
            found.update(told_left=remaining, told_at=Now())
        if wait:
            # Never shorten the wait of an earlier answer.
            found.update(blocked_until=Greatest("blocked_until", Now() + timedelta(seconds=wait)))

    def worth_noting(self, wait: float, remaining: int | None) -> bool:
        """Whether an answer's headers are to be stored: each wait is; the requests left, every few seconds."""
        return bool(wait) or (remaining is not None and time.monotonic() >= self._tell_at)

    def left(self) -> Left:
        """The rest of the budget now, for the pages; takes nothing and waits for nobody."""
        return lefts([self])[0]


def lefts(budgets: Collection[SharedBudget]) -> list[Left]:
    """The rest of each of these budgets now, in one query."""
    rows = defaultdict(list)
    found = Budget.objects.filter(name__in={one.name for one in budgets}).annotate(now=_CLOCK)
    for name, *row in found.values_list("name", "now", "blocked_until", "told_left", "told_at", *_SPENT):
        rows[name].append(row)
    return [_left(one, rows[one.name]) for one in budgets]


def _left(budget: SharedBudget, rows: Sequence[Sequence[Any]]) -> Left:
    if not rows:
        return Left(calls=budget.calls, most=budget.calls, blocked=0.0, told=None)
    now, blocked_until, told_left, told_at = rows[0][:4]
    since = int(now.timestamp()) - budget.window
    spent = sum(calls for *_row, second, calls in rows if second is not None and second >= since)
    blocked = (blocked_until - now).total_seconds() if blocked_until else 0.0
    fresh = told_at is not None and (now - told_at).total_seconds() < budget.window
    told = told_left if fresh else None
    return Left(calls=max(0, budget.calls - spent), most=budget.calls, blocked=max(0.0, blocked), told=told)


class Uncounted:
    """A budget for a look that changes nothing: it grants what the shared budget has left, and counts nothing there.

    Its few requests go into the fifth of Cloudflare's limit that KVOps leaves to others.
    """

    def __init__(self, budget: SharedBudget) -> None:
        self._budget = budget
        self._sent = 0

    def take(self, calls: int = 1) -> float:
        """Grant the requests if the shared budget could; else return the seconds to wait. Main thread only."""
        left = self._budget.left()
        if left.blocked:
            return left.blocked
        if self._sent + calls > left.calls:
            return float(self._budget.window)
        self._sent += calls
        return 0.0

    def observed(self, *, wait: float, remaining: int | None) -> None:
        """Ignore the headers."""


class Prepaid:
    """Requests taken from a budget beforehand, for work in several threads that must not pause midway.

    Threads only use paid requests and never touch the database; `reserve` and `settle` belong to the main thread.
    """

    def __init__(self, budget: SharedBudget) -> None:
        self._budget = budget
        self._granted = 0
        self._paid = 0
        self._good_until = 0.0
        self._asked_to_wait = 0.0
        self._told: int | None = None
        self._lock = Lock()
        self.exhausted = False

    def reserve(self, calls: int) -> float:
        """Pay for `calls` requests. Return 0.0 if paid, else the seconds until they could be paid (none paid).

        Requests paid earlier and not sent are given back first. Raises ValueError for more than the limit.
        """
        self.settle()
        asked_at = time.monotonic()
        wait = self._budget.take(calls)
        if not wait:
            self._granted = self._paid = calls
            self._good_until = asked_at + GOOD_FOR
            self.exhausted = False
        return wait

    @property
    def paid(self) -> int:
        """Requests that are paid and not sent yet."""
        return self._paid

    def take(self, calls: int = 1) -> float:
        """Take from the paid requests. If they are used up, return a wait so long that the client gives up.

        It does the same if they were paid a window ago, as in a process that was paused: others have used the window
        since.
        """
        with self._lock:
            if time.monotonic() >= self._good_until:
                return timing.LONGEST_WAIT + 1
            if self._paid < calls:
                self.exhausted = True
                return timing.LONGEST_WAIT + 1
            self._paid -= calls
            return 0.0

    def observed(self, *, wait: float, remaining: int | None) -> None:
        """Remember an answer's headers."""
        with self._lock:
            self._asked_to_wait = max(self._asked_to_wait, wait)
            self._told = remaining

    def keep(self) -> None:
        """Let the requests sent so far count from now on, not from their payment. Call this between slow requests."""
        asked_at = time.monotonic()
        with self._lock:
            granted, kept = self._granted, self._paid
        if granted > kept and asked_at < self._good_until:
            self._budget.restamp(granted, sent=granted - kept, kept=kept)
            self._granted, self._good_until = kept, asked_at + GOOD_FOR

    def settle(self) -> None:
        """Give back the requests that were not sent, and tell the budget the waits that answers asked for."""
        if self._granted:
            self._budget.restamp(self._granted, sent=self._granted - self._paid, kept=0)
            self._granted = self._paid = 0
        self._budget.observed(wait=self._asked_to_wait, remaining=self._told)
        self._asked_to_wait, self._told = 0.0, None
