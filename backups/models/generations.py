"""Generations: backups in R2, with the digests computed from KV's answers. Values are never here."""

from datetime import timedelta

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from audit import log
from kvops import timing
from kvops.models import Category, Environment, Namespace, Notification, Person, Read, Run
from kvops.prefixes import patterns
from kvops.refusals import Sentence
from kvops.wording import spoken, stored

_PLACE = Q(endpoint=F("environment__r2_endpoint"), account_id=F("environment__account_id"))
IN_CURRENT_BUCKET = (Q(endpoint="") | _PLACE) & Q(bucket=F("environment__r2_bucket"))


class GenerationQuerySet(models.QuerySet["Generation"]):
    """Queries on backups."""

    def verified(self) -> "GenerationQuerySet":
        """Verified backups."""
        return self.filter(status=Generation.Status.VERIFIED)

    def once_verified(self) -> "GenerationQuerySet":
        """Backups that were verified at some time. Their digests are of KV's answer, whatever became of the objects."""
        return self.filter(verified_at__isnull=False)

    def here(self) -> "GenerationQuerySet":
        """Backups in the current bucket of their environment; the others cannot be read. See `Generation.is_here`."""
        return self.filter(IN_CURRENT_BUCKET)

    def there(self) -> "GenerationQuerySet":
        """Backups that are neither deleted nor being deleted."""
        return self.exclude(status__in=Generation.GOING)

    def whole(self) -> "GenerationQuerySet":
        """Complete backups that are not damaged."""
        return self.filter(status__in=[Generation.Status.COMPLETE, Generation.Status.VERIFIED])

    def verifiable(self) -> "GenerationQuerySet":
        """Complete backups: they can be verified. A verification that passes heals a damaged one."""
        return self.filter(status__in=Generation.VERIFIABLE)

    def of_kv(self) -> "GenerationQuerySet":
        """Backups of KV. Master data is left out, because its keys are made from rows."""
        return self.exclude(purpose=Generation.Purpose.MASTERS)

    def lasting(self) -> "GenerationQuerySet":
        """Backups whose dates the policy decides. See `Generation.is_lasting`."""
        return self.exclude(purpose=Generation.Purpose.INVESTIGATION)

    def newest_of_each(self) -> "GenerationQuerySet":
        """The newest backup of each namespace and set of prefixes, in any status."""
        return self.order_by("namespace_id", "prefixes", "-id").distinct("namespace_id", "prefixes")

    def holding(self, name: str) -> "GenerationQuerySet":
        """Finished backups with a value of the key."""
        finished = self.of_kv().there().exclude(status=Generation.Status.WRITING)
        return finished.filter(entries__name=name, entries__outcome=GenerationEntry.Outcome.KEPT)


