"""The request for a standing approval of drills, until a date."""

from django import forms
from django.utils.translation import gettext_lazy as _

from backups.drills.requests import LARGEST
from kvops.approvals.standing import LONGEST


class RuleForm(forms.Form):
    """The end of the standing approval, and the number of keys per backup in a drill."""

    days = forms.IntegerField(label=_("Days the approval is valid"), min_value=1, max_value=LONGEST, initial=LONGEST)
    cap = forms.IntegerField(
        label=_("Keys of each backup, at most"),
        min_value=1,
        max_value=LARGEST,
        initial=10_000,
        help_text=_("A drill uses only the first keys of a larger backup."),
    )
