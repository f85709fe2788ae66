"""The free plan's daily quota: the requests of all processes today, and waiting for tomorrow instead of failing.

Days are UTC days of the database's clock. Each key of a bulk call counts once. On a free plan no call is sent that
would exceed the quota, and no chunk is begun. The run waits for 00:00 UTC, as it does if Cloudflare reports the quota
as used up (code 10048).

A client's requests are stored when it is closed, so a killed process forgets at most the operations of one step.
Cloudflare's own refusal then covers the rest.
"""

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from threading import Lock

from django.db import connection
from django.db.models import DateTimeField, Func
from django.db.models.functions import TruncDate

from kvops.cloudflare import DailyLimitReached
from kvops.connections.prices import FREE_A_DAY, OPERATIONS
from kvops.models import DailyUse, Environment
from kvops.refusals import Sentence as _

_KEEP = f"""
INSERT INTO kvops_dailyuse (account, day, {", ".join(f"{name}s" for name in OPERATIONS)})
VALUES (%(account)s, %(day)s, {", ".join(f"%({name})s" for name in OPERATIONS)})
ON CONFLICT (account, day) DO UPDATE SET
  {", ".join(f"{name}s = kvops_dailyuse.{name}s + excluded.{name}s" for name in OPERATIONS)}
"""  # noqa: S608  (constants of this project)
_COUNTED = {"read": _("reads"), "write": _("writes"), "delete": _("deletes"), "list": _("lists")}


def today(account: str) -> dict[str, int]:
    """The operations sent for the account today, by kind."""
    return _sent(account, _clock()[0])


@dataclass(frozen=True)
class Spent:
    """Operations of one kind sent today; `quota` is None on a paid plan."""

    operation: str
    sent: int
    quota: int | None


def spent(environments: Iterable[Environment]) -> list[list[Spent]]:
    """The operations sent for the account of each of these environments today, for their page, in one query."""
    found = list(environments)
    day = TruncDate(Func(function="clock_timestamp", output_field=DateTimeField()), tzinfo=UTC)
    used = {use.account: use for use in DailyUse.objects.filter(day=day, account__in={one.account_id for one in found})}
    return [_spent(one, used.get(one.account_id) or DailyUse()) for one in found]


def _spent(environment: Environment, use: DailyUse) -> list[Spent]:
    free = environment.plan == Environment.Plan.FREE
    return [Spent(name, count, FREE_A_DAY[name] if free else None) for name, count in _counts(use).items()]


class QuotaMeter:
    """Counts the operations an environment's clients send. On a free plan it refuses those beyond the day's quota.

    Threads only count; `insist` and `keep` use the database and belong to the main thread.
    """

    def __init__(self, environment: Environment) -> None:
        self._account = environment.account_id
        self._free = environment.plan == Environment.Plan.FREE
        self._counted: Counter[str] = Counter()
        self._lock = Lock()
        self._load()

    def count(self, operation: str, keys: int) -> None:
        """Count one call about `keys` keys, just before it is sent. Raises DailyLimitReached."""
        with self._lock:
            self._insist({operation: keys})
            self._counted[operation] += keys

    def insist(self, operations: Mapping[str, int]) -> None:
        """Raise DailyLimitReached unless the operations fit into the rest of the day's quota of all processes."""
        if not self._free:
            return
        self.keep()
        self._load()
        with self._lock:
            self._insist(operations)

    def keep(self) -> None:
        """Add the counts to the account's day."""
        with self._lock:
            counted, self._counted = self._counted, Counter()
        if not counted:
            return
        with connection.cursor() as cursor:
            values = {name: counted[name] for name in OPERATIONS}
            cursor.execute(_KEEP, {"account": self._account, "day": self._day, **values})
        self._before += counted

    def _load(self) -> None:
        self._day, left = _clock()
        self._midnight = time.monotonic() + left
        self._before = Counter(_sent(self._account, self._day) if self._free else {})

    def _insist(self, operations: Mapping[str, int]) -> None:
        if not self._free:
            return
        left = self._midnight - time.monotonic()
        if left <= 0:
            return  # a new day: Cloudflare counts from zero, and so does the next step
        for name, wanted in operations.items():
            quota, spent = FREE_A_DAY[name], self._before[name] + self._counted[name]
            # Operations beyond a whole day's quota never fit, so the check leaves them to Cloudflare.
            if spent and spent + wanted > quota:
                raise DailyLimitReached(
                    _(
                        "Today's %(quota)s %(operations)s of the free plan are used up (%(spent)s sent, %(wanted)s"
                        " wanted).",
                        quota=quota,
                        operations=_COUNTED[name],
                        spent=spent,
                        wanted=wanted,
                    ),
                    left,
                )


def _clock() -> tuple[date, float]:
    """The UTC day of the database's clock, and the seconds until the next one."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp() AT TIME ZONE 'UTC'")
        now = cursor.fetchone()[0]
    if not isinstance(now, datetime):
        raise TypeError(now)
    tomorrow = datetime.combine(now.date() + timedelta(days=1), datetime.min.time())
    return now.date(), (tomorrow - now).total_seconds()


def _sent(account: str, day: date) -> dict[str, int]:
    return _counts(DailyUse.objects.filter(account=account, day=day).first() or DailyUse())


def _counts(use: DailyUse) -> dict[str, int]:
    return {name: getattr(use, f"{name}s") for name in OPERATIONS}
