"""The tables of the audit log. Migration 0002 makes them append-only and guards the chain."""

from collections.abc import Sequence
from datetime import datetime
from typing import Self

from django.db import connection, models
from django.db.models.expressions import RawSQL
from django.db.models.functions import Cast, Concat
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from audit.actions import ALARMING, Action
from audit.chain import Content, Link

MAX_LENGTH = {
    "actor": 500,  # a name and an e-mail address
    "environment": 100,
    "subject": 600,  # an index entry in Postgres holds at most 2,700 bytes
    "subject_label": 1000,
    "digest": 200,
}
"""Characters. The longest text per field of an entry."""


MANY_ACTORS = 1_000

# Each step reads the next value of the column from its index, so the cost is that of the values, not of the entries.
_DISTINCT = """
WITH RECURSIVE step (value) AS (
  (SELECT {column} FROM audit_entry WHERE {which} ORDER BY {column} LIMIT 1)
  UNION ALL
  SELECT (SELECT {column} FROM audit_entry WHERE {which} AND {column} > step.value ORDER BY {column} LIMIT 1)
    FROM step WHERE step.value IS NOT NULL
)
SELECT value FROM step WHERE value <> '' AND strpos(upper(value), upper(%s)) > 0 LIMIT %s
"""
_ANY_ACTOR = _DISTINCT.format(column="actor", which="true")
# Strangers cannot crowd the others out: a failed sign-in has what was typed as its actor. 0004 has the index.
_ACTORS = _DISTINCT.format(column="actor", which="action <> 'signin.failed'")
_ENVIRONMENTS = _DISTINCT.format(column="environment", which="true")
_BOTH = f"SELECT ARRAY({_ACTORS}), ARRAY({_ENVIRONMENTS})"


def _actors(text: str) -> list[str]:
    """The actors with this part, at most one more than `MANY_ACTORS`; a step of the index for each actor, not entry."""
    with connection.cursor() as cursor:
        cursor.execute(_ANY_ACTOR, [text, MANY_ACTORS + 1])
        return [actor for (actor,) in cursor.fetchall()]


def actors_and_environments() -> tuple[list[str], list[str]]:
    """The actors, but for those of failed sign-ins, and the environments, as the entries spell them.

    At most `MANY_ACTORS` of each.
    """
    with connection.cursor() as cursor:
        cursor.execute(_BOTH, ["", MANY_ACTORS, "", MANY_ACTORS])
        actors, environments = cursor.fetchone() or ([], [])
    return actors, environments


class EntryQuerySet(models.QuerySet["Entry"]):
    """Entries. Time follows the sequence number, so a range of time is read as a range of sequence numbers."""

    def newest_first(self) -> Self:
        """The entries with the newest first."""
        return self.order_by("-seq")

    def older_than(self, seq: int) -> Self:
        """The entries written before the one with this sequence number."""
        return self.filter(seq__lt=seq)

    def by(self, text: str) -> Self:
        """The entries whose actor has this part, in upper or lower case."""
        found = _actors(text)
        if len(found) > MANY_ACTORS:
            return self.filter(actor__icontains=text)  # so many are found soon, from the newest entry on
        return self.filter(actor__in=found)

    def of_key(self, name: str, subjects: Sequence[str]) -> Self:
        """The entries about these subjects, and the views of the key's value, by the indexes of 0004 and 0005."""
        viewed = models.Q(action=Action.VALUE_VIEWED.value, details__key=name)
        revealed = models.Q(action=Action.VALUE_REVEALED.value, details__key=name)
        return self.filter(viewed | revealed | models.Q(subject__in=subjects))._few()

    def about(self, subjects: Sequence[str]) -> Self:
        """The entries about these subjects."""
        return self.filter(subject__in=subjects)._few()

    def telling(self, actions: Sequence[str]) -> Self:
        """Those of few entries that have one of these actions: each is looked at, because many others have it too."""
        return self.annotate(looked_at=Concat("action", models.Value(""))).filter(looked_at__in=actions)

    def about_found(self, statement: str, params: Sequence[object]) -> Self:
        """The entries about the subjects that an SQL statement finds, in one query with it."""
        condition = f"audit_entry.subject = ANY(ARRAY({statement}))"
        return self.filter(RawSQL(condition, params, models.BooleanField()))._few()  # noqa: S611  (the tree's)

    def containing(self, text: str) -> Self:
        """The entries with this part in the subject, its name, the actor or the details. It reads every entry."""
        told = self.annotate(told=Cast("details", models.TextField()))
        found = models.Q()
        for column in ("subject", "subject_label", "actor", "told"):
            found |= models.Q(**{f"{column}__icontains": text})
        return told.filter(found)

    def _few(self) -> Self:
        """Sorted after they are found. In the order of the table Postgres would look for them in every entry."""
        return self.order_by((models.F("seq") + 0).desc())

    def since(self, moment: datetime) -> Self:
        """The entries written at or after a moment."""
        first = Entry.objects.filter(at__gte=moment).order_by("at", "seq").values("seq")[:1]
        return self.filter(seq__gte=models.Subquery(first))

    def until(self, moment: datetime) -> Self:
        """The entries written before a moment."""
        last = Entry.objects.filter(at__lt=moment).order_by("-at", "-seq").values("seq")[:1]
        return self.filter(seq__lte=models.Subquery(last))


