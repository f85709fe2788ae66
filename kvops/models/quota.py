"""What was sent to KV in a day, as Cloudflare counts it for the free plan."""

from django.db import models


class DailyUse(models.Model):
    """The operations of an account in one UTC day, as they were sent; a bulk call counts once a key."""

    account = models.CharField(max_length=64)
    day = models.DateField()
    reads = models.BigIntegerField(default=0)
    writes = models.BigIntegerField(default=0)
    deletes = models.BigIntegerField(default=0)
    lists = models.BigIntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["account", "day"], name="use_once_a_day")]

    def __str__(self) -> str:
        return f"{self.account} on {self.day}"
