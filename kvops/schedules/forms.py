"""The filter of a schedule's firings, and an operator's change or pause of it."""

from zoneinfo import available_timezones

from django import forms
from django.db.models import QuerySet
from django.utils.translation import gettext_lazy as _

from kvops.models import Firing, Schedule


class FiringFilter(forms.Form):
    """Which firings of a schedule to show."""

    outcome = forms.ChoiceField(
        label=_("Outcome"), required=False, choices=[("", _("All outcomes")), *Firing.Outcome.choices]
    )
    after = forms.IntegerField(required=False, min_value=1, max_value=2**63 - 1, widget=forms.HiddenInput)

    def firings(self, schedule: Schedule) -> QuerySet[Firing]:
        """The firings the filter lets through, newest first, on after the position; none while it is wrong."""
        found = schedule.firings.prefetch_related("runs").order_by("-pk")
        if not self.is_valid():
            return found.none()
        if self.cleaned_data["outcome"]:
            found = found.filter(outcome=self.cleaned_data["outcome"])
        return found.filter(pk__lt=self.cleaned_data["after"]) if self.cleaned_data["after"] else found


class ChangeForm(forms.Form):
    """When it is due."""

    expression = forms.CharField(
        label=_("Due times, as a cron expression"),
        max_length=100,
        help_text=_("Minute, hour, day, month, weekday: 30 2 * * 1-5 is half past two from Monday to Friday."),
    )
    zone = forms.ChoiceField(
        label=_("Time zone"), choices=lambda: [(name, name) for name in sorted(available_timezones())]
    )


class PauseForm(forms.Form):
    """Why it is paused."""

    reason = forms.CharField(label=_("Reason for the pause"), max_length=500, widget=forms.Textarea(attrs={"rows": 2}))
