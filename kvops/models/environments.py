"""Environments: one Cloudflare account each, with its namespaces, databases and bucket."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from audit import log

LANGUAGES = [("en", _("English")), ("ja", _("Japanese"))]


class Environment(models.Model):
    """QA or production. Clean-up follows `order`; tokens and the Slack webhook are references."""

    class Plan(models.TextChoices):
        """The Workers plan of the account."""

        PAID = "paid", _("paid plan")
        FREE = "free", _("free plan")

    slug = models.SlugField(max_length=40, unique=True)
    name = models.CharField(max_length=80)
    order = models.PositiveSmallIntegerField(unique=True)
    production = models.BooleanField(default=False)
    plan = models.CharField(max_length=10, choices=Plan, default=Plan.PAID)
    account_id = models.CharField(max_length=64)
    read_token = models.CharField(max_length=300)
    write_token = models.CharField(max_length=300)
    api_base_url = models.URLField(default="https://api.cloudflare.com/client/v4")
    r2_endpoint = models.URLField()
    r2_bucket = models.CharField(max_length=100)
    r2_access_key_id = models.CharField(max_length=300)
    r2_secret_access_key = models.CharField(max_length=300)
    key_template = models.CharField(max_length=200, default="backups")
    slack = models.CharField(max_length=300, blank=True)
    language = models.CharField(max_length=10, choices=LANGUAGES, default="en")
    hours = models.CharField(max_length=11, blank=True, default="", db_default="")
    """The hours in which a deletion may start, such as 09:00-18:00; empty for all."""
    days = models.CharField(max_length=27, blank=True, default="", db_default="")
    """The days of these hours, such as mon,tue; empty for all."""
    vault = models.CharField(max_length=100, blank=True, default="", db_default="")
    """The 1Password vault in which settings backups are kept too; empty for none."""
    budget = models.CharField(max_length=40, default="shared", db_default="shared")
    """The name of the request budget. Environments whose tokens belong to one user share a name."""
    requests = models.PositiveIntegerField(default=960, db_default=960)
    """Requests in 300 seconds that the budget allows."""
    updated_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.CheckConstraint(name="environment_plan_is_known", condition=Q(plan__in=["paid", "free"])),
            models.CheckConstraint(name="environment_language_is_known", condition=Q(language__in=["en", "ja"])),
            models.CheckConstraint(name="environment_budget_is_named", condition=~Q(budget="")),
            models.CheckConstraint(
                name="environment_requests_are_possible", condition=Q(requests__gte=480, requests__lte=960)
            ),
            models.CheckConstraint(name="environment_days_have_hours", condition=Q(days="") | ~Q(hours="")),
            models.CheckConstraint(name="environment_tokens_differ", condition=~Q(read_token=models.F("write_token"))),
        ]

    def __str__(self) -> str:
        return self.name


class Namespace(models.Model):
    """A KV namespace under the name Workers know it by; the same binding in two environments is a pair."""

    environment = models.ForeignKey(Environment, on_delete=models.PROTECT, related_name="namespaces")
    binding = models.CharField(max_length=100)
    namespace_id = models.CharField(max_length=64, unique=True)
    title = models.CharField(max_length=512)
    unpaired = models.CharField(max_length=300, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["environment", "binding"], name="binding_once_per_environment"),
        ]

    def __str__(self) -> str:
        return f"{self.environment.slug}/{self.binding}"

    @property
    def audited(self) -> log.Subject:
        """How the audit log names it."""
        return log.subject("namespace", self.pk, str(self), environment=self.environment.slug)


class Scratch(models.Model):
    """The namespace in which backups are tried; no other feature can reach it.

    It is not a `Namespace`, so it is neither scanned, backed up nor cleaned up, and no restore goes into it. A trigger
    refuses a scratch namespace that is also bound as a namespace.
    """

    environment = models.OneToOneField(Environment, on_delete=models.PROTECT, related_name="scratch")
    binding = models.CharField(max_length=100)
    namespace_id = models.CharField(max_length=64, unique=True)
    title = models.CharField(max_length=512)

    class Meta:
        verbose_name_plural = "scratches"

    def __str__(self) -> str:
        return f"{self.environment.slug}/{self.binding}"


class Database(models.Model):
    """A D1 database under the name Workers know it by."""

    environment = models.ForeignKey(Environment, on_delete=models.PROTECT, related_name="databases")
    binding = models.CharField(max_length=100)
    database_id = models.CharField(max_length=64)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["environment", "binding"], name="database_once_per_environment"),
        ]

    def __str__(self) -> str:
        return f"{self.environment.slug}/{self.binding}"
