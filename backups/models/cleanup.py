"""Clean-up: the request, and one stage per environment with its state."""

from collections.abc import Iterable
from typing import Any

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from backups.models.generations import Generation
from backups.models.integrity import Check
from kvops.inventory.selection import Selection
from kvops.models import ApprovalRequest, Category, Environment, Family, Namespace, Person, ReferenceSearch, Run, Scan
from kvops.names import visible
from kvops.wording import spoken, stored


class CleanupRequest(models.Model):
    """The intent to delete one prefix of one family in one binding, or one key, in every environment in order.

    With `exact`, `prefix` is the whole name of the one key; for settings `exact` is required. If a command asked for it
    and not a person, `asked_by` names the command.
    """

    binding = models.CharField(max_length=100)
    prefix = models.TextField(db_collation="C")
    exact = models.BooleanField(default=False)
    only = models.JSONField(default=dict, blank=True, db_default=models.Value({}, models.JSONField()))
    """The conditions of a `kvops.inventory.selection.Selection`: which keys under the prefix; empty for all."""
    clearing = models.ForeignKey(
        "backups.Clearing", on_delete=models.PROTECT, null=True, blank=True, related_name="requests"
    )
    """The rule of a scheduled clearing, if one of its rounds asked for it. People take no step of it."""
    family = models.ForeignKey(Family, on_delete=models.PROTECT)
    category = models.CharField(max_length=20, choices=Category)
    reason = models.TextField()
    requested_by = models.ForeignKey(Person, on_delete=models.PROTECT, null=True, blank=True)
    asked_by = models.CharField(max_length=200, blank=True, default="", db_default="")
    ticket = models.CharField(max_length=500, blank=True, default="", db_default="")
    """The address of the team's ticket."""
    frozen_until = models.DateTimeField(null=True, blank=True)
    """Until when the writers of the keys are frozen; no deletion starts after it."""
    frozen_by = models.CharField(max_length=200, blank=True, default="", db_default="")
    """The person or team that froze the writers."""
    created_at = models.DateTimeField(db_default=Now())
    ended_at = models.DateTimeField(null=True, blank=True)
    ended_by = models.CharField(max_length=200, blank=True)
    completed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["binding", "family"],
                condition=Q(ended_at__isnull=True, completed_at__isnull=True, clearing__isnull=True),
                name="cleanup_one_open_per_family",
            ),
            models.CheckConstraint(
                name="cleanup_is_asked_for_by_somebody",
                condition=Q(requested_by__isnull=False, asked_by="") | Q(requested_by__isnull=True) & ~Q(asked_by=""),
            ),
            models.CheckConstraint(
                name="cleanup_of_settings_is_of_one_key", condition=~Q(category="settings") | Q(exact=True)
            ),
            models.CheckConstraint(
                name="cleanup_chooses_among_caches", condition=Q(only={}) | Q(category="cache", exact=False)
            ),
            models.CheckConstraint(
                name="cleanup_ticket_is_an_address", condition=Q(ticket="") | Q(ticket__regex=r"^https?://[^\s]+$")
            ),
            models.CheckConstraint(
                name="cleanup_writers_are_frozen_by_somebody",
                condition=Q(frozen_until__isnull=True, frozen_by="") | Q(frozen_until__isnull=False) & ~Q(frozen_by=""),
            ),
            models.CheckConstraint(
                name="cleanup_ends_once", condition=Q(ended_at__isnull=True) | Q(completed_at__isnull=True)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.binding} {visible(self.prefix)}{'' if self.exact else '*'}"

    @property
    def asker(self) -> str:
        """The person or command that asked for the clean-up, in words."""
        return str(self.requested_by or self.asked_by)

    @property
    def pattern(self) -> str:
        """The pattern of the clean-up, in the spelling of a family's pattern."""
        return self.prefix if self.exact or self.family.exact else f"{self.prefix}*"

    @property
    def selection(self) -> Selection:
        """Which keys under the prefix are meant."""
        return Selection.of(self.only)

    @property
    def needs_check(self) -> bool:
        """Whether the backup must equal D1: caches and settings are not in D1."""
        return self.category == Category.LEGACY

    @property
    def is_open(self) -> bool:
        """Whether the request is neither ended nor completed."""
        return self.ended_at is None and self.completed_at is None


