"""How far the database's clock and those of the services are apart."""

from django.db import models
from django.utils.translation import gettext_lazy as _

from kvops import timing
from kvops.models.environments import Environment


class Skew(models.Model):
    """What was measured last: `seconds` by which the database's clock is ahead of the service's, negative if behind."""

    class Service(models.TextChoices):
        """Whose clock it is compared with."""

        CLOUDFLARE = "cloudflare", _("Cloudflare")
        R2 = "r2", _("R2")

    environment = models.ForeignKey(Environment, on_delete=models.CASCADE, related_name="skews")
    service = models.CharField(max_length=20, choices=Service)
    seconds = models.FloatField()
    measured_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["environment", "service"], name="skew_once_per_service")]

    @property
    def too_large(self) -> bool:
        """Whether nothing is deleted or put back because of it."""
        return self.apart > timing.SKEW

    @property
    def apart(self) -> int:
        """Whole seconds, whoever is ahead."""
        return round(abs(self.seconds))

    def __str__(self) -> str:
        return f"{self.environment.slug}: {self.seconds:.0f} s ahead of {self.service}"
