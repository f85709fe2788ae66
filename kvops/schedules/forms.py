"""The filter of a schedule's firings, and an operator's change or pause of it."""

from zoneinfo import available_timezones

from django import forms
from django.db.models import QuerySet
from django.utils.translation import gettext_lazy as _

from kvops.models import Firing, Schedule
from kvops.web.fields import ChoiceFilter, ExplanationField, PlaceField


class FiringFilter(forms.Form):
    """The filter for firings of a schedule."""

    outcome = ChoiceFilter(_("Outcome"), _("All outcomes"), *Firing.Outcome.choices)
    after = PlaceField()

    def firings(self, schedule: Schedule) -> QuerySet[Firing]:
        """The firings that match the filter, newest first, after the position. If the filter is invalid, no firings."""
        found = schedule.firings.prefetch_related("runs").order_by("-pk")
        if not self.is_valid():
            return found.none()
        if self.cleaned_data["outcome"]:
            found = found.filter(outcome=self.cleaned_data["outcome"])
        return found.filter(pk__lt=self.cleaned_data["after"]) if self.cleaned_data["after"] else found


class ChangeForm(forms.Form):
    """The due times."""

    expression = forms.CharField(
        label=_("Due times, as a cron expression"),
        max_length=100,
        help_text=_("Minute, hour, day, month, weekday: 30 2 * * 1-5 is half past two from Monday to Friday."),
    )
    zone = forms.ChoiceField(
        label=_("Time zone"), choices=lambda: [(name, name) for name in sorted(available_timezones())]
    )


class PauseForm(forms.Form):
    """The reason for the pause."""

    reason = ExplanationField(label=_("Reason for the pause"), max_length=500, rows=2)