class Entry(models.Model):
    """One entry of the audit log. Only ``audit.log`` writes it; it is never changed or deleted.

    Actor and subject are stored as text without foreign keys, because the audit log outlives its subjects.
    """

    seq = models.BigIntegerField(_("number"), primary_key=True)
    at = models.DateTimeField(_("time"))
    # No choices, so that a new action needs no migration. audit.log refuses actions that are not in the list.
    action = models.CharField(_("action"), max_length=64)
    actor_id = models.BigIntegerField(null=True)
    actor = models.CharField(_("actor"), max_length=MAX_LENGTH["actor"])
    environment = models.CharField(_("environment"), max_length=MAX_LENGTH["environment"], blank=True)
    subject = models.CharField(_("subject"), max_length=MAX_LENGTH["subject"], blank=True)
    subject_label = models.CharField(max_length=MAX_LENGTH["subject_label"], blank=True)
    digest = models.CharField(_("digest"), max_length=MAX_LENGTH["digest"], blank=True)
    details = models.JSONField(_("details"), default=dict)
    canonical = models.BinaryField()
    prev_hash = models.BinaryField()
    row_hash = models.BinaryField()

    objects = EntryQuerySet.as_manager()

    class Meta:
        verbose_name = _("entry")
        verbose_name_plural = _("entries")
        default_permissions = ("view",)
        indexes = (
            models.Index(fields=["at", "seq"], name="audit_entry_at"),
            models.Index(fields=["action", "seq"], name="audit_entry_action"),
            models.Index(fields=["actor", "seq"], name="audit_entry_actor"),
            models.Index(fields=["actor"], name="audit_entry_known_actor", condition=~models.Q(action="signin.failed")),
            models.Index(fields=["environment", "seq"], name="audit_entry_environment"),
            models.Index(fields=["subject", "seq"], name="audit_entry_subject"),
            models.Index(
                # The runbook lists these; without it, it would look through all entries for the few of them.
                fields=["seq"],
                name="audit_entry_masked_read",
                condition=models.Q(action="value.viewed", details__masked=True),
            ),
        )

    def __str__(self) -> str:
        return f"{self.seq} {self.action} {self.subject}".rstrip()

    def get_absolute_url(self) -> str:
        """The entry's own address."""
        return reverse("audit:entry", args=[self.seq])

    @property
    def title(self) -> str:
        """The action in words. If this version of the code does not know the action, the stored value."""
        return str(Action(self.action).label) if self.action in Action else self.action

    @property
    def alarming(self) -> bool:
        """Whether an auditor looks for this kind of entry first."""
        return self.action in ALARMING

    def link(self) -> Link:
        """The entry as a link of the chain, for verification."""
        return Link(
            content=Content(
                seq=self.seq,
                at=self.at,
                action=self.action,
                actor_id=self.actor_id,
                actor=self.actor,
                environment=self.environment,
                subject=self.subject,
                subject_label=self.subject_label,
                digest=self.digest,
                details=self.details,
            ),
            canonical=bytes(self.canonical),
            prev_hash=bytes(self.prev_hash),
            row_hash=bytes(self.row_hash),
        )


class Head(models.Model):
    """The end of the chain, in one row. The lock of this row is the chain lock.

    A trigger moves the head when an entry is inserted; no other statement can change it.
    """

    id = models.SmallIntegerField(primary_key=True, default=1)
    seq = models.BigIntegerField()
    hash = models.BinaryField()
    at = models.DateTimeField()

    class Meta:
        default_permissions = ()
        constraints = (models.CheckConstraint(condition=models.Q(id=1), name="audit_head_is_one_row"),)

    def __str__(self) -> str:
        return f"{self.seq} {bytes(self.hash).hex()}"
