"""The objects of each bucket as of its newest listing, and the protection of each bucket."""

from datetime import timedelta

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from backups.models.generations import Generation
from kvops import timing
from kvops.models import Environment, Person, Run


class StoredObjectQuerySet(models.QuerySet["StoredObject"]):
    """Queries on objects."""

    def needing_a_look(self) -> "StoredObjectQuerySet":
        """Objects that are no unchanged part of a backup and have no person's note."""
        return self.filter(~Q(status="known"), noted_at=None)


class StoredObject(models.Model):
    """One object under an environment's prefix, and its backup.

    `size`, `etag` and `modified_at` are the store's answer at the newest listing. `written_size` and `written_etag` are
    its answer when KVOps put the object, or when a verification read it. The ETag tells listings apart; it is
    no digest of the content. An empty `written_etag` is not known: a listing never sets it.

    `status_at` is the time of the status. `seen_at` is the time of the listing that last changed the row; for an absent
    object it is the last time the object was listed. A note falls if the status or the content changes.
    """

    class Status(models.TextChoices):
        """The status of the object at the newest listing."""

        KNOWN = "known", _("part of a backup")
        UNKNOWN = "unknown", _("part of no backup")
        MISSING = "missing", _("missing from the bucket")
        CHANGED = "changed", _("changed since it was written")
        GONE = "gone", _("part of no backup, deleted")

    WRONG = (Status.MISSING, Status.CHANGED)
    """Statuses of an object whose backup is not in the bucket as it was written."""

    environment = models.ForeignKey(Environment, on_delete=models.PROTECT)
    key = models.CharField(max_length=1024, db_collation="C")
    size = models.BigIntegerField(null=True, blank=True)
    etag = models.CharField(max_length=200, blank=True)
    modified_at = models.DateTimeField(null=True, blank=True)
    seen_at = models.DateTimeField(null=True, blank=True)
    generation = models.ForeignKey(Generation, on_delete=models.PROTECT, null=True, blank=True)
    status = models.CharField(max_length=10, choices=Status)
    status_at = models.DateTimeField(db_default=Now())
    written_size = models.BigIntegerField(null=True, blank=True)
    written_etag = models.CharField(max_length=200, blank=True)
    note = models.CharField(max_length=2000, blank=True, db_default="")
    noted_by = models.ForeignKey(Person, on_delete=models.PROTECT, null=True, blank=True)
    noted_at = models.DateTimeField(null=True, blank=True)

    objects = StoredObjectQuerySet.as_manager()

    @property
    def encrypted(self) -> bool:
        """Whether the object holds encrypted values, whose exact size is not shown."""
        return self.key.endswith(".age")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["environment", "key"], name="stored_object_once"),
            models.CheckConstraint(
                name="stored_object_of_a_backup_names_it",
                condition=Q(status__in=["unknown", "gone"]) | Q(generation__isnull=False),
            ),
            models.CheckConstraint(
                name="stored_object_is_missing_or_was_seen",
                condition=Q(status="missing") | Q(seen_at__isnull=False, size__isnull=False),
            ),
            models.CheckConstraint(
                name="stored_object_note_has_person_and_time",
                condition=Q(note="", noted_by__isnull=True, noted_at__isnull=True)
                | (~Q(note="") & Q(noted_by__isnull=False, noted_at__isnull=False)),
            ),
        ]
        indexes = [
            models.Index(fields=["key", "id"], name="stored_object_by_key"),
            models.Index(
                fields=["key", "id"], name="stored_object_to_look_at", condition=~Q(status="known") & Q(noted_at=None)
            ),
            models.Index(
                fields=["environment", "status"],
                name="stored_object_to_count",
                condition=~Q(status="known") & Q(noted_at=None),
            ),
            models.Index(fields=["status", "key", "id"], name="stored_object_by_status"),
        ]

    def __str__(self) -> str:
        return self.key


class StagedObject(models.Model):
    """One line of a listing in progress. The table is unlogged: after a crash of Postgres the listing starts again."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE)
    key = models.CharField(max_length=1024, db_collation="C")
    size = models.BigIntegerField()
    etag = models.CharField(max_length=200)
    modified_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return self.key


class UnfinishedUpload(models.Model):
    """An unfinished multipart upload under an environment's prefix, as of the newest listing.

    KVOps puts each object in one piece, so another program began it. By its default rule, R2 aborts it after 7 days.
    """

    environment = models.ForeignKey(Environment, on_delete=models.CASCADE, related_name="unfinished_uploads")
    key = models.CharField(max_length=1024, db_collation="C")
    upload_id = models.CharField(max_length=1024)
    begun_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["environment", "key", "upload_id"], name="unfinished_upload_once"),
        ]

    def __str__(self) -> str:
        return self.key


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
        TOKEN = (
            "token",
            _("Cloudflare does not know the read token (401). Store a valid one where read_token points."),
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
