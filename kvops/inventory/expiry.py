"""Keys without an expiration, per family, and the families whose keys lack the expiry of their design.

Each scan counts them (`families.count_keys`). A key of a family designed with `ttl:` or `regenerate` lacks its expiry
if it never expires. A family may name a mark, a member of the metadata (`regenerate:<member>`); then a key with the
mark lacks nothing. The product cannot see any other mark, such as one inside a value.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from urllib.parse import urlencode

from django.db.models import BooleanField, Exists, F, Func, OuterRef, Q, Sum, Value
from django.db.models.functions import Coalesce, TruncDate
from django.urls import reverse
from django.utils.translation import gettext_lazy as _, ngettext_lazy

from audit import log
from audit.actions import Action
from kvops.models import Category, Environment, Family, Namespace, NotificationEvent, Scan, ScanCount
from kvops.models.categories import REGENERATE
from kvops.notifications import outbox
from kvops.web.ranges import Period
from kvops.wording import say

DESIGN = rf"none|ttl:[1-9]\d{{0,9}}|{REGENERATE}(?::\S{{1,80}})?"
"""The syntax of a family's expiry design."""
SHOWN_SCANS = 12
"""Scans. A row of the page shows the counts of at most this many."""
NAMED = 10
"""Families. A notification names at most this many."""

_MARK = "array_position(%(marking)s::bigint[], family_id)"
MARKED = (
    f"count(*) FILTER (WHERE expiration IS NULL AND {_MARK} IS NOT NULL"
    f" AND kvops_has_member(metadata, (%(members)s::text[])[{_MARK}]))"
)
"""SQL: the keys without an expiration that have the mark of their family, as an aggregate over rows of keys."""


def marks(binding: str) -> dict[str, list[int] | list[str]]:
    """The families of a binding that name a mark, and their marks, as parameters of `MARKED`."""
    found = [family for family in Family.objects.filter(binding=binding).order_by("pk") if family.mark]
    return {"marking": [family.pk for family in found], "members": [family.mark for family in found]}


def unmarked(family: Family) -> Q:
    """The keys without the mark that the family names; all keys if it names none."""
    if not family.mark:
        return Q()
    marked = Func(F("metadata"), Value(family.mark), function="kvops_has_member", output_field=BooleanField())
    return ~Q(Coalesce(marked, Value(value=False)))


@dataclass(frozen=True)
class ExpiryRow:
    """A family in a namespace as of its newest scan, with the counts of earlier scans, oldest first."""

    namespace: Namespace
    count: ScanCount
    earlier: Sequence[tuple[datetime, int]]

    @property
    def family(self) -> Family | None:
        """The family; None for unclassified keys."""
        return self.count.family

    @property
    def changes(self) -> Sequence[tuple[datetime, int]]:
        """The counts of earlier scans without those that equal the scan before them."""
        numbers = [number for _at, number in self.earlier]
        return [one for place, one in enumerate(self.earlier) if place == 0 or numbers[place - 1] != one[1]]

    @property
    def percent(self) -> float:
        """The part of the keys that never expires, in percent."""
        return (self.count.without_expiration or 0) * 100 / self.count.keys if self.count.keys else 0.0

    @property
    def without_url(self) -> str:
        """The page of the keys that never expire."""
        return self._keys(expiring="none")

    @property
    def lacking_url(self) -> str:
        """The page of the keys that lack the expiry of the design."""
        return self._keys(expiring="lacking")

    def _keys(self, **filters: str) -> str:
        of = {"family": str(self.family.pk)} if self.family else {"category": self.count.category}
        address = reverse("keys", args=[self.namespace.environment.slug, self.namespace.binding])
        return f"{address}?{urlencode({**of, **filters})}"


@dataclass(frozen=True)
class NamespaceExpiry:
    """A namespace with its newest scan and its families; without a scan, no family."""

    namespace: Namespace
    scan: Scan | None
    rows: Sequence[ExpiryRow]


