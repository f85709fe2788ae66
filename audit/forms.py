"""The filters of the audit page, as they stand in its address."""

from datetime import date, datetime, time, timedelta
from typing import Any

from django import forms
from django.core.validators import MaxValueValidator, MinValueValidator
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.translation import gettext_lazy as _

from audit.actions import Action
from audit.models import MAX_LENGTH, Entry, EntryQuerySet
from audit.subjects import Tree, known

NAME = 512
"""Bytes. The longest name of a key."""

_DAYS = _("Choose days between 2000 and 2050.")
_WITHIN = [MinValueValidator(date(2000, 1, 1), _DAYS), MaxValueValidator(date(2050, 12, 31), _DAYS)]


class _KeyField(forms.CharField):
    """The name of a key. The project spells characters that a field would lose, and reads them back."""

    def to_python(self, value: Any) -> str:
        return known().typed(super().to_python(value) or "")

    def bound_data(self, data: Any, initial: Any) -> str:
        return known().typed(data or "")

    def prepare_value(self, value: Any) -> str:
        return known().typeable(value or "")


class FilterForm(forms.Form):
    """The filters for entries; every field may be empty. Dates are days in the current time zone."""

    action = forms.ChoiceField(label=_("Action"), required=False, choices=[("", _("All actions")), *Action.choices])
    actor = forms.CharField(
        label=_("Actor"), required=False, max_length=MAX_LENGTH["actor"], help_text=_("A part of the name or address.")
    )
    environment = forms.CharField(label=_("Environment"), required=False)
    subject = forms.CharField(
        label=_("Subject"),
        required=False,
        widget=forms.TextInput(attrs={"placeholder": "stage:12"}),
    )
    tree = forms.BooleanField(label=_("With everything under the subject"), required=False)
    key = _KeyField(
        label=_("Key"),
        required=False,
        strip=False,
        max_length=NAME,
        help_text=_("The exact name: its clean-ups, restores, unexplained changes, and who viewed its value."),
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false", "autocapitalize": "none"}),
    )
    since = forms.DateField(
        label=_("From"),
        required=False,
        validators=_WITHIN,
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
    )
    until = forms.DateField(
        label=_("To"),
        required=False,
        validators=_WITHIN,
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
    )

    def entries(self) -> EntryQuerySet:
        """The entries that match the filters, newest first. If a filter is invalid, no entries."""
        if not self.is_valid():
            return Entry.objects.none()
        chosen = self.cleaned_data
        found = Entry.objects.newest_first()
        if chosen["action"]:
            found = found.filter(action=chosen["action"])
        if chosen["actor"]:
            found = found.by(chosen["actor"])
        if text := chosen["environment"]:
            found = found.filter(environment__in=[text, *known().environments(text)])
        if self.tree_of_subjects:
            found = found.about(self.tree_of_subjects.subjects)
        elif chosen["subject"]:
            found = found.filter(subject=chosen["subject"])
        if chosen["key"]:
            found = found.of_key(chosen["key"], known().of_key(chosen["key"]).subjects)
        if chosen["since"]:
            found = found.since(_midnight(chosen["since"]))
        if chosen["until"]:
            found = found.until(_midnight(chosen["until"] + timedelta(days=1)))
        return found

    @cached_property
    def tree_of_subjects(self) -> Tree | None:
        """The subject with everything under it, if the filters ask for that."""
        if not (self.is_valid() and self.cleaned_data["subject"] and self.cleaned_data["tree"]):
            return None
        return known().under(self.cleaned_data["subject"])


def _midnight(day: date) -> datetime:
    return timezone.make_aware(datetime.combine(day, time.min))