class Generation(models.Model):
    """One backup of one prefix of a namespace.

    writing -> complete | partial
    complete -> verified | damaged
    verified -> verified (again) | damaged
    damaged -> verified                      (a verification that began after the damage was found read all of it)
    partial | complete | verified | damaged -> deleting   (by the run of an approved prune, or of an investigation)
    deleting -> deleted                                   (none of its objects is left in the store)

    No rule accepts a `partial` backup (a key vanished or could not be read) or a `damaged` one. An encrypted backup
    names its age recipients and the id of the key of its digests. The database refuses settings and unclassified keys
    without encryption.

    A backup of master data holds rows of D1, each as the key that its dataset gives it. `source` is the origin of the
    rows, `tables` has each table with its number of rows. The namespace is that of the keys.
    With `exact`, the only prefix is the whole name of the only key.

    The first backup after a rotation of the key is digested with the older key too (`older_digest_key`), so that it can
    be compared with the backup before.

    The bucket is the one of this name at `endpoint`, in the account `account_id`. The endpoint's host also names R2's
    jurisdiction. A backup from before these were recorded has neither, and is known by the bucket's name alone.
    """

    class Status(models.TextChoices):
        """The state of the backup, and how far it can be trusted."""

        WRITING = "writing", _("being written")
        PARTIAL = "partial", _("partial")
        COMPLETE = "complete", _("complete, not verified")
        VERIFIED = "verified", _("verified")
        DAMAGED = "damaged", _("damaged")
        DELETING = "deleting", _("being deleted")
        DELETED = "deleted", _("deleted")

    class Purpose(models.TextChoices):
        """The purpose of the backup."""

        ROUTINE = "routine", _("routine")
        CLEANUP = "cleanup", _("clean-up")
        RESTORE = "restore", _("backup before a restore")
        MASTERS = "masters", _("master data of D1")
        INVESTIGATION = "investigation", _("investigation")
        CHANGE = "change", _("backup before a change")

    OF_GIVEN_NAMES = (Purpose.CLEANUP, Purpose.RESTORE, Purpose.CHANGE)
    """Purposes whose names are given, not listed."""
    COMPARABLE = (Status.COMPLETE, Status.VERIFIED, Status.PARTIAL)
    VERIFIABLE = (Status.COMPLETE, Status.VERIFIED, Status.DAMAGED)
    """States of a backup that a verification can read."""
    GOING = (Status.DELETING, Status.DELETED)
    """States of a backup that nothing can rely on any more."""

    environment = models.ForeignKey(Environment, on_delete=models.PROTECT)
    namespace = models.ForeignKey(Namespace, on_delete=models.PROTECT)
    prefixes = models.JSONField()
    category = models.CharField(max_length=20, choices=Category)
    patterns = models.JSONField(default=list)
    exact = models.BooleanField(default=False, db_default=False)
    purpose = models.CharField(max_length=20, choices=Purpose, default=Purpose.ROUTINE)
    source = models.CharField(max_length=500, blank=True, default="", db_default="")
    tables = models.JSONField(blank=True, default=list, db_default=models.Value([], models.JSONField()))
    read = models.CharField(max_length=10, choices=Read, default=Read.BULK)
    run = models.OneToOneField(Run, on_delete=models.PROTECT, related_name="generation")
    verify_run = models.ForeignKey(
        Run, on_delete=models.PROTECT, null=True, blank=True, related_name="verified_generations"
    )
    made_by = models.ForeignKey(Person, on_delete=models.PROTECT, null=True, blank=True)
    actor = models.CharField(max_length=200)

    status = models.CharField(max_length=20, choices=Status, default=Status.WRITING)
    recipients = models.JSONField(default=list)
    digest_key = models.CharField(max_length=16, blank=True)
    older_digest_key = models.CharField(max_length=16, blank=True, default="", db_default="")
    bucket = models.CharField(max_length=100)
    endpoint = models.CharField(max_length=200, blank=True, default="", db_default="")
    account_id = models.CharField(max_length=64, blank=True, default="", db_default="")
    stem = models.CharField(max_length=1024)
    manifest_key = models.CharField(max_length=1024, blank=True)
    manifest_sha256 = models.CharField(max_length=64, blank=True)
    digest_root = models.CharField(max_length=64, blank=True)
    keys = models.BigIntegerField(default=0)
    bytes = models.BigIntegerField(default=0)
    expired = models.BigIntegerField(default=0)
    vanished = models.BigIntegerField(default=0)
    calls = models.BigIntegerField(default=0)
    started_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True, blank=True)
    verified_at = models.DateTimeField(null=True, blank=True)
    problem = models.CharField(max_length=1000, blank=True)
    problem_sentence = models.JSONField(default=dict, db_default=models.Value({}, models.JSONField()), blank=True)
    retain_until = models.DateTimeField()
    deleted_at = models.DateTimeField(null=True, blank=True)

    objects = GenerationQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["bucket", "stem"], name="generation_name_once"),
            models.CheckConstraint(
                name="generation_kept_14_days",
                condition=Q(purpose="investigation")
                | Q(retain_until__gte=F("started_at") + models.Value(timedelta(days=timing.RETENTION_DAYS))),
            ),
            models.CheckConstraint(
                name="generation_finished_has_a_manifest",
                condition=Q(status="writing", finished_at__isnull=True)
                | (~Q(status="writing") & Q(finished_at__isnull=False) & ~Q(manifest_sha256="") & ~Q(digest_root="")),
            ),
            models.CheckConstraint(
                name="generation_verified_has_a_date", condition=~Q(status="verified") | Q(verified_at__isnull=False)
            ),
            models.CheckConstraint(
                name="generation_deleted_has_a_date",
                condition=Q(status="deleted", deleted_at__isnull=False)
                | (~Q(status="deleted") & Q(deleted_at__isnull=True)),
            ),
            models.CheckConstraint(
                name="generation_whole_lost_nothing", condition=~Q(status__in=["complete", "verified"]) | Q(vanished=0)
            ),
            models.CheckConstraint(
                name="generation_of_masters_names_its_source",
                condition=Q(purpose="masters") & ~Q(source="") | ~Q(purpose="masters") & Q(source=""),
            ),
            models.CheckConstraint(
                name="generation_encrypted_has_a_digest_key",
                condition=Q(recipients=[], digest_key="") | (~Q(recipients=[]) & ~Q(digest_key="")),
            ),
            models.CheckConstraint(
                name="generation_of_secrets_is_encrypted",
                condition=Q(status="writing") | Q(category__in=["cache", "legacy"]) | ~Q(recipients=[]),
            ),
        ]
        indexes = [
            models.Index(fields=["namespace", "-id"], name="generation_newest"),
            models.Index(fields=["status", "-id"], name="generation_by_status"),
            models.Index(fields=["finished_at"], name="generation_by_end"),
            models.Index(fields=["deleted_at"], name="generation_by_deletion"),
            # Most backups of an old installation were deleted; pages about those that exist pass over them.
            models.Index(fields=["id"], condition=~Q(status__in=["deleting", "deleted"]), name="generation_there"),
            models.Index(fields=["namespace", "started_at"], condition=Q(purpose="cleanup"), name="generation_cleanup"),
            # Few backups are encrypted; the ages of settings are read from the digests of these.
            models.Index(fields=["namespace"], condition=~Q(digest_key=""), name="generation_digested"),
            models.Index(fields=["namespace"], condition=~Q(older_digest_key=""), name="generation_redigested"),
        ]

    def __str__(self) -> str:
        return self.stem

    @property
    def audited(self) -> log.Subject:
        """The subject of the backup in the audit log."""
        return log.subject("generation", self.pk, self.stem, environment=self.environment.slug)

    @property
    def shown_prefixes(self) -> list[str]:
        """The prefixes as people read them; an exact key without a star."""
        return patterns(self.prefixes, exact=self.exact)

    @property
    def why(self) -> Sentence:
        """The problem as a sentence."""
        return stored(self.problem, self.problem_sentence)

    @property
    def shown_problem(self) -> str:
        """The problem in the reader's language."""
        return spoken(self.why)

    @property
    def work(self) -> Run:
        """The current or last run of the backup: its export, later its verification."""
        return self.verify_run or self.run

    @property
    def encrypted(self) -> bool:
        """Whether the data objects are encrypted."""
        return bool(self.recipients)

    @property
    def is_lasting(self) -> bool:
        """Whether the policy decides its dates. The backup of an investigation ends with it."""
        return self.purpose != Generation.Purpose.INVESTIGATION

    @property
    def is_here(self) -> bool:
        """Whether it is in its environment's bucket of today; one of the same name in another account is another."""
        now = self.environment
        known = not self.endpoint or (self.endpoint, self.account_id) == (now.r2_endpoint, now.account_id)
        return known and self.bucket == now.r2_bucket

    def object_keys(self) -> list[str]:
        """The names of the data objects, in order."""
        stored = self.parts.order_by("number").values_list("stored", flat=True)
        return [part["key"] for parts in stored for part in parts]

    def every_object(self) -> list[str]:
        """The names of all objects of a finished backup, in the order they were written, the manifest last."""
        stored = self.parts.order_by("number").values_list("stored", flat=True)
        data = [key for parts in stored for part in parts for key in (part["key"], part["digests_key"])]
        return [*data, f"{self.stem}.RESTORE.md", self.manifest_key]


