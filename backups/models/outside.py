"""Settings that changed outside KVOps: backups compared with the backup before, and one key with the last backup.

Values are never here, nor any digest of one.
"""

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from backups.models.generations import Generation
from kvops.models import Category, Namespace, Person, Run
from kvops.names import visible


class OutsideSearchQuerySet(models.QuerySet["OutsideSearch"]):
    """Queries on searches for changes outside KVOps."""

    def shown(self) -> "OutsideSearchQuerySet":
        """Searches that found a change, or that could not compare."""
        return self.filter(Q(changed__gt=0) | Q(new__gt=0) | Q(gone__gt=0) | Q(outcome="not_comparable"))

    def unexplained(self) -> "OutsideSearchQuerySet":
        """Those that a person must still explain. A partial backup is an alarm of its own."""
        return self.shown().filter(acknowledged_at__isnull=True).exclude(reason=OutsideSearch.Reason.PARTIAL)


class OutsideSearch(models.Model):
    """A backup of settings, compared with the verified backup before it: the changes that no operation of KVOps made.

    There is one for each verified encrypted routine backup. `earlier` is the newest older one of the same namespace and
    prefixes. `explained` counts the differing keys that KVOps' own operations explain, `listed` the gone keys that are
    among the unexplained deletions of a scan already.
    """

    class Outcome(models.TextChoices):
        """The result of the search."""

        FIRST = "first", _("first backup of these keys")
        COMPARED = "compared", _("compared")
        NOT_COMPARABLE = "not_comparable", _("not comparable")

    class Reason(models.TextChoices):
        """The reason why the two backups are not comparable."""

        COMPARABLE = "", _("comparable")
        DIGEST_KEY = "digest_key", _("the digests were made with different keys")
        PARTIAL = "partial", _("the backup is partial")

    generation = models.OneToOneField(Generation, on_delete=models.PROTECT, related_name="outside_search")
    earlier = models.ForeignKey(Generation, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    namespace = models.ForeignKey(Namespace, on_delete=models.PROTECT)
    outcome = models.CharField(max_length=20, choices=Outcome)
    reason = models.CharField(max_length=20, choices=Reason, blank=True)
    at = models.DateTimeField(db_default=Now())
    changed = models.BigIntegerField(default=0)
    new = models.BigIntegerField(default=0)
    gone = models.BigIntegerField(default=0)
    explained = models.BigIntegerField(default=0)
    listed = models.BigIntegerField(default=0)
    acknowledged_by = models.ForeignKey(Person, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    acknowledged_at = models.DateTimeField(null=True, blank=True)
    acknowledged_note = models.TextField(blank=True)

    objects = OutsideSearchQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "outside searches"
        constraints = [
            models.CheckConstraint(
                name="outside_compared_with_an_earlier_backup",
                condition=~Q(outcome="compared") | Q(earlier__isnull=False),
            ),
            models.CheckConstraint(
                name="outside_not_comparable_says_why",
                condition=Q(outcome="not_comparable") & ~Q(reason="") | ~Q(outcome="not_comparable") & Q(reason=""),
            ),
            models.CheckConstraint(
                name="outside_found_by_comparing",
                condition=Q(outcome="compared") | Q(changed=0, new=0, gone=0, explained=0, listed=0),
            ),
            models.CheckConstraint(name="outside_not_with_itself", condition=~Q(earlier=F("generation"))),
            models.CheckConstraint(
                name="outside_acknowledged_with_a_note",
                condition=Q(acknowledged_note="", acknowledged_by__isnull=True, acknowledged_at__isnull=True)
                | (~Q(acknowledged_note="") & Q(acknowledged_by__isnull=False, acknowledged_at__isnull=False)),
            ),
        ]
        indexes = [
            models.Index(
                fields=["-id"],
                condition=Q(changed__gt=0) | Q(new__gt=0) | Q(gone__gt=0) | Q(outcome="not_comparable"),
                name="outside_shown",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.namespace} backup {self.generation_id}"

    @property
    def subject(self) -> str:
        """The subject in the audit log."""
        return f"outside:{self.pk}"

    @property
    def found(self) -> int:
        """The number of keys that changed outside KVOps."""
        return self.changed + self.new + self.gone


class OutsideChange(models.Model):
    """A key that changed outside KVOps between two backups: its name and the kind of change, never a value."""

    class Kind(models.TextChoices):
        """The kind of change. A key counts as changed if its value, metadata or expiration differs."""

        CHANGED = "changed", _("changed")
        NEW = "new", _("new")
        GONE = "gone", _("gone")

    search = models.ForeignKey(OutsideSearch, on_delete=models.PROTECT, related_name="changes", db_index=False)
    name = models.TextField(db_collation="C")
    kind = models.CharField(max_length=10, choices=Kind)
    category = models.CharField(max_length=20, choices=Category)
    own_too = models.BooleanField(default=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["search", "name"], name="outside_change_once_per_search")]
        indexes = [models.Index(fields=["name", "search"], name="outside_change_by_name")]

    def __str__(self) -> str:
        return f"{self.name}: {self.kind}"


class SettingComparison(models.Model):
    """One key of settings, compared with the last backup by a run in the worker. The result has no value."""

    class Result(models.TextChoices):
        """The result of the comparison."""

        UNKNOWN = "", _("not compared yet")
        SAME = "same", _("same as in the last backup")
        PUT_BACK = "put_back", _("same as in the last backup, but KVOps changed it since: someone put it back")
        DIFFERENT = "different", _("differs from the last backup")
        NOT_IN_BACKUP = "not_in_backup", _("not in the last backup")
        GONE = "gone", _("in the last backup, and no longer in KV")
        NOWHERE = "nowhere", _("neither in the last backup nor in KV")

    namespace = models.ForeignKey(Namespace, on_delete=models.PROTECT)
    name = models.TextField(db_collation="C")
    generation = models.ForeignKey(Generation, on_delete=models.PROTECT, related_name="setting_comparisons")
    run = models.OneToOneField(Run, on_delete=models.PROTECT, related_name="setting_comparison")
    asked_by = models.ForeignKey(Person, on_delete=models.PROTECT, related_name="+")
    asked_at = models.DateTimeField(db_default=Now())
    result = models.CharField(max_length=20, choices=Result, blank=True)
    explained = models.BooleanField(default=False)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="settingcomparison_finished_has_a_result",
                condition=Q(result="", finished_at__isnull=True) | (~Q(result="") & Q(finished_at__isnull=False)),
            ),
            models.CheckConstraint(
                name="settingcomparison_explains_a_difference",
                condition=Q(explained=False) | Q(result__in=["different", "not_in_backup", "gone"]),
            ),
        ]
        indexes = [models.Index(fields=["namespace", "name", "-id"], name="settingcomparison_by_name")]

    def __str__(self) -> str:
        return f"{self.namespace} {visible(self.name)} and backup {self.generation_id}"
