"""Bulk changes of caches: which keys were chosen, and the expiration or the mark that each of them gets."""

from datetime import UTC, datetime

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from backups.models.restores import Restore
from kvops.models import Family, Person

SHORTEST = 3_600
"""Seconds. A key lives at least this long from the start of the run, so that every write can be read back."""
CLOSEST = 900
"""Seconds. Nothing more is written when the expiration is closer: the keys could go before they are read back."""
LONGEST = 366 * 24 * 3_600
"""Seconds. A later expiration is no design of a cache."""
MOST = 100_000
"""Keys. A bulk change is of at most this many."""


class BulkChange(models.Model):
    """What a bulk change writes, beside its `Restore`, whose states, names and chunks it has.

    An expiration is `lifetime` seconds after the start of the run, or the time `until`. The start stores the time in
    `expiration`, and every key gets exactly that one. A mark sets the member `member` of the metadata to `value`. The
    value of a key is never changed, and never in this row. `chosen_names` and `chosen_sha256` are of the names that
    were chosen from the inventory; those that were gone when they were backed up are left out of the change.
    """

    class Scope(models.TextChoices):
        """The keys of the family that are chosen."""

        ALL = "", _("all keys")
        NEVER = "none", _("only keys without an expiration")
        LACKING = "lacking", _("only keys that lack the expiry of the family")

    restore = models.OneToOneField(Restore, on_delete=models.PROTECT, primary_key=True, related_name="bulk")
    operation = models.CharField(max_length=10, choices=Restore.Operation.choices[1:])
    family = models.ForeignKey(Family, on_delete=models.PROTECT, related_name="bulk_changes")
    scope = models.CharField(max_length=10, choices=Scope, blank=True)
    chosen_names = models.BigIntegerField()
    chosen_sha256 = models.CharField(max_length=64)
    lifetime = models.PositiveIntegerField(null=True, blank=True)
    until = models.BigIntegerField(null=True, blank=True)
    member = models.CharField(max_length=80, blank=True)
    value = models.CharField(max_length=100, blank=True)
    expiration = models.BigIntegerField(null=True, blank=True)

    repeats = models.ForeignKey("self", on_delete=models.PROTECT, null=True, blank=True, related_name="repeated_by")
    accepted_at = models.DateTimeField(null=True, blank=True)
    accepted_by = models.ForeignKey(Person, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    accepted_note = models.TextField(blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="bulk_sets_one_thing",
                condition=Q(operation="expiration", member="", value="")
                & (Q(lifetime__isnull=False, until__isnull=True) | Q(lifetime__isnull=True, until__isnull=False))
                | Q(operation="mark", lifetime__isnull=True, until__isnull=True, expiration__isnull=True)
                & ~Q(member="")
                & ~Q(value=""),
            ),
            models.CheckConstraint(
                name="bulk_lifetime_is_usable",
                condition=Q(lifetime__isnull=True) | Q(lifetime__gte=SHORTEST, lifetime__lte=LONGEST),
            ),
            models.CheckConstraint(
                name="bulk_is_of_a_countable_list", condition=Q(chosen_names__gte=1, chosen_names__lte=MOST)
            ),
            models.CheckConstraint(
                name="bulk_accepted_by_whom_and_why",
                condition=Q(accepted_at__isnull=True, accepted_by__isnull=True, accepted_note="")
                | (Q(accepted_at__isnull=False, accepted_by__isnull=False) & ~Q(accepted_note="")),
            ),
        ]

    def __str__(self) -> str:
        return str(self.restore)

    @property
    def expires_at(self) -> datetime | None:
        """The expiration that every key gets; None before the start, and for a mark."""
        return None if self.expiration is None else datetime.fromtimestamp(self.expiration, UTC)

    @property
    def ends_at(self) -> datetime | None:
        """The absolute time that was asked for; None for a lifetime, and for a mark."""
        return None if self.until is None else datetime.fromtimestamp(self.until, UTC)

    @property
    def number(self) -> int:
        """The number of keys: those that the backup holds, or before it those that were chosen."""
        return self.restore.names or self.chosen_names

    @property
    def gone(self) -> int:
        """The number of chosen names that the backup does not hold."""
        return self.chosen_names - self.restore.names if self.restore.names else 0
