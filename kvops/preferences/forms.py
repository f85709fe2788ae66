"""The form of the preferences."""

from itertools import groupby

from django import forms
from django.conf import settings
from django.http import QueryDict
from django.utils.text import format_lazy
from django.utils.translation import get_language, gettext_lazy as _

from kvops.models import Person, people
from kvops.models.people import VOLUNTARY
from kvops.preferences.notices import CHOICES

_ZONES = [
    ("", format_lazy(_("that of KVOps ({zone})"), zone=settings.TIME_ZONE)),
    *((area, [(name, name) for name in names]) for area, names in groupby(people.NAMES, lambda one: one.split("/")[0])),
]


class PreferencesForm(forms.Form):
    """The choices of one person."""

    pages_language = forms.ChoiceField(
        label=_("Language of the pages"), choices=settings.LANGUAGES, widget=forms.RadioSelect
    )
    mails_language = forms.ChoiceField(
        label=_("Language of the mails"),
        choices=[("", _("that of the pages")), *settings.LANGUAGES],
        widget=forms.RadioSelect,
        required=False,
    )
    time_zone = forms.ChoiceField(
        label=_("Time zone"),
        choices=_ZONES,
        required=False,
        help_text=_("Of the times on pages and in mails. The audit log and evidence keep theirs."),
    )
    notices = forms.MultipleChoiceField(
        label=_("Notices by mail"),
        choices=CHOICES,
        widget=forms.CheckboxSelectMultiple,
        required=False,
        help_text=_("Without a tick there is no mail, and the page “Notifications” has no message to you, either."),
    )

    def __init__(self, person: Person, data: QueryDict | None = None) -> None:
        initial = {
            "pages_language": person.pages_language or get_language(),
            "mails_language": person.mails_language,
            "time_zone": person.time_zone,
            "notices": [event for event in VOLUNTARY if event not in person.unwanted],
        }
        super().__init__(data, initial=initial)

    def unwanted(self) -> list[str]:
        """The voluntary notices without a tick."""
        return [event for event in VOLUNTARY if event not in self.cleaned_data["notices"]]