class GenerationPart(models.Model):
    """One data object of a backup, and its api-only sibling; `stored` has the manifest's description of both."""

    generation = models.ForeignKey(Generation, on_delete=models.CASCADE, related_name="parts")
    number = models.PositiveIntegerField()
    object_key = models.CharField(max_length=1024)
    sha256 = models.CharField(max_length=64)
    size = models.BigIntegerField()
    keys = models.BigIntegerField()
    digest_root = models.CharField(max_length=64)
    digests_key = models.CharField(max_length=1024)
    digests_sha256 = models.CharField(max_length=64)
    api_only_key = models.CharField(max_length=1024, blank=True)
    api_only_sha256 = models.CharField(max_length=64, blank=True)
    api_only_keys = models.BigIntegerField(default=0)
    first_index = models.BigIntegerField()
    last_index = models.BigIntegerField()
    stored = models.JSONField(default=list)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["generation", "number"], name="part_number_once")]

    def __str__(self) -> str:
        return self.object_key


class GenerationEntry(models.Model):
    """One name of a backup, frozen before the export; `digest` is set when KV's answer was read."""

    class Outcome(models.TextChoices):
        """The result of the export for the name."""

        PLANNED = "planned", _("not read yet")
        KEPT = "kept", _("in the backup")
        EXPIRED = "expired", _("expired meanwhile")
        VANISHED = "vanished", _("vanished meanwhile")
        UNREADABLE = "unreadable", _("could not be read")

    generation = models.ForeignKey(Generation, on_delete=models.CASCADE, related_name="entries")
    index = models.BigIntegerField()
    name = models.TextField(db_collation="C")
    expiration = models.BigIntegerField(null=True, blank=True)
    outcome = models.CharField(max_length=10, choices=Outcome, default=Outcome.PLANNED)
    digest = models.BinaryField(null=True, blank=True)
    older_digest = models.BinaryField(null=True, blank=True)
    size = models.BigIntegerField(null=True, blank=True)

    class Meta:
        verbose_name_plural = "generation entries"
        constraints = [
            models.UniqueConstraint(fields=["generation", "index"], name="generation_index_once"),
            models.UniqueConstraint(fields=["generation", "name"], name="generation_name_of_key_once"),
            models.CheckConstraint(
                name="generation_entry_kept_has_digest",
                condition=Q(outcome="kept", digest__isnull=False) | (~Q(outcome="kept") & Q(digest__isnull=True)),
            ),
        ]

    def __str__(self) -> str:
        return self.name


