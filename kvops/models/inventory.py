"""The inventory: every key name of a namespace as of the newest complete scan. Values are never stored here."""

from datetime import date
from typing import Any

from django.db import models
from django.db.models import F, Q
from django.db.models.expressions import RawSQL
from django.db.models.functions import Now
from django.utils import timezone

from kvops.models.categories import Category, Family
from kvops.models.environments import Namespace
from kvops.models.people import Person
from kvops.models.runs import Run
from kvops.names import after_prefix, storable

# The index of the newest scans is entered once for each namespace and day, however many scans a day has.
_LAST_OF_DAYS = """
SELECT last.id FROM kvops_namespace AS n,
  generate_series(0, (timezone(%s, now())::date - %s::date)) AS day, LATERAL (
    SELECT id FROM kvops_scan WHERE namespace_id = n.id
       AND completed_at >= timezone(%s, (%s::date + day)::timestamp)
       AND completed_at < timezone(%s, (%s::date + day + 1)::timestamp)
     ORDER BY completed_at DESC, id DESC LIMIT 1) AS last
"""


class ScanQuerySet(models.QuerySet["Scan"]):
    """Queries for scans."""

    def last_of_each_day(self, since: date) -> "ScanQuerySet":
        """The last complete scan of each namespace and day, in the current zone, from a day on."""
        zone, first = timezone.get_current_timezone_name(), since.isoformat()
        params = [zone, first, zone, first, zone, first]
        return self.filter(pk__in=RawSQL(_LAST_OF_DAYS, params))  # noqa: S611  (our text, with parameters)

    def complete(self) -> "ScanQuerySet":
        """Scans that changed the inventory."""
        return self.filter(completed_at__isnull=False)

    def newest(self, namespace: Namespace) -> "Scan | None":
        """The newest complete scan of the namespace, or of a prefix of it; it holds the counts."""
        return self.complete().filter(namespace=namespace).order_by("-completed_at", "-pk").first()

    def newest_of_each(self) -> "ScanQuerySet":
        """The newest complete scan of every namespace."""
        mine = self.complete().filter(namespace=models.OuterRef("pk")).order_by("-completed_at", "-pk")
        newest = Namespace.objects.annotate(newest=models.Subquery(mine.values("pk")[:1]))
        return self.filter(pk__in=newest.values("newest"))

    def odd(self) -> "ScanQuerySet":
        """Scans with unexplained deletions or unexpected keys."""
        return self.filter(Q(unexplained__gt=0) | Q(unexpected__gt=0))

    def unexplained(self) -> "ScanQuerySet":
        """Scans with unexplained deletions or unexpected keys that are not acknowledged."""
        return self.odd().filter(acknowledged_at__isnull=True)

    def covering(self, prefix: str) -> "ScanQuerySet":
        """Scans that listed all keys under the prefix."""
        return self.filter(prefix__in=[prefix[:end] for end in range(len(prefix) + 1)])


class Scan(models.Model):
    """One listing of a namespace (or of a prefix of it). It is complete if `completed_at` is set."""

    namespace = models.ForeignKey(Namespace, on_delete=models.PROTECT, related_name="scans")
    run = models.OneToOneField(Run, on_delete=models.PROTECT, related_name="scan")
    prefix = models.TextField(db_collation="C", blank=True)
    created_at = models.DateTimeField(db_default=Now())
    completed_at = models.DateTimeField(null=True, blank=True)
    keys = models.BigIntegerField(default=0)
    added = models.BigIntegerField(default=0)
    changed = models.BigIntegerField(default=0)
    gone = models.BigIntegerField(default=0)
    unstorable = models.BigIntegerField(default=0)
    calls = models.BigIntegerField(default=0)
    unexplained = models.BigIntegerField(default=0)
    unexpected = models.BigIntegerField(default=0, db_default=0)
    acknowledged_by = models.ForeignKey(Person, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    acknowledged_at = models.DateTimeField(null=True, blank=True)
    acknowledged_note = models.TextField(blank=True)

    objects = ScanQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="scan_acknowledged_with_a_note",
                condition=Q(acknowledged_note="", acknowledged_by__isnull=True, acknowledged_at__isnull=True)
                | (~Q(acknowledged_note="") & Q(acknowledged_by__isnull=False, acknowledged_at__isnull=False)),
            ),
        ]
        indexes = [
            models.Index(fields=["namespace", "-completed_at"], name="scan_newest"),
            models.Index(fields=["-id"], condition=Q(unexplained__gt=0) | Q(unexpected__gt=0), name="scan_odd"),
            models.Index(
                fields=["-id"],
                condition=Q(Q(unexplained__gt=0) | Q(unexpected__gt=0), acknowledged_at__isnull=True),
                name="scan_odd_unseen",
            ),
        ]

    def __str__(self) -> str:
        return f"scan {self.pk} of {self.namespace}"


