"""The runbook: notes, operations that were done by hand outside KVOps, and to-dos.

An entry of the runbook is an entry of the audit log, so `entry` is its number there.
"""

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from audit import log
from kvops.models.environments import Environment
from kvops.models.people import Person


class RunbookNote(models.Model):
    """A person's note on an entry, as Markdown. A trigger refuses every change of it."""

    entry = models.BigIntegerField(db_index=True)
    author = models.ForeignKey(Person, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField(db_default=Now())
    text = models.TextField()

    class Meta:
        constraints = [models.CheckConstraint(name="note_says_something", condition=~Q(text=""))]

    def __str__(self) -> str:
        return f"{self.author.name}: {self.text[:80]}"


class StatedOperation(models.Model):
    """An operation on keys that a person did outside KVOps, as a person states it. A trigger refuses every change.

    `command` is without the value. `names` are the keys.
    """

    class Verb(models.TextChoices):
        """The call that was made."""

        GET = "get", _("read (get)")
        PUT = "put", _("written (put)")
        DELETE = "delete", _("deleted (delete)")

    verb = models.CharField(max_length=10, choices=Verb)
    person = models.ForeignKey(Person, on_delete=models.PROTECT, related_name="+")
    done_at = models.DateTimeField()
    environment = models.ForeignKey(Environment, on_delete=models.PROTECT)
    binding = models.CharField(max_length=100)
    command = models.CharField(max_length=1000)
    names = models.JSONField()
    reason = models.CharField(max_length=1000)
    stated_by = models.ForeignKey(Person, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.CheckConstraint(name="stated_verb_is_known", condition=Q(verb__in=["get", "put", "delete"])),
            models.CheckConstraint(name="stated_is_of_the_past", condition=Q(done_at__lte=F("at"))),
            models.CheckConstraint(name="stated_names_a_key", condition=~Q(names=[])),
            models.CheckConstraint(name="stated_says_why", condition=~Q(reason="")),
        ]

    def __str__(self) -> str:
        return f"{self.binding}: {', '.join(self.names[:3])}{' …' if len(self.names) > 3 else ''}"

    @property
    def audited(self) -> log.Subject:
        """How the audit log names it."""
        return log.subject("stated", self.pk, str(self), environment=self.environment.slug)


class RunbookTodo(models.Model):
    """Something to do after an operation, by its owner until a day. A trigger refuses every change but *done*, once."""

    entry = models.BigIntegerField(db_index=True)
    text = models.CharField(max_length=500)
    owner = models.ForeignKey(Person, on_delete=models.PROTECT, related_name="todos")
    due = models.DateField()
    created_by = models.ForeignKey(Person, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(db_default=Now())
    done_by = models.ForeignKey(Person, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    done_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(name="todo_says_something", condition=~Q(text="")),
            models.CheckConstraint(
                name="todo_done_by_someone",
                condition=Q(done_by__isnull=True, done_at__isnull=True)
                | Q(done_by__isnull=False, done_at__isnull=False),
            ),
        ]
        indexes = [models.Index(fields=["due", "id"], condition=Q(done_at__isnull=True), name="todo_open")]

    def __str__(self) -> str:
        return self.text
