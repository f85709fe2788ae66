"""The operations sent to Cloudflare on each UTC day, by account and kind. The daily quota did the counting."""

from collections import defaultdict
from dataclasses import dataclass

from kvops.connections.prices import OPERATIONS
from kvops.models import DailyUse, Environment
from kvops.templatetags.prices import OPERATION_WORDS
from kvops.web.ranges import DaySeries, Period


@dataclass(frozen=True)
class AccountOperations:
    """An account with the environments that use it, and a series of each kind of operation."""

    account: str
    environments: str
    series: list[DaySeries]


def by_account(period: Period) -> list[AccountOperations]:
    """Every account of an environment, in the order of clean-up."""
    names: dict[str, list[str]] = defaultdict(list)
    for environment in Environment.objects.order_by("order"):
        names[environment.account_id].append(environment.name)
    uses = DailyUse.objects.filter(account__in=names, day__range=(period.since, period.until)).order_by("day")
    found: dict[str, list[DailyUse]] = defaultdict(list)
    for use in uses:
        found[use.account].append(use)
    return [
        AccountOperations(account, ", ".join(named), [_series(kind, found[account]) for kind in OPERATIONS])
        for account, named in names.items()
    ]


def _series(kind: str, uses: list[DailyUse]) -> DaySeries:
    return DaySeries(OPERATION_WORDS[kind], {use.day: getattr(use, f"{kind}s") for use in uses})
