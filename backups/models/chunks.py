"""The columns that the chunks of a deletion and of a restore share."""

from django.db import models
from django.utils.translation import gettext_lazy as _

from kvops.wording import spoken, stored


class Chunk(models.Model):
    """A range of entry indexes that one call sends. The intent is committed before the call."""

    class State(models.TextChoices):
        """The state of the chunk."""

        PLANNED = "planned", _("planned")
        INTENDED = "intended", _("intended")
        SENT = "sent", _("sent")
        SETTLED = "settled", _("settled")

    number = models.PositiveIntegerField()
    attempt = models.PositiveSmallIntegerField(default=1)
    first_index = models.BigIntegerField()
    last_index = models.BigIntegerField()
    state = models.CharField(max_length=10, choices=State, default=State.PLANNED)
    epoch = models.PositiveIntegerField(default=0)
    names = models.PositiveIntegerField(default=0)
    names_sha256 = models.CharField(max_length=64, blank=True)
    read_at = models.DateTimeField(null=True, blank=True)
    intended_at = models.DateTimeField(null=True, blank=True)
    sent_at = models.DateTimeField(null=True, blank=True)
    settled_at = models.DateTimeField(null=True, blank=True)
    gap_ms = models.PositiveIntegerField(null=True, blank=True)
    answer = models.JSONField(default=dict, blank=True)
    # `problem` in it is English; `problem_sentence` has its template and facts, if it has facts.

    class Meta:
        abstract = True

    @property
    def shown_problem(self) -> str:
        """The problem in the answer, in the reader's language."""
        return spoken(stored(self.answer.get("problem", ""), self.answer.get("problem_sentence", {})))
