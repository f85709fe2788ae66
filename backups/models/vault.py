"""Backups kept in 1Password: one Document each. Its content is never here, only its SHA-256."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from backups.models.generations import Generation
from kvops.models import Person, Run


class VaultDocument(models.Model):
    """A backup in a 1Password vault: the Document of its one object, with the recovery steps in its notes.

    waiting -> kept              (put into the vault and read back)
    kept -> gone | changed       (a later look did not find it, or found another content)
    gone | changed -> kept       (found again as it was, or put again)

    While it is waiting, its run does the work; if the run failed, its error is the reason why the backup is not kept.
    `supersedes` is the Document of an earlier backup of the same keys. It stays in the vault until a person removes it.
    """

    class State(models.TextChoices):
        """The state of the Document."""

        WAITING = "waiting", _("not in 1Password yet")
        KEPT = "kept", _("kept in 1Password")
        GONE = "gone", _("missing from 1Password")
        CHANGED = "changed", _("another content in 1Password")

    STORED = (State.KEPT, State.GONE, State.CHANGED)

    generation = models.ForeignKey(Generation, on_delete=models.PROTECT, related_name="documents")
    vault = models.CharField(max_length=100)
    run = models.ForeignKey(Run, on_delete=models.PROTECT, null=True, blank=True, related_name="documents")
    person = models.ForeignKey(Person, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    actor = models.CharField(max_length=200)
    asked_at = models.DateTimeField(db_default=Now())

    state = models.CharField(max_length=10, choices=State, default=State.WAITING)
    item = models.CharField(max_length=64, blank=True)
    title = models.CharField(max_length=1024, blank=True)
    sha256 = models.CharField(max_length=64, blank=True)
    size = models.BigIntegerField(default=0)
    kept_at = models.DateTimeField(null=True, blank=True)
    seen_at = models.DateTimeField(null=True, blank=True)
    lost_at = models.DateTimeField(null=True, blank=True)
    supersedes = models.ForeignKey(
        "self", on_delete=models.PROTECT, null=True, blank=True, related_name="superseded_by"
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["generation", "vault"], name="document_once_per_vault"),
            models.CheckConstraint(name="document_names_its_vault", condition=~Q(vault="")),
            models.CheckConstraint(
                name="document_state_is_known", condition=Q(state__in=["waiting", "kept", "gone", "changed"])
            ),
            models.CheckConstraint(
                name="document_waiting_has_a_run", condition=~Q(state="waiting") | Q(run__isnull=False)
            ),
            models.CheckConstraint(
                name="document_kept_is_known_by_its_item",
                condition=Q(state="waiting", kept_at__isnull=True)
                | (
                    ~Q(state="waiting")
                    & Q(kept_at__isnull=False, seen_at__isnull=False)
                    & ~(Q(item="") | Q(title="") | Q(sha256=""))
                ),
            ),
            models.CheckConstraint(
                name="document_lost_has_a_time",
                condition=Q(state__in=["gone", "changed"], lost_at__isnull=False)
                | (~Q(state__in=["gone", "changed"]) & Q(lost_at__isnull=True)),
            ),
        ]
        indexes = [models.Index(fields=["vault", "-id"], name="document_newest")]

    def __str__(self) -> str:
        return self.title or f"backup {self.generation_id}"

    @property
    def look(self) -> str:
        """The name of the state in `operations.registry.STATES`."""
        failed = self.state == self.State.WAITING and self.run is not None and not self.run.is_open
        return "document_failed" if failed else f"document_{self.state}"

    @property
    def reference(self) -> str:
        """The address of the Document for 1Password's command line; empty while it is waiting."""
        return f"op://{self.vault}/{self.item}" if self.item else ""
