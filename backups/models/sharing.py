"""The sharing of a backup made for a deletion with the team."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from backups.models.generations import Generation
from kvops.models import Notification, Person


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
