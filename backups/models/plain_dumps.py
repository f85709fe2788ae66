"""Plain files of keys that commands wrote outside the bucket."""

from django.db import models
from django.db.models.functions import Now

from audit import log
from kvops.models import Namespace


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
