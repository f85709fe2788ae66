"""The filters of the audit page, as they stand in its address."""

from datetime import date, datetime, time, timedelta

from django import forms
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from audit.actions import Action
from audit.models import Entry, EntryQuerySet


class FilterForm(forms.Form):
    """The filters for entries; every field may be empty. Dates are days in the current time zone."""

    action = forms.ChoiceField(label=_("Action"), required=False, choices=[("", _("All actions")), *Action.choices])
    actor = forms.CharField(label=_("Actor"), required=False)
    environment = forms.CharField(label=_("Environment"), required=False)
    subject = forms.CharField(
        label=_("Subject"),
        required=False,
        widget=forms.TextInput(attrs={"placeholder": "stage:12"}),
    )
    since = forms.DateField(
        label=_("From"),
        required=False,
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
    )
    until = forms.DateField(
        label=_("To"),
        required=False,
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
    )

    def entries(self) -> EntryQuerySet:
        """The entries that match the filters, newest first. If a filter is invalid, no entries."""
        if not self.is_valid():
            return Entry.objects.none()
        chosen = self.cleaned_data
        found = Entry.objects.newest_first()
        for name in ("action", "actor", "environment", "subject"):
            if chosen[name]:
                found = found.filter(**{name: chosen[name]})
        if chosen["since"]:
            found = found.since(_midnight(chosen["since"]))
        if chosen["until"]:
            found = found.until(_midnight(chosen["until"] + timedelta(days=1)))
        return found


def _midnight(day: date) -> datetime:
    return timezone.make_aware(datetime.combine(day, time.min))