def by_namespace() -> list[NamespaceExpiry]:
    """Every namespace in the order of clean-up, with the families that have keys: those that lack an expiry first."""
    namespaces = list(Namespace.objects.select_related("environment").order_by("environment__order", "binding"))
    complete = Scan.objects.complete().order_by("-completed_at", "-pk")
    each = [complete.filter(namespace=namespace)[:SHOWN_SCANS] for namespace in namespaces]
    scans = list(each[0].union(*each[1:], all=True).order_by("completed_at", "id")) if each else []
    counts = ScanCount.objects.filter(scan__in=[scan.pk for scan in scans]).exclude(without_expiration=None)
    by_scan: dict[int, list[ScanCount]] = {}
    for one in counts.select_related("family").order_by("-lacking", "-without_expiration", "category", "pattern"):
        by_scan.setdefault(one.scan_id, []).append(one)
    return [
        _of_namespace(namespace, [scan for scan in scans if scan.namespace_id == namespace.pk], by_scan)
        for namespace in namespaces
    ]


def _of_namespace(
    namespace: Namespace, scans: Sequence[Scan], counts: Mapping[int, Sequence[ScanCount]]
) -> NamespaceExpiry:
    """The expiry of a namespace by its scans, oldest first, and their counts."""
    earlier: dict[tuple[str, str], list[tuple[datetime, int]]] = {}
    for scan in scans:
        for one in counts.get(scan.pk, ()):
            if scan.completed_at:
                earlier.setdefault((one.category, one.pattern), []).append(
                    (scan.completed_at, one.without_expiration or 0)
                )
    ordered = counts.get(scans[-1].pk, ()) if scans else ()
    rows = [ExpiryRow(namespace, one, earlier.get((one.category, one.pattern), [])) for one in ordered]
    return NamespaceExpiry(namespace, scans[-1] if scans else None, rows)


def trend(family: Family | None, period: Period) -> list[tuple[Environment, date, int]]:
    """The number of cache keys, or of keys of the family, without an expiration: per environment and day.

    The last scan of a day counts. Bindings of one environment are added up.
    """
    mine = Q(family=family) if family else Q(category=Category.CACHE)
    counted = ScanCount.objects.exclude(without_expiration=None)
    last = Scan.objects.last_of_each_day(period.since).annotate(day=TruncDate("completed_at"))
    last = last.filter(Exists(counted.filter(scan=OuterRef("pk"))))
    environments = {one.pk: one for one in Environment.objects.all()}
    scans = last.values_list("pk", "namespace__environment", "day")
    sums = dict(
        counted.filter(mine, scan__in=[pk for pk, *_place in scans])
        .values_list("scan")
        .annotate(total=Sum("without_expiration"))
    )
    found: dict[tuple[Environment, date], int] = {}
    for pk, environment, day in scans:
        place = (environments[environment], day)
        found[place] = found.get(place, 0) + int(sums.get(pk) or 0)
    ordered = sorted(found.items(), key=lambda one: (one[0][0].order, one[0][1]))
    return [(environment, day, number) for (environment, day), number in ordered]


def report(scan: Scan, *, actor: log.Actor) -> None:
    """Record and announce the families with more keys that lack their expiry than at the scan before, in its merge."""
    before = Scan.objects.complete().filter(namespace=scan.namespace_id).exclude(pk=scan.pk).order_by("-completed_at")
    earlier = before.first()
    known = dict(earlier.counts.values_list("pattern", "lacking")) if earlier else {}
    counts = scan.counts.filter(lacking__gt=0).order_by("-lacking", "pattern")
    grown = [one for one in counts if (one.lacking or 0) > (known.get(one.pattern) or 0)]
    if not grown:
        return
    total = sum(one.lacking or 0 for one in grown)
    patterns: Mapping[str, int] = {one.pattern: one.lacking or 0 for one in grown}
    log.record(
        Action.EXPIRY_LACKING,
        actor=actor,
        environment=scan.namespace.environment.slug,
        subject=f"run:{scan.run_id}",
        subject_label=str(scan.namespace),
        details={"keys": total, "families": {name: patterns[name] for name in list(patterns)[:NAMED]}},
    )
    title = ngettext_lazy(
        "%(namespace)s: %(n)s key lacks the expiry of its family",
        "%(namespace)s: %(n)s keys lack the expiry of their family",
        total,
    )
    line = _("%(family)s: %(n)s without an expiration. Have the application set one, or clear the keys.")
    outbox.post(
        NotificationEvent.KEY_LACKS_EXPIRY,
        subject=f"run:{scan.run_id}",
        title=say(title, namespace=scan.namespace, n=f"{total:,}"),
        lines=[say(line, family=name, n=f"{n:,}") for name, n in list(patterns.items())[:NAMED]],
        link=reverse("expiry"),
        environment=scan.namespace.environment,
    )
