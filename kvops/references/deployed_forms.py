"""The forms of the page of deployed code."""

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from kvops.models import Environment, Namespace
from kvops.web.fields import ExplanationField, NameField


class TracesForm(forms.Form):
    """The keys whose use the traces are asked for."""

    namespace = forms.ModelChoiceField(Namespace.objects.none(), label=_("Namespace"), empty_label=None)
    beginning = NameField(label=_("Name begins with"))

    def __init__(self, environment: Environment, *args: Any) -> None:
        super().__init__(*args)
        self.fields["namespace"].queryset = environment.namespaces.select_related("environment")  # type: ignore[attr-defined]


class UseAnswerForm(forms.Form):
    """Why a traced use of the keys does no harm."""

    reason = ExplanationField(max_length=2000)
