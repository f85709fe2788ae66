"""The question and the end of an investigation, and the reason for closing it."""

from django import forms
from django.utils.translation import gettext_lazy as _

from backups.investigations.requests import LONGEST
from kvops import timing
from kvops.models import Category, Environment, Family
from kvops.web.fields import ExplanationField, FamilyField

REASON = 2_000
"""Characters of a reason."""


class InvestigationForm(forms.Form):
    """A cache, a title, a reason and an end."""

    environment = forms.ModelChoiceField(
        Environment.objects.order_by("order"), label=_("Environment"), to_field_name="slug", empty_label=None
    )
    family = FamilyField(
        Family.objects.filter(category=Category.CACHE).order_by("binding", "pattern"),
        label=_("Cache"),
        empty_label=None,
    )
    title = forms.CharField(
        label=_("Name of the investigation"),
        max_length=200,
        widget=forms.TextInput(attrs={"placeholder": _("Wrong totals on the overview of clinics")}),
    )
    reason = ExplanationField(label=_("Purpose of the backup"), max_length=REASON)
    days = forms.IntegerField(
        label=_("Days until deletion at the latest"),
        min_value=1,
        max_value=LONGEST,
        initial=timing.RETENTION_DAYS,
        help_text=_("Close the investigation as soon as its question is answered: its backup is deleted then."),
    )


class CloseForm(forms.Form):
    """The reason why the backup is no longer needed."""

    reason = ExplanationField(label=_("Findings"), max_length=REASON)
