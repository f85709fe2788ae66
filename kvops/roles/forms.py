"""The forms about the roles of a person."""

from collections.abc import Sequence
from typing import Any

from django import forms
from django.http import QueryDict
from django.utils.translation import gettext_lazy as _

from kvops.models import Role
from kvops.roles.listing import AskedChange
from kvops.roles.requests import RoleChange
from kvops.web.fields import ExplanationField
from kvops.wording import storable


class ReasonField(ExplanationField):
    """The reason for a change. Characters that cannot be stored are replaced."""

    def __init__(self) -> None:
        super().__init__(
            label=_("Reason"),
            max_length=2000,
            rows=2,
            help_text=_("The reviewer decides by it, and the audit log keeps it."),
        )

    def to_python(self, value: Any) -> str:
        """The text as it can be stored."""
        return storable(super().to_python(value) or "")


class InviteForm(forms.Form):
    """A person to invite, with the roles that they get once another person approved."""

    name = forms.CharField(label=_("Name"), max_length=100, strip=True)
    email = forms.EmailField(
        label=_("E-mail address"),
        max_length=200,
        help_text=_("The person's own one: approvals compare persons by it. The invitation goes there."),
    )
    roles = forms.MultipleChoiceField(
        label=_("Roles"),
        choices=Role.choices,
        widget=forms.CheckboxSelectMultiple,
        help_text=_("One person may hold several, and still never approves a request of their own."),
    )
    reason = ReasonField()

    def chosen(self) -> list[Role]:
        """The roles in the order they are declared."""
        return [role for role in Role if role in self.cleaned_data["roles"]]


class RolesForm(forms.Form):
    """A change of the roles of a person. Only what can be asked for is shown; the rest is refused with its reason."""

    change = forms.ChoiceField(label=_("Change"), widget=forms.RadioSelect)
    reason = ReasonField()

    def __init__(self, changes: Sequence[AskedChange], data: QueryDict | None = None) -> None:
        super().__init__(data)
        self.all = {one.key: one for one in changes}
        field = self.fields["change"]
        field.choices = [(one.key, one.label) for one in changes]  # type: ignore[attr-defined]
        field.widget.choices = [(one.key, one.label) for one in changes if not one.why_not]

    def chosen(self) -> RoleChange:
        """The change that was chosen."""
        return self.all[self.cleaned_data["change"]].change
