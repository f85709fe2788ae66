"""Form fields and small forms that several features share."""

from collections.abc import Iterable
from typing import Any

from django import forms
from django.db.models import Model, QuerySet
from django.http import QueryDict
from django.utils import timezone
from django.utils.functional import Promise, lazy
from django.utils.text import format_lazy
from django.utils.translation import gettext, gettext_lazy as _

from kvops import names
from kvops.cloudflare import MAX_NAME_BYTES
from kvops.models import Environment, Family
from kvops.wording import LEAST, TOO_SHORT, explains, storable

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


def offer(field: forms.Field, rows: Iterable[Model]) -> None:
    """Offer rows in a field of a page that has read them already, so that the field does not read them again."""
    if isinstance(field, forms.ModelChoiceField):
        nothing = [] if field.empty_label is None else [("", field.empty_label)]
        named = [(field.prepare_value(row), field.label_from_instance(row)) for row in rows]
        field.choices = [*nothing, *named]


class ChoiceFilter(forms.ChoiceField):
    """One of some choices that a list is narrowed down to, or all of them."""

    def __init__(self, label: Any, everything: str | Promise, *choices: Choice) -> None:
        super().__init__(label=label, required=False, choices=[("", everything), *choices])


class NameField(forms.CharField):
    """The name of a key, or a part of it, exactly as typed.

    A browser drops line breaks from a field, so invisible characters are shown and typed spelled: `[U+000A]`. The
    cleaned name has the characters themselves.
    """

    def __init__(self, *, example: str = "", **kwargs: Any) -> None:
        typing = {"autocomplete": "off", "spellcheck": "false", "autocapitalize": "none"}
        shown = {"placeholder": example} if example else {}
        kwargs.setdefault("widget", forms.TextInput(attrs=typing | shown))
        super().__init__(strip=False, **kwargs)

    def to_python(self, value: Any) -> str:
        """The name that was typed. Raises ValidationError for text that no name can contain."""
        text = super().to_python(value)
        return typed_name(text) if text else ""

    def bound_data(self, data: Any, initial: Any) -> str:
        """The typed name, as `prepare_value` takes it."""
        return names.typed(data or "")

    def prepare_value(self, value: Any) -> str:
        """The name as the field shows it."""
        return names.typeable(value or "")


class PrefixFilter(NameField):
    """The beginning of the names that a list is narrowed down to."""

    def __init__(self, label: Any) -> None:
        super().__init__(label=label, required=False, example="master:")


def typed_name(text: str) -> str:
    """The name that a person typed. Raises ValidationError for text that no key can have in its name."""
    name = names.typed(text)
    if not names.storable(name) or len(name.encode()) > MAX_NAME_BYTES:
        raise forms.ValidationError(
            _("No key can have this in its name: a name is text without NUL of at most 512 bytes.")
        )
    return name


def typed_names(text: str) -> list[str]:
    """The names of a text with one typed name per line, each once, without empty lines. Raises ValidationError."""
    lines = text.replace("\r\n", "\n").split("\n")
    return list(dict.fromkeys(typed_name(line) for line in lines if line))


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


def _zone() -> str:
    return gettext("The time zone is %(zone)s.") % {"zone": timezone.get_current_timezone_name()}


class MomentField(forms.DateTimeField):
    """A moment in the reader's time zone, which the hint names."""

    def __init__(self, *, seconds: bool = False, help_text: str | Promise = "", **kwargs: Any) -> None:
        step, form = ({"step": "1"}, "%Y-%m-%dT%H:%M:%S") if seconds else ({}, "%Y-%m-%dT%H:%M")
        widget = forms.DateTimeInput(attrs={"type": "datetime-local", **step}, format=form)
        in_zone = lazy(_zone, str)()
        hint = format_lazy("{} {}", help_text, in_zone) if help_text else in_zone
        super().__init__(widget=widget, help_text=hint, **kwargs)


class StorableField(forms.CharField):
    """A text that is never refused. Characters that Postgres cannot store are replaced."""

    def to_python(self, value: Any) -> str:
        """The text as it can be stored."""
        return storable(super().to_python(value) or "")


class ExplanationField(forms.CharField):
    """A reason or a note of some sentences that another person reads; nothing else is refused than a short one."""

    def __init__(self, *, rows: int = 3, **kwargs: Any) -> None:
        super().__init__(widget=forms.Textarea(attrs={"rows": rows}), **kwargs)

    def validate(self, value: str) -> None:
        """Refuse a text that explains nothing."""
        super().validate(value)
        if value and not explains(value):
            raise forms.ValidationError(TOO_SHORT)

    def widget_attrs(self, widget: forms.Widget) -> dict[str, Any]:
        """The browser says it before the text is sent."""
        return {**super().widget_attrs(widget), "minlength": str(LEAST)}


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