class PlainDump(models.Model):
    """A plain file that a command wrote. It is on the to-do list until its encrypted place is recorded."""

    namespace = models.ForeignKey(Namespace, on_delete=models.PROTECT)
    prefixes = models.JSONField()
    host = models.CharField(max_length=200)
    path = models.CharField(max_length=1000)
    sha256 = models.CharField(max_length=64)
    keys = models.BigIntegerField()
    bytes = models.BigIntegerField()
    actor = models.CharField(max_length=200)
    at = models.DateTimeField(db_default=Now())
    kept_at = models.CharField(max_length=300, blank=True)
    kept_by = models.CharField(max_length=200, blank=True)

    def __str__(self) -> str:
        return f"{self.host}:{self.path}"

    @property
    def audited(self) -> log.Subject:
        """The subject of the plain file in the audit log."""
        return log.subject("dump", self.pk, str(self)[-200:], environment=self.namespace.environment.slug)


class BackupShare(models.Model):
    """The first sharing of a backup: a message that the channel accepted, or a person's own statement.

    There is one per backup and it never changes, because it is part of the evidence of the deletion.
    """

    generation = models.OneToOneField(Generation, on_delete=models.PROTECT, related_name="share")
    place = models.CharField(max_length=500)
    notification = models.ForeignKey(Notification, on_delete=models.PROTECT, null=True, blank=True)
    by = models.ForeignKey(Person, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="share_by_a_message_or_a_person",
                condition=Q(notification__isnull=False, by__isnull=True)
                | Q(notification__isnull=True, by__isnull=False),
            ),
            models.CheckConstraint(name="share_says_where", condition=~Q(place="")),
        ]

    def __str__(self) -> str:
        return f"backup {self.generation_id}: {self.place}"