class ScanCount(models.Model):
    """Keys per category and family at the end of a scan. The pages read these counts, never the keys.

    `without_expiration` counts keys that never expire. `lacking` counts those of them whose family is designed to
    expire or to be regenerated (`inventory.expiry`). Scans from before these counts have neither.
    """

    scan = models.ForeignKey(Scan, on_delete=models.CASCADE, related_name="counts")
    category = models.CharField(max_length=20, choices=Category)
    family = models.ForeignKey(Family, on_delete=models.SET_NULL, null=True, blank=True)
    pattern = models.TextField(blank=True)
    keys = models.BigIntegerField()
    without_expiration = models.BigIntegerField(null=True, blank=True)
    lacking = models.BigIntegerField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["scan", "category", "pattern"], name="scan_counts_a_family_once"),
            models.CheckConstraint(
                name="scan_counts_expirations_of_its_keys",
                condition=Q(without_expiration__isnull=True, lacking__isnull=True)
                | Q(
                    without_expiration__isnull=False,
                    lacking__isnull=False,
                    without_expiration__lte=F("keys"),
                    lacking__gte=0,
                    lacking__lte=F("without_expiration"),
                ),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.pattern or self.category}: {self.keys}"


def beginning_with[Rows: models.QuerySet[Any]](found: Rows, prefix: str, name: str = "name") -> Rows:
    """The rows whose `name` begins with a prefix, as a range of the index; none if Postgres cannot hold such a name."""
    if not prefix:
        return found
    if not storable(prefix):
        return found.none()
    beyond = after_prefix(prefix)
    found = found.filter(**{f"{name}__gte": prefix})
    return found if beyond is None else found.filter(**{f"{name}__lt": beyond})


class KeyQuerySet(models.QuerySet["Key"]):
    """Queries for keys, each answered by an index."""

    def under(self, prefix: str) -> "KeyQuerySet":
        """Keys with the prefix; none if Postgres cannot hold such a name."""
        return beginning_with(self, prefix)

    def after(self, name: str) -> "KeyQuerySet":
        """Keys whose name comes after this one."""
        return self.filter(name__gt=name) if storable(name) else self

    def sensitive(self) -> "KeyQuerySet":
        """Keys whose values are masked and whose backups need encryption."""
        return self.filter(category__in=[category for category in Category if category.sensitive])

    def expiring(self) -> "KeyQuerySet":
        """Keys that have an expiration."""
        return self.filter(expiration__isnull=False)


class Key(models.Model):
    """One key of the inventory. Names compare byte by byte (collation "C"); metadata is the API's own JSON text.

    Names are found by a part with the trigram index of migration 0002.

    Only the merge of a scan, a new policy and KVOps' own proven changes write here, under the lock of the namespace.
    Family and scan have no foreign key in the database: checking it row by row takes longer than the rest of a merge of
    millions.
    """

    namespace = models.ForeignKey(Namespace, on_delete=models.PROTECT, db_index=False)
    name = models.TextField(db_collation="C")
    expiration = models.BigIntegerField(null=True, blank=True)
    metadata = models.TextField(null=True, blank=True)  # noqa: DJ001  (absent and "" differ)
    family = models.ForeignKey(
        Family, on_delete=models.SET_NULL, null=True, blank=True, db_index=False, db_constraint=False
    )
    category = models.CharField(max_length=20, choices=Category, default=Category.UNCLASSIFIED)
    first_seen = models.ForeignKey(Scan, on_delete=models.PROTECT, db_index=False, db_constraint=False)

    objects = KeyQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["namespace", "name"], name="key_once_per_namespace"),
        ]
        indexes = [
            models.Index(fields=["namespace", "category", "name"], name="key_by_category"),
            models.Index(fields=["namespace", "family", "name"], name="key_by_family"),
            models.Index(fields=["namespace", "name"], condition=Q(expiration__isnull=False), name="key_expiring"),
            models.Index(fields=["namespace", "expiration", "name"], name="key_by_expiration"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_sensitive(self) -> bool:
        """Whether its value is masked, by the category that the inventory has for it."""
        return Category(self.category).sensitive


class UnexplainedDeletion(models.Model):
    """A key that a scan found gone. KVOps did not delete it, and its last known expiration had not passed."""

    scan = models.ForeignKey(Scan, on_delete=models.CASCADE, related_name="unexplained_deletions", db_index=False)
    name = models.TextField(db_collation="C")
    expiration = models.BigIntegerField(null=True, blank=True)
    category = models.CharField(max_length=20, choices=Category)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["scan", "name"], name="unexplained_once_per_scan")]
        indexes = [models.Index(fields=["name", "scan"], name="unexplained_by_name")]

    def __str__(self) -> str:
        return self.name


class UnexpectedKey(models.Model):
    """A new key of a legacy family, or under a prefix that a clean-up emptied, that KVOps did not write.

    `Scan.unexpected` has the number of all; only the first `inventory.merge.UNEXPECTED_SHOWN` names are kept.
    """

    scan = models.ForeignKey(Scan, on_delete=models.CASCADE, related_name="unexpected_keys", db_index=False)
    name = models.TextField(db_collation="C")
    expiration = models.BigIntegerField(null=True, blank=True)
    category = models.CharField(max_length=20, choices=Category)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["scan", "name"], name="unexpected_once_per_scan")]
        indexes = [models.Index(fields=["name", "scan"], name="unexpected_by_name")]

    def __str__(self) -> str:
        return self.name


class StagedKey(models.Model):
    """The keys a running scan has listed so far, in an unlogged table. The merge reads all of them, then empties it."""

    scan = models.ForeignKey(Scan, on_delete=models.CASCADE, db_index=False, db_constraint=False)
    name = models.TextField(db_collation="C")
    expiration = models.BigIntegerField(null=True, blank=True)
    metadata = models.TextField(null=True, blank=True)  # noqa: DJ001

    class Meta:
        constraints = [
            models.CheckConstraint(name="staged_name_not_empty", condition=~Q(name="")),
        ]

    def __str__(self) -> str:
        return self.name
