"""The form of the overview: the past day that it shows."""

from datetime import datetime, time, timedelta

from django import forms
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from kvops.runbook import todo


class AsOfForm(forms.Form):
    """A day up to today."""

    as_of = forms.DateField(
        label=_("As of"),
        input_formats=["%Y-%m-%d"],
        widget=forms.DateInput(attrs={"type": "date"}),
        error_messages={"invalid": _("Write the day as YYYY-MM-DD, such as 2026-11-20.")},
        required=False,
    )

    def clean_as_of(self) -> object:
        """Refuse a day that is not over or has not begun."""
        day = self.cleaned_data["as_of"]
        if day and day > todo.today():
            raise forms.ValidationError(_("Choose a day up to today. Nobody knows yet what can be restored later."))
        return day

    def moment(self) -> datetime | None:
        """The end of the day in the team's time zone; None for now."""
        day = self.cleaned_data.get("as_of") if self.is_valid() else None
        if not day:
            return None
        return timezone.make_aware(datetime.combine(day + timedelta(days=1), time.min)) - timedelta(microseconds=1)
