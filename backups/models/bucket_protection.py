"""The protection of each bucket, as of Cloudflare's last answer. KVOps can change none of it."""

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from kvops.models import Environment


class BucketProtection(models.Model):
    """The lock rules of an environment's bucket and its public addresses, or why they are not known.

    `of` is what was asked about: where the environment names something else by now, nothing is known. `read_at` is when
    Cloudflare last answered, by the database's clock. `wider` are the ids of rules that lock more than the copies;
    `deletes` of those by which R2 deletes copies. `expiry`: after how many seconds it deletes those of investigations.
    """

    class Lock(models.TextChoices):
        """What the rules mean for the copies; see `backups.bucket.lock_rules`."""

        HELD = "held", _("locked")
        SHORT = "short", _("locked, but not long enough")
        NARROW = "narrow", _("locked only in part")
        DISABLED = "disabled", _("lock disabled")
        MISSING = "missing", _("not locked")
        UNKNOWN = "unknown", _("not known")

    class Problem(models.TextChoices):
        """Why it is not known, and what to do."""

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
        """Whether anything can be said of the bucket."""
        return self.lock != self.Lock.UNKNOWN

    @property
    def why(self) -> str:
        """Why nothing is known, and what to do; empty when something is."""
        return str(self.Problem(self.problem).label) if self.problem else ""

    @property
    def held(self) -> bool:
        """Whether what is put now stays locked for at least as long as copies are kept."""
        return self.lock == self.Lock.HELD

    @property
    def good(self) -> bool:
        """Whether nobody has to look at it: the copies are locked, nothing else is, and nobody can read them."""
        return self.held and not self.wider and not self.deletes and not self.public
