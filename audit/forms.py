"""The filters of the audit page, as they stand in its address."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from typing import Any

from django import forms
from django.core.validators import MaxValueValidator, MinValueValidator
from django.utils import timezone
from django.utils.functional import Promise, cached_property
from django.utils.translation import gettext_lazy as _

from audit.actions import Action
from audit.models import Entry, EntryQuerySet, actors_and_environments
from audit.subjects import SYSTEM, Tree, known, part_of

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


type _Choices = list[tuple[str | Promise, str | Promise | list[tuple[str, str]]]]


class _ActorField(forms.ChoiceField):
    """The actors of the log: people, commands and the product's own parts. The address may name any other actor."""

    def valid_value(self, value: str) -> bool:
        """Whether the value is an actor of the log."""
        return "\x00" not in value and Entry.objects.filter(actor=value).exists()


def _grouped(actors: Sequence[str], chosen: str) -> _Choices:
    """The actors in groups. Others, such as those of failed sign-ins, are offered only if one is chosen."""
    people = [(actor, actor) for actor in actors if "<" in actor]
    commands = [(actor, actor.removeprefix("cli:")) for actor in actors if actor.startswith("cli:")]
    system = [(actor, str(part_of(actor)) or actor) for actor in actors if actor.startswith(SYSTEM)]
    offered = {value for value, _shown in (*people, *commands, *system)}
    other = [(chosen, chosen)] if chosen and chosen not in offered else []
    groups: _Choices = [
        (_("People"), people),
        (_("Commands"), commands),
        (_("KVOps itself"), system),
        (_("Others"), other),
    ]
    return [("", _("Everybody")), *((title, some) for title, some in groups if some)]


class FilterForm(forms.Form):
    """The filters for entries; every field may be empty. Dates are days in the current time zone."""

    text = forms.CharField(
        label=_("Contains"),
        required=False,
        min_length=2,
        max_length=200,
        help_text=_("A part of the subject, its name, the actor or the details."),
    )
    action = forms.ChoiceField(label=_("Action"), required=False, choices=[("", _("All actions")), *Action.choices])
    actor = _ActorField(
        label=_("Actor"),
        required=False,
        help_text=_("Anybody else, such as a failed sign-in, is found with “Contains”."),
    )
    environment = forms.ChoiceField(label=_("Environment"), required=False)
    subject = forms.CharField(
        label=_("Subject"),
        required=False,
        help_text=_(
            "A kind and a number with a colon between them, as entries have them. “Contains” finds other words."
        ),
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

    def __init__(self, data: Mapping[str, Any]) -> None:
        super().__init__(data)
        actors, environments = actors_and_environments()
        actor, environment = self.fields["actor"], self.fields["environment"]
        assert isinstance(actor, forms.ChoiceField)  # noqa: S101  (for the type checker)
        assert isinstance(environment, forms.ChoiceField)  # noqa: S101
        actor.choices = _grouped(actors, str(data.get("actor") or ""))
        former = [one for one in environments if one not in self.names]
        now = [one for one in self.names if one in environments]
        shown = [(one, self.names.get(one, one)) for one in (*now, *former)]
        environment.choices = [("", _("All environments")), *shown]

    def clean(self) -> dict[str, Any]:
        """A period ends after it begins."""
        chosen = self.cleaned_data
        if chosen.get("since") and chosen.get("until") and chosen["since"] > chosen["until"]:
            self.add_error("until", _("The period ends before it begins."))
        return chosen

    def entries(self) -> EntryQuerySet:
        """The entries that match the filters, newest first. If a filter is invalid, no entries."""
        if not self.is_valid():
            return Entry.objects.none()
        chosen = self.cleaned_data
        found = Entry.objects.newest_first()
        if chosen["text"]:
            found = found.containing(chosen["text"])
        for name in ("action", "actor", "environment"):
            if chosen[name]:
                found = found.filter(**{name: chosen[name]})
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
    def names(self) -> Mapping[str, str]:
        """The shown names of the environments there are now. A former one has none."""
        return known().environments()

    @property
    def reads_everything(self) -> bool:
        """Whether the filters look into every entry, so that a page looks into a part of the log."""
        return self.is_valid() and bool(self.cleaned_data["text"])

    @property
    def folds(self) -> bool:
        """Whether the entries of a run share a line; not if some kind of entries was asked for."""
        return self.is_valid() and not any(self.cleaned_data[name] for name in ("text", "action", "subject", "key"))

    @cached_property
    def tree_of_subjects(self) -> Tree | None:
        """The subject with everything under it, if the filters ask for that."""
        if not (self.is_valid() and self.cleaned_data["subject"] and self.cleaned_data["tree"]):
            return None
        return known().under(self.cleaned_data["subject"])


def _midnight(day: date) -> datetime:
    return timezone.make_aware(datetime.combine(day, time.min))
