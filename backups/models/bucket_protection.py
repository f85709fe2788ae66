"""The protection of each bucket, as of Cloudflare's last answer. KVOps can change none of it."""

from datetime import timedelta

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from kvops import timing
from kvops.models import Environment


class BucketProtection(models.Model):
    """The lock rules of an environment's bucket and its public addresses, or the reason why they are not known.

    `of` identifies the bucket that was asked about; if the environment has another bucket now, nothing is known.
    `read_at` is the time of Cloudflare's last answer, by the database's clock. `rules` are those of that answer, also
    while the protection is not known. `wider` are the ids of rules that lock
    other data too, `deletes` the ids of rules that delete backups. `expiry`: R2 deletes investigation backups after
    this many seconds. `proposals`: the same for the proposals of changes, and whether a rule locks them.
    """

    class Lock(models.TextChoices):
        """The effect of the rules on the backups; see `backups.bucket.lock_rules`."""

        HELD = "held", _("locked")
        SHORT = "short", _("locked, but not long enough")
        NARROW = "narrow", _("locked only in part")
        DISABLED = "disabled", _("lock disabled")
        MISSING = "missing", _("not locked")
        UNKNOWN = "unknown", _("not known")

    class Problem(models.TextChoices):
        """The reason why the protection is not known, and the next step."""

        NEVER = "never", _("Cloudflare was not asked yet. It is asked within half an hour, and before each backup.")
        SILENT = "silent", _("Cloudflare did not answer for an hour. It is asked again every five minutes.")
        PERMISSION = (
            "permission",
            _("The read token has no access. Give it the permission “Workers R2 Storage Read” in Cloudflare."),
        )
        NO_BUCKET = (
            "no_bucket",
            _("The environment's account has no such bucket. Correct environments.toml."),
        )
        ANOTHER_ACCOUNT = (
            "another_account",
            _("The R2 endpoint belongs to another account than the environment. Correct environments.toml."),
        )
        REFUSED = "refused", _("Cloudflare's answer could not be understood. Its text is in the audit log.")

    environment = models.OneToOneField(Environment, on_delete=models.CASCADE, related_name="protection")
    of = models.CharField(max_length=500)
    lock = models.CharField(max_length=10, choices=Lock)
    rules = models.JSONField(default=list, blank=True)
    wider = models.JSONField(default=list, blank=True)
    deletes = models.JSONField(default=list, blank=True, db_default=models.Value([], models.JSONField()))
    expiry = models.PositiveBigIntegerField(null=True, blank=True)
    proposals = models.PositiveBigIntegerField(null=True, blank=True)
    proposals_locked = models.BooleanField(default=False, db_default=False)
    public = models.JSONField(default=list, blank=True)
    problem = models.CharField(max_length=20, blank=True)
    read_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="protection_is_known_or_says_why_not",
                condition=(Q(lock="unknown") & ~Q(problem=""))
                | Q(lock__in=["held", "short", "narrow", "disabled", "missing"], problem="", read_at__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.of}: {self.lock}"

    @property
    def known(self) -> bool:
        """Whether the protection is known."""
        return self.lock != self.Lock.UNKNOWN

    @property
    def why(self) -> str:
        """The reason why the protection is not known, and the next step; empty if it is known."""
        return str(self.Problem(self.problem).label) if self.problem else ""

    @property
    def held(self) -> bool:
        """Whether an object that is put now stays locked for at least the retention of backups."""
        return self.lock == self.Lock.HELD

    @property
    def proposals_expire(self) -> bool:
        """Whether R2 itself deletes proposals within 30 days, leaves time to decide and to use them, and locks none."""
        if self.proposals is None or self.proposals_locked:
            return False
        least = timing.DECIDE_WITHIN + timing.USE_WITHIN
        return least < self.proposals <= timedelta(days=timing.CACHE_RETENTION_DAYS).total_seconds()

    @property
    def good(self) -> bool:
        """Whether the bucket needs no attention: the backups are locked, nothing else is, and the bucket is private."""
        return self.held and not self.wider and not self.deletes and not self.public
