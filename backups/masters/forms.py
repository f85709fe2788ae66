"""The form of a backup of master data: an environment, a source, and datasets."""

from typing import Any

from django import forms
from django.http import QueryDict
from django.utils.translation import gettext_lazy as _

from backups.generations.scope import BackupRefused
from backups.masters import start as masters_start
from backups.masters.rows import API
from backups.models import Dataset
from kvops.models import Environment
from kvops.wording import reason_of

SOURCES = [(masters_start.FROM_D1, _("D1, through Cloudflare")), ("api", _("the team’s own API"))]


class MastersForm(forms.Form):
    """The choice of rows and their source. The cleaned data also has `masters` and `kept_source`."""

    environment = forms.ModelChoiceField(
        Environment.objects.order_by("order"),
        label=_("Environment"),
        to_field_name="slug",
        empty_label=None,
    )
    source = forms.ChoiceField(label=_("Source"), choices=SOURCES, widget=forms.RadioSelect)
    url = forms.CharField(
        label=_("Address of the API"),
        required=False,
        max_length=450,
        widget=forms.URLInput(attrs={"placeholder": "https://api.example.com/masters"}),
        help_text=_(
            "https, with a host of KVOPS_MASTERS_API_HOSTS. The audit log keeps the address: do not put a secret in it."
        ),
    )

    def __init__(self, data: QueryDict | None = None, *, initial: dict[str, Any] | None = None) -> None:
        super().__init__(data, initial=initial)
        found = Dataset.objects.order_by("name")
        named = [(each.name, f"{each.name} ({each.database}.{each.table})") for each in found]
        self.has_datasets = bool(named)
        self.fields["name"] = forms.MultipleChoiceField(
            label=_("Datasets"),
            required=False,
            choices=named,
            widget=forms.CheckboxSelectMultiple,
            help_text=_("None chosen means all."),
        )

    def clean(self) -> dict[str, Any]:
        """Add the datasets and the source."""
        chosen = self.cleaned_data
        if "environment" not in chosen or "source" not in chosen:
            return chosen
        api = chosen["source"] == "api"
        source = f"{API}{chosen.get('url', '')}" if api else masters_start.FROM_D1
        for field, look in (
            ("url" if api else "source", lambda: masters_start.insist_source(source)),
            ("name", lambda: masters_start.choose(chosen["environment"], chosen.get("name") or [])),
        ):
            try:
                chosen["masters" if field == "name" else "kept_source"] = look()
            except BackupRefused as refused:
                self.add_error(field, reason_of(refused))
        return chosen
