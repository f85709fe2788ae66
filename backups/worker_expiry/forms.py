"""The forms of an expiry Worker: the rule, its change, its approval, and the acceptance of a round."""

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from backups.models.worker_expiry import DAY, LONGEST_TTL, MOST_GIVEN
from kvops.approvals.standing import LONGEST
from kvops.inventory.selection import HOUR
from kvops.models import Category, Environment, Family, Namespace
from kvops.web.fields import ExplanationField, FamilyField

LONGEST_TEXT = 2_000
"""Characters of a reason or a note, so that the evidence stays within its 64 KiB."""


class _WorkerTimed(forms.Form):
    """The expiration, the cap and the due times of a rule, with the reason."""

    hours = forms.IntegerField(
        label=_("Expiration, in hours from the write"),
        min_value=DAY // HOUR,
        max_value=LONGEST_TTL // HOUR,
        initial=48,
        help_text=_("At least 24 hours, and at least the ttl that the family is designed with."),
    )
    cap = forms.IntegerField(
        label=_("Keys of a round, at most"),
        min_value=1,
        max_value=MOST_GIVEN,
        initial=1_000,
        help_text=_("The next round takes the keys that are left."),
    )
    cron = forms.CharField(
        label=_("Due times of the Cron Trigger, in UTC"),
        max_length=100,
        initial="30 18 * * *",
        help_text=_("Minute, hour, day, month, weekday. Give weekdays by name: MON-FRI."),
    )
    reason = ExplanationField(
        label=_("Reason for the rule"),
        max_length=LONGEST_TEXT,
        help_text=_("The reviewer reads this."),
    )

    def clean(self) -> dict[str, Any]:
        """Derive the seconds of the expiration."""
        chosen: dict[str, Any] = self.cleaned_data
        if "hours" in chosen:
            chosen["ttl"] = chosen["hours"] * HOUR
        return chosen


class WorkerRuleForm(_WorkerTimed):
    """A new rule: a cache family with a ttl in one environment, the expiration, the cap and the due times."""

    environment = forms.ModelChoiceField(
        Environment.objects.order_by("order"), label=_("Environment"), to_field_name="slug", empty_label=None
    )
    family = FamilyField(
        Family.objects.filter(category=Category.CACHE, expiry__startswith="ttl:").order_by("binding", "pattern"),
        label=_("Cache with a ttl"),
        empty_label=None,
    )

    field_order = ("environment", "family", "hours", "cap", "cron", "reason")

    def clean(self) -> dict[str, Any]:
        """Find the namespace, too."""
        chosen = super().clean()
        family, environment = chosen.get("family"), chosen.get("environment")
        if family is None or environment is None:
            return chosen
        chosen["namespace"] = Namespace.objects.filter(environment=environment, binding=family.binding).first()
        if chosen["namespace"] is None:
            self.add_error("family", _("This environment has no such binding."))
        return chosen


class WorkerChangeForm(_WorkerTimed):
    """Another expiration, another cap, other due times or another reason."""


class WorkerAskForm(forms.Form):
    """The validity of the standing approval."""

    days = forms.IntegerField(label=_("Days the approval is valid"), min_value=1, max_value=LONGEST, initial=LONGEST)


class WorkerAcceptForm(forms.Form):
    """A person's test of the application after a round."""

    note = ExplanationField(label=_("Your test of the application and its result"), max_length=LONGEST_TEXT)