class CleanupStage(models.Model):
    """The clean-up of one environment.

    waiting -> frozen                      (earlier environments accepted; names taken from the newest scan)
    frozen -> backed_up -> verified        (the backup is complete; the backup is verified)
    verified -> checked -> submitted       (equal to D1, or only rows that are newer in D1 differ)
    verified -> submitted                  (cache and settings, which are not in D1)
    submitted -> approved                  (by another person)
    approved -> deleting                   (claimed: the run and the used approval in one transaction)
    deleting -> deleted -> confirmed       (every chunk settled; two listings without the names)
    confirmed -> accepted                  (a person's note; leftovers explained)
    verified -> deleting                   (of a scheduled clearing: the run carries the standing approval of its rule)
    frozen -> confirmed                    (no names; two new empty listings)
    backed_up | verified | checked | submitted | approved -> frozen   (rejected, withdrawn, expired, stale)
    waiting .. approved -> ended

    Each move is one conditional UPDATE and one audit entry.
    """

    class State(models.TextChoices):
        """The state of the stage."""

        WAITING = "waiting", _("waiting")
        FROZEN = "frozen", _("list of keys fixed")
        BACKED_UP = "backed_up", _("backed up")
        VERIFIED = "verified", _("backup verified")
        CHECKED = "checked", _("checked against D1")
        SUBMITTED = "submitted", _("waiting for approval")
        APPROVED = "approved", _("approved")
        DELETING = "deleting", _("deleting")
        DELETED = "deleted", _("deleted, not proven")
        CONFIRMED = "confirmed", _("proven gone")
        ACCEPTED = "accepted", _("accepted")
        ENDED = "ended", _("ended")

    BEFORE_DELETION = (
        State.WAITING,
        State.FROZEN,
        State.BACKED_UP,
        State.VERIFIED,
        State.CHECKED,
        State.SUBMITTED,
        State.APPROVED,
    )

    request = models.ForeignKey(CleanupRequest, on_delete=models.PROTECT, related_name="stages")
    environment = models.ForeignKey(Environment, on_delete=models.PROTECT)
    namespace = models.ForeignKey(Namespace, on_delete=models.PROTECT)
    order = models.PositiveSmallIntegerField()
    state = models.CharField(max_length=20, choices=State, default=State.WAITING)
    scheduled = models.BooleanField(default=False, db_default=False)
    """Whether it belongs to a scheduled clearing. A trigger compares it with the request."""

    scan = models.ForeignKey(Scan, on_delete=models.PROTECT, null=True, blank=True)
    frozen_at = models.DateTimeField(null=True, blank=True)
    names = models.BigIntegerField(default=0)
    names_sha256 = models.CharField(max_length=64, blank=True)
    left_out = models.JSONField(default=list, blank=True, db_default=models.Value([], models.JSONField()))
    """The names of keys that differ from D1, and stay. The check of the backup does not compare their rows."""
    scope_digest = models.CharField(max_length=64, blank=True)
    generation = models.ForeignKey(Generation, on_delete=models.PROTECT, null=True, blank=True, related_name="stages")
    check_passed = models.ForeignKey(Check, on_delete=models.PROTECT, null=True, blank=True, related_name="stages")
    search = models.ForeignKey(ReferenceSearch, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    """The search of the code that the evidence rests on, from the submit on."""
    approval = models.ForeignKey(ApprovalRequest, on_delete=models.PROTECT, null=True, blank=True)
    run = models.ForeignKey(Run, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    confirm_run = models.ForeignKey(Run, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    late_run = models.ForeignKey(Run, on_delete=models.PROTECT, null=True, blank=True, related_name="+")

    deleted = models.BigIntegerField(default=0)
    skipped = models.BigIntegerField(default=0)
    first_listing_at = models.DateTimeField(null=True, blank=True)
    second_listing_at = models.DateTimeField(null=True, blank=True)
    empty_reason = models.TextField(blank=True)
    leftovers_note = models.TextField(blank=True)
    remaining = models.BigIntegerField(default=0, db_default=0)
    """Keys under the prefix at the second listing: the leftovers, and the keys that are not of the clean-up."""
    others = models.BigIntegerField(default=0, db_default=0)
    """Keys of the second listing that are not of the clean-up. `other_names` has the first of them."""
    others_note = models.TextField(blank=True, default="", db_default="")
    others_by = models.ForeignKey(Person, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    others_at = models.DateTimeField(null=True, blank=True)
    accepted_note = models.TextField(blank=True)
    accepted_by = models.ForeignKey(Person, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    accepted_at = models.DateTimeField(null=True, blank=True)
    returned_because = models.CharField(max_length=1000, blank=True)
    returned_because_sentence = models.JSONField(
        default=dict, db_default=models.Value({}, models.JSONField()), blank=True
    )
    check_after = models.ForeignKey(Check, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    """The check of the backup after the deletion was proven."""
    dataset_check_after = models.ForeignKey(
        Check, on_delete=models.PROTECT, null=True, blank=True, related_name="datasets_of_stages"
    )
    """The check of the newest backup of master data after the deletion was proven."""
    after_accepted = models.BooleanField(default=False, db_default=False)
    """Whether all that these two found are rows newer in D1 that the reviewer accepted. For lists."""
    after_refused = models.CharField(max_length=1000, blank=True, default="", db_default="")
    """The reason why the backup could not be checked after the deletion."""
    after_refused_sentence = models.JSONField(default=dict, db_default=models.Value({}, models.JSONField()), blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["request", "environment"], name="stage_once_per_environment"),
            models.UniqueConstraint(fields=["request", "order"], name="stage_order_once"),
            models.UniqueConstraint(fields=["approval"], condition=Q(scheduled=False), name="stage_one_per_approval"),
            models.CheckConstraint(
                name="stage_frozen_has_names_digest",
                condition=Q(state__in=["waiting", "ended"]) | (~Q(names_sha256="") & Q(frozen_at__isnull=False)),
            ),
            models.CheckConstraint(
                name="stage_backed_up_has_a_generation",
                condition=~Q(
                    state__in=["backed_up", "verified", "checked", "submitted", "approved", "deleting", "deleted"]
                )
                | Q(generation__isnull=False),
            ),
            models.CheckConstraint(
                name="stage_checked_has_a_check", condition=~Q(state="checked") | Q(check_passed__isnull=False)
            ),
            models.CheckConstraint(
                name="stage_submitted_has_an_approval",
                condition=~Q(state__in=["submitted", "approved", "deleting", "deleted"]) | Q(approval__isnull=False),
            ),
            models.CheckConstraint(
                name="stage_deleting_has_a_run",
                condition=~Q(state__in=["deleting", "deleted"]) | Q(run__isnull=False),
            ),
            models.CheckConstraint(
                name="stage_confirmed_has_two_listings",
                condition=~Q(state__in=["confirmed", "accepted"])
                # A comparison with NULL does not fail the constraint, so both columns are required separately.
                | Q(
                    first_listing_at__isnull=False,
                    second_listing_at__isnull=False,
                    second_listing_at__gt=F("first_listing_at"),
                ),
            ),
            models.CheckConstraint(
                name="stage_accepted_has_a_note",
                condition=Q(state="accepted", accepted_by__isnull=False, accepted_at__isnull=False)
                & ~Q(accepted_note="")
                | ~Q(state="accepted"),
            ),
            models.CheckConstraint(
                name="stage_empty_has_a_reason", condition=~Q(state="accepted", names=0) | ~Q(empty_reason="")
            ),
            models.CheckConstraint(
                name="stage_others_explained_by_a_person",
                condition=Q(others_note="", others_by__isnull=True, others_at__isnull=True)
                | (~Q(others_note="") & Q(others_by__isnull=False, others_at__isnull=False)),
            ),
            models.CheckConstraint(
                name="stage_accepted_explains_others",
                condition=~Q(state="accepted") | Q(others=0) | ~Q(others_note=""),
            ),
            models.CheckConstraint(
                name="stage_checked_again_after_its_proof",
                condition=Q(state__in=["confirmed", "accepted"])
                | Q(check_after__isnull=True, dataset_check_after__isnull=True, after_refused=""),
            ),
        ]

    @property
    def shown_state(self) -> str:
        """The state as pages show it: what a restore brings back, or nobody deleted, is not gone.

        A deletion that does not work now says why: it waits for a person after production's first keys, or stopped.
        """
        undos, restores = self.written_back
        for found, word in ((undos, "undone"), (restores, "restored")):
            if any(restore.state == "done" and restore.written for restore in found):
                return word
        if any(restore.state == "writing" for restore in (*undos, *restores)):
            return "restoring"
        return self.deletion_state

    @property
    def deletion_state(self) -> str:
        """The state as pages show it for a key that no restore wrote back.

        A query that annotates the number of keys `kept` tells a deletion that was ended early.
        """
        proven = self.state in {self.State.CONFIRMED, self.State.ACCEPTED}
        if proven and self.names and not self.deleted:
            return "nothing_deleted"
        if proven and getattr(self, "kept", False):
            return "ended_early"
        run = self.run if self.state == self.State.DELETING else None
        if run is not None and run.state == Run.State.STOPPED and run.cursor.get("waits"):
            return "awaits_person"
        return f"deletion_{run.state}" if run is not None and run.state in {"stopped", "failed"} else self.state

    @property
    def written_back(self) -> tuple[Iterable[Any], Iterable[Any]]:
        """Its undos, and the other restores of its keys. A query that annotates `is_restored` may spare these two."""
        return ((), ()) if getattr(self, "is_restored", None) is False else (self.undos.all(), self.restores.all())

    @property
    def shown_returned_because(self) -> str:
        """The reason why it came back or did not move on, in the reader's language."""
        return spoken(stored(self.returned_because, self.returned_because_sentence))

    @property
    def shown_after_refused(self) -> str:
        """The reason why the backup could not be checked after the deletion, in the reader's language."""
        return spoken(stored(self.after_refused, self.after_refused_sentence))

    @property
    def unreached(self) -> int:
        """The number of names that the deletion has not reached yet."""
        return self.names - (self.run.done if self.run else 0)

    def __str__(self) -> str:
        return f"{self.environment.slug} {self.request}"
