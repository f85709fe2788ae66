"""The forms of the runbook: the filters of its list, notes, to-dos and stated operations."""

from datetime import date, datetime, time, timedelta
from typing import Any

from django import forms
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from kvops.cloudflare import MAX_NAME_BYTES
from kvops.models import Environment, Family, Namespace, Person, StatedOperation
from kvops.runbook import by_hand, notes as runbook_notes, procedures
from kvops.runbook.entries import EntryKind, RunbookSearch
from kvops.web.fields import (
    ChoiceFilter,
    EnvironmentFilter,
    ExplanationField,
    FamilyField,
    MomentField,
    NameField,
    PlaceField,
    typed_names,
)

_TYPED = {"autocomplete": "off", "spellcheck": "false", "autocapitalize": "none"}
_YEARS = _("Choose days between 2000 and 2050.")
_WITHIN = [MinValueValidator(date(2000, 1, 1), _YEARS), MaxValueValidator(date(2050, 12, 31), _YEARS)]


class DayFilter(forms.DateField):
    """A day that a list begins or ends with."""

    def __init__(self, label: Any) -> None:
        widget = forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")
        super().__init__(label=label, required=False, widget=widget, validators=_WITHIN)


def _procedures() -> list[tuple[str, str | Promise]]:
    return [("", _("All procedures")), *((one.name, one.title) for one in procedures.current())]


class RunbookFilter(forms.Form):
    """The filters of the list; every field may be empty."""

    kind = ChoiceFilter(_("Kind"), _("All kinds"), *EntryKind.choices)
    procedure = forms.ChoiceField(label=_("Procedure"), required=False, choices=_procedures)
    family = FamilyField(
        Family.objects.order_by("binding", "pattern"), label=_("Family"), required=False, empty_label=_("All families")
    )
    environment = EnvironmentFilter()
    person = forms.CharField(
        label=_("Person"), required=False, max_length=200, help_text=_("A part of the name or address.")
    )
    key = NameField(label=_("Key"), required=False, help_text=_("The exact name: clean-ups and restores of it too."))
    part = NameField(
        label=_("Part of a key"),
        required=False,
        help_text=_("Searches prefixes of operations, and keys that were read or stated."),
    )
    since = DayFilter(_("From"))
    until = DayFilter(_("To"))
    after = PlaceField()

    def search(self) -> RunbookSearch | None:
        """The search for these filters; None if one of them cannot be read."""
        if not self.is_valid():
            return None
        chosen = dict(self.cleaned_data)
        since, until, before = (chosen.pop(name) for name in ("since", "until", "after"))
        return RunbookSearch(
            **chosen,
            since=_midnight(since) if since else None,
            until=_midnight(until + timedelta(days=1)) if until else None,
            before=before,
        )


def _midnight(day: date) -> datetime:
    return timezone.make_aware(datetime.combine(day, time.min))


def _people() -> QuerySet[Person]:
    """The persons with a role."""
    return Person.objects.filter(grants__revoked_at=None, grants__isnull=False).distinct().order_by("name")


class EntryNoteForm(forms.Form):
    """A note."""

    text = forms.CharField(
        label=_("Note"),
        max_length=runbook_notes.LONGEST,
        help_text=_("Markdown: lists, code, links. Everybody can read it, and it cannot be changed."),
        widget=forms.Textarea(attrs={"rows": 4}),
    )


class TodoForm(forms.Form):
    """A to-do with its owner and its day."""

    text = forms.CharField(label=_("To do"), max_length=500)
    owner = forms.ModelChoiceField(Person.objects.none(), label=_("Owner"), empty_label=None)
    due = forms.DateField(label=_("Due"), widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"))

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.fields["owner"].queryset = _people()  # type: ignore[attr-defined]


class ByHandForm(forms.Form):
    """What a person did on keys outside KVOps."""

    verb = forms.ChoiceField(label=_("Operation"), choices=StatedOperation.Verb.choices, widget=forms.RadioSelect)
    person = forms.ModelChoiceField(
        Person.objects.none(), label=_("Done by"), empty_label=None, help_text=_("The person who typed the command.")
    )
    done_at = MomentField(label=_("Done at"), seconds=True)
    environment = forms.ModelChoiceField(
        Environment.objects.order_by("order"), label=_("Environment"), to_field_name="slug", empty_label=None
    )
    binding = forms.ChoiceField(label=_("Binding"))
    names = forms.CharField(
        label=_("Keys"),
        strip=False,
        help_text=_("One name a line. A line break in a name is written [U+000A]."),
        widget=forms.Textarea(attrs={"rows": 2, **_TYPED}),
        max_length=by_hand.MOST * (MAX_NAME_BYTES + 2),
    )
    command = forms.CharField(
        label=_("Command, without the value"),
        required=False,
        max_length=1000,
        help_text=_("Such as: wrangler kv key put system-root --binding SETTINGS --path FILE"),
        widget=forms.TextInput(attrs=_TYPED),
    )
    reason = ExplanationField(label=_("Reason"), max_length=1000, rows=2, help_text=_("Never a value."))

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.fields["person"].queryset = _people()  # type: ignore[attr-defined]
        bindings = Namespace.objects.order_by("binding").values_list("binding", flat=True).distinct()
        self.fields["binding"].choices = [(one, one) for one in bindings]  # type: ignore[attr-defined]

    def clean_done_at(self) -> datetime:
        """Refuse years for which no time can be computed."""
        at: datetime = self.cleaned_data["done_at"]
        if not 2000 <= at.year <= 2050:
            raise forms.ValidationError(_YEARS)
        return at

    def clean_names(self) -> list[str]:
        """The names, each once, without empty lines."""
        return typed_names(self.cleaned_data["names"])


class TodoFilter(forms.Form):
    """The filters of the to-dos."""

    owner = forms.ModelChoiceField(Person.objects.none(), label=_("Owner"), required=False, empty_label=_("Everybody"))
    after = PlaceField()

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.fields["owner"].queryset = _people()  # type: ignore[attr-defined]
