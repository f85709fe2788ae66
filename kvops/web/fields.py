"""Form fields and small forms that several features share."""

from typing import Any

from django import forms
from django.db.models import Model, QuerySet
from django.http import QueryDict
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from kvops.cloudflare import MAX_NAME_BYTES
from kvops.models import Environment, Family
from kvops.wording import storable

type Choice = tuple[str, str | Promise]


class EnvironmentFilter(forms.ModelChoiceField):  # type: ignore[type-arg]
    """The environment that a list is narrowed down to, by its slug."""

    def __init__(self) -> None:
        super().__init__(
            Environment.objects.order_by("order"),
            label=_("Environment"),
            required=False,
            to_field_name="slug",
            empty_label=_("All environments"),
        )


class FamilyField(forms.ModelChoiceField):  # type: ignore[type-arg]
    """A family, named with its binding."""

    def label_from_instance(self, obj: Family) -> str:
        """The family as the policy writes it."""
        return f"{obj.binding} {obj}"


class ChoiceFilter(forms.ChoiceField):
    """One of some choices that a list is narrowed down to, or all of them."""

    def __init__(self, label: Any, everything: str | Promise, *choices: Choice) -> None:
        super().__init__(label=label, required=False, choices=[("", everything), *choices])


class PrefixFilter(forms.CharField):
    """The beginning of the names that a list is narrowed down to."""

    def __init__(self, label: Any) -> None:
        example = forms.TextInput(attrs={"placeholder": "master:"})
        super().__init__(label=label, required=False, strip=False, max_length=MAX_NAME_BYTES, widget=example)


class PlaceField(forms.IntegerField):
    """The place where a page goes on, after the last row of the page before."""

    def __init__(self, *, min_value: int = 1) -> None:
        super().__init__(required=False, min_value=min_value, max_value=2**63 - 1, widget=forms.HiddenInput)


class ConfirmForm(forms.Form):
    """A name that a person types exactly before a step that cannot be taken back."""

    confirm = forms.CharField(strip=False)

    def __init__(self, data: QueryDict | None = None, *, expected: str) -> None:
        super().__init__(data)
        self.expected = expected

    def clean_confirm(self) -> str:
        """Refuse anything but the name."""
        typed: str = self.cleaned_data["confirm"]
        if typed != self.expected:
            raise forms.ValidationError(_("Type it exactly as it is shown."))
        return typed


class StorableField(forms.CharField):
    """A text that is never refused. Characters that Postgres cannot store are replaced."""

    def to_python(self, value: Any) -> str:
        """The text as it can be stored."""
        return storable(super().to_python(value) or "")


class OptionalReasonForm(forms.Form):
    """The reason beside a button. No step fails for its reason: a long one is cut."""

    reason = StorableField(required=False)

    def given(self) -> str:
        """The reason; empty if there is none."""
        self.full_clean()
        return str(self.cleaned_data["reason"])[:2000]


class NextForm(forms.Form):
    """The address that a person returns to after the form."""

    next = StorableField(required=False)

    def address(self) -> str:
        """The address; empty if there is none."""
        self.full_clean()
        return str(self.cleaned_data["next"])


class NewestFirst(forms.Form):
    """Where a page of a list goes on that has no filters, newest first."""

    after = PlaceField()

    def narrowed[Row: Model](self, found: QuerySet[Row]) -> QuerySet[Row]:
        """The rows of this page and the pages after it; none while the place is wrong."""
        if not self.is_valid():
            return found.none()
        after = self.cleaned_data["after"]
        return (found if after is None else found.filter(pk__lt=after)).order_by("-pk")
