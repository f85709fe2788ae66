"""The filters of the backups page, and the form of a new backup."""

from datetime import date, datetime, time, timedelta

from django import forms
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db.models import QuerySet
from django.http import QueryDict
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from backups.generations import contents as generation_contents
from backups.generations.values import AT_ONCE
from backups.models import Generation, GenerationEntry
from backups.models.generations import GenerationQuerySet
from kvops.cloudflare import MAX_NAME_BYTES
from kvops.environments import apply as environments_apply
from kvops.models import Namespace
from kvops.models.inventory import beginning_with
from kvops.names import typeable
from kvops.runbook import todo
from kvops.web.fields import ChoiceFilter, EnvironmentFilter, PlaceField, PrefixFilter, typed_name, typed_names

MAX_PREFIXES = 20
_DAYS = _("Choose days between 2000 and 2050.")
_NOT_YET = _("Choose a day up to today. Nobody knows yet what can be restored later.")
STALE = "stale"

Status = Generation.Status
Outcome = GenerationEntry.Outcome


def _midnight(day: date) -> datetime:
    return timezone.make_aware(datetime.combine(day, time.min))


class GenerationFilter(forms.Form):
    """The filters of the backups; every field may be empty."""

    environment = EnvironmentFilter()
    status = ChoiceFilter(_("Status"), _("All statuses"), *Status.choices, (STALE, _("verified, but out of date")))
    purpose = ChoiceFilter(_("Purpose"), _("All purposes"), *Generation.Purpose.choices)
    prefix = PrefixFilter(_("Covers key or prefix"))  # type: ignore[assignment]  # not the form's own prefix
    as_of = forms.DateField(
        label=_("Could be restored on"),
        required=False,
        validators=[MinValueValidator(date(2000, 1, 1), _DAYS), MaxValueValidator(todo.today, _NOT_YET)],
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
        help_text=_("Backups that existed and were verified at the end of this day."),
    )
    after = PlaceField()

    def generations(self) -> GenerationQuerySet:
        """The matching backups, newest first; none if a filter is invalid."""
        if not self.is_valid():
            return Generation.objects.none()
        chosen = self.cleaned_data
        found = Generation.objects.select_related("environment", "namespace", "run", "made_by").order_by("-pk")
        if chosen["as_of"]:
            found = generation_contents.verified_at_the(found, _midnight(chosen["as_of"] + timedelta(days=1)))
        for name in ("environment", "purpose"):
            if chosen[name]:
                found = found.filter(**{name: chosen[name]})
        if chosen["status"] == STALE:
            found = found.verified().filter(generation_contents.STALE)
        elif chosen["status"]:
            found = found.filter(status=chosen["status"])
        if prefix := chosen["prefix"]:
            found = found.filter(prefixes__has_any_keys=[prefix[:end] for end in range(len(prefix) + 1)])
        return found.filter(pk__lt=chosen["after"]) if chosen["after"] else found


class ValuesForm(forms.Form):
    """The keys whose values are shown together: the first three."""

    name = forms.Field(widget=forms.MultipleHiddenInput)

    def clean_name(self) -> list[str]:
        """Their names as the page wrote them. Raises ValidationError."""
        return [typed_name(text) for text in self.cleaned_data["name"][:AT_ONCE]]


class EntryFilter(forms.Form):
    """The filters of a backup's names, and the name to start from."""

    prefix = PrefixFilter(_("Prefix"))  # type: ignore[assignment]  # not the form's own prefix
    outcome = ChoiceFilter(_("Outcome"), _("All outcomes"), *Outcome.choices)
    after = forms.CharField(required=False, strip=False, max_length=MAX_NAME_BYTES, widget=forms.HiddenInput)

    def entries(self, generation: Generation) -> QuerySet[GenerationEntry]:
        """The entries in the order of their names; none if a filter is invalid or no name can match."""
        if not self.is_valid():
            return GenerationEntry.objects.none()
        chosen = self.cleaned_data
        found = generation.entries.order_by("name")
        found = beginning_with(found, chosen["prefix"])
        if chosen["outcome"]:
            found = found.filter(outcome=chosen["outcome"])
        return found.filter(name__gt=chosen["after"]) if chosen["after"] else found


def _namespaces() -> list[tuple[str, str]]:
    found = Namespace.objects.select_related("environment").order_by("environment__order", "binding")
    return [(str(each), f"{each.environment.name} · {each.binding} ({each.title})") for each in found]


class BackupForm(forms.Form):
    """A namespace and the prefixes to back up, one per line."""

    namespace = forms.ChoiceField(label=_("Namespace"), choices=_namespaces)
    prefix = forms.CharField(  # type: ignore[assignment]  # not the form's own prefix
        label=_("Prefixes"),
        strip=False,
        max_length=MAX_PREFIXES * MAX_NAME_BYTES,
        widget=forms.Textarea(attrs={"rows": 3, "placeholder": "master:", "spellcheck": "false"}),
        help_text=_(
            "One prefix per line. All keys under them are backed up. A line break in a name is written [U+000A]."
        ),
    )

    @classmethod
    def asked(cls, query: QueryDict) -> "BackupForm":
        """The form filled in from an address.

        A person's form has a `namespace`, and each line of `prefix` is one. A link of a page has `env` and `binding`,
        and each of its `prefix` is one, also one with a line break.
        """
        namespace, prefixes = query.get("namespace"), query.getlist("prefix")
        if not namespace:
            namespace = f"{query.get('env', '')}/{query.get('binding', '')}"
            prefixes = [typeable(one) for one in prefixes]
        values = {"namespace": namespace, "prefix": "\n".join(prefixes)}
        return cls(values) if values["prefix"] else cls(initial=values)

    def clean_namespace(self) -> Namespace:
        """The namespace itself."""
        return environments_apply.find_namespace(self.cleaned_data["namespace"])

    def clean_prefix(self) -> list[str]:
        """The prefixes exactly as entered, without empty lines."""
        found = typed_names(self.cleaned_data["prefix"])
        if not found:
            raise forms.ValidationError(_("Name at least one prefix."))
        if len(found) > MAX_PREFIXES:
            raise forms.ValidationError(_("At most 20 prefixes at once."))
        return found
