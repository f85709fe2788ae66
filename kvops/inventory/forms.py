"""The filters of the pages of keys and of unexplained changes, as they stand in the address, and their forms."""

from functools import cached_property
from typing import Any

from django import forms
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from kvops.cloudflare import MAX_NAME_BYTES
from kvops.inventory import browse, reveal, unexplained as unexplained_deletions
from kvops.inventory.browse import Expiring
from kvops.inventory.families import Families
from kvops.inventory.key_list import matching, order as key_order
from kvops.inventory.key_list.matching import Matches
from kvops.inventory.key_list.order import KeyOrder, KeyPlace
from kvops.inventory.key_list.query import KeyQuery
from kvops.inventory.unexplained import OddKey
from kvops.models import Category, Family, Namespace, Scan
from kvops.names import storable
from kvops.web.fields import ChoiceFilter, EnvironmentFilter, ExplanationField, FamilyField, NameField, PlaceField
from kvops.web.ranges import Period, PeriodForm

SHORTEST_PART = 3
"""Characters. The trigram index finds no shorter part of a name."""
EXPIRY_DAYS = 90
"""Days. The chart of keys without an expiration shows these if the address names no period."""


class KeyForm(forms.Form):
    """The name of a key, as it stands in the address."""

    name = forms.CharField(strip=False)

    def clean_name(self) -> str:
        """Refuse a name that no key can have."""
        name: str = self.cleaned_data["name"]
        if not storable(name) or len(name.encode()) > MAX_NAME_BYTES:
            raise forms.ValidationError(_("No key can have this name."))
        return name


class LayoutForm(forms.Form):
    """The layout of a value: as stored, or JSON laid out for reading."""

    layout = forms.ChoiceField(required=False, choices=[("", ""), ("json", "")])


class RevealForm(LayoutForm):
    """The key whose value is to be revealed, and the reason.

    The name is in the form: allauth repeats a request after the password only if its address has no query.
    """

    name = NameField(widget=forms.HiddenInput)
    reason = ExplanationField(
        label=_("Reason for revealing the value"),
        help_text=_("It is kept in the audit log and in the runbook. Leave the value out."),
        max_length=reveal.LONGEST,
        rows=2,
    )


class KeyFilter(forms.Form):
    """The filters for keys; every field may be empty."""

    prefix = NameField(label=_("Name begins with"), required=False)  # type: ignore[assignment]  # not the form's own
    part = NameField(label=_("Name contains"), required=False)
    expiring = forms.TypedChoiceField(
        label=_("Expiration"),
        required=False,
        choices=[("", _("All")), *Expiring.choices],
        coerce=Expiring,
        empty_value=None,
    )
    category = forms.TypedChoiceField(
        required=False,
        choices=[("", ""), *Category.choices],
        coerce=Category,
        empty_value=None,
        widget=forms.HiddenInput,
    )
    family = forms.TypedChoiceField(required=False, empty_value=None, widget=forms.HiddenInput)
    sort = forms.TypedChoiceField(
        required=False, choices=KeyOrder.choices, coerce=KeyOrder, empty_value=KeyOrder.NAME, widget=forms.HiddenInput
    )
    after = forms.CharField(required=False, strip=False, widget=forms.HiddenInput)

    def __init__(self, namespace: Namespace, data: dict[str, str]) -> None:
        super().__init__(data)
        self.namespace = namespace
        self.fields["part"].widget.attrs["placeholder"] = _("at least 3 characters")
        self._matches: dict[float, Matches] = {}
        field = self.fields["family"]
        field.choices = lambda: [(pk, "") for pk in self._families]  # type: ignore[attr-defined]
        field.coerce = lambda pk: self._families[int(pk)]  # type: ignore[attr-defined]

    @cached_property
    def _families(self) -> dict[int, Family]:
        return Family.objects.filter(binding=self.namespace.binding).in_bulk()

    def clean_part(self) -> str:
        """Refuse a part that no index can look up."""
        part: str = self.cleaned_data["part"]
        if part and len(part) < SHORTEST_PART:
            raise forms.ValidationError(
                _("Type at least three characters, or the beginning of the name in the field before.")
            )
        return part

    def clean(self) -> dict[str, object]:
        """Refuse a place that the chosen order does not have."""
        chosen = super().clean() or self.cleaned_data
        if chosen.get("sort") and chosen.get("after") and KeyPlace.read(chosen["after"]) is None:
            self.add_error(None, _("This page of the list does not exist. Go back to its start."))
        return chosen

    @property
    def chosen_prefix(self) -> str:
        """The prefix; empty without one, or if a filter is invalid."""
        return str(self.cleaned_data["prefix"]) if self.is_valid() else ""

    @property
    def chosen_family(self) -> Family | None:
        """The family; None without one, or if a filter is invalid."""
        family: Family | None = self.cleaned_data["family"] if self.is_valid() else None
        return family

    @property
    def scope(self) -> str:
        """The prefix on display: the one that was typed, or the chosen family's pattern."""
        return self.chosen_prefix or (self.chosen_family.pattern if self.chosen_family else "")

    @cached_property
    def owner(self) -> Family | None:
        """The family of the scope; None without a scope."""
        return Families(self._families.values()).family(self.scope) if self.scope else None

    @property
    def is_clearable(self) -> bool:
        """Whether a clean-up of a cache can be of exactly these keys: those without an expiration under a prefix."""
        if not self.is_valid() or not self.scope or self.cleaned_data["part"]:
            return False
        # Under a prefix of a nested family the chosen family has other keys than the clean-up would have.
        owner = self.owner
        own = owner is not None and owner.category == Category.CACHE and self.chosen_family in {None, owner}
        without = self.cleaned_data["expiring"]
        same = without == Expiring.NEVER or (without == Expiring.LACKING and owner is not None and not owner.mark)
        return own and same and self.cleaned_data["category"] in {None, Category.CACHE}

    @property
    def changeable_scope(self) -> str | None:
        """The scope of a bulk change of exactly these keys of a cache; None if no bulk change can be of them."""
        if not self.is_valid() or not self.scope or self.cleaned_data["part"]:
            return None
        owner = self.owner
        own = owner is not None and owner.category == Category.CACHE and self.chosen_family in {None, owner}
        expiring = self.cleaned_data["expiring"]
        if (
            not own
            or expiring in {Expiring.ANY, Expiring.SOON}
            or self.cleaned_data["category"] not in {None, Category.CACHE}
        ):
            return None
        return str(expiring or "")

    @property
    def is_markable(self) -> bool:
        """Whether the family of the keys names a mark for regeneration."""
        return self.owner is not None and self.owner.mark != ""

    @property
    def order(self) -> KeyOrder:
        """The order of the list; that of the names if a filter is invalid."""
        return KeyOrder(self.cleaned_data["sort"]) if self.is_valid() else KeyOrder.NAME

    @property
    def query_is_of_names(self) -> bool:
        """Whether an index answers all filters, so that the tree is of all matches."""
        query = self.query(0.0)
        return query is not None and query.is_of_names

    def query(self, now: float) -> KeyQuery | None:
        """The filters of the list; None if one is invalid. `now` is the base for a soon expiration."""
        if not self.is_valid():
            return None
        chosen = {name: self.cleaned_data[name] for name in ("prefix", "part", "category", "family", "expiring")}
        return KeyQuery(self.namespace, now=now, **chosen)

    def matches(self, now: float) -> Matches | None:
        """The keys that match, counted once; None without a filter, or if one is invalid."""
        query = self.query(now)
        if query is None or query.is_everything:
            return None
        if now not in self._matches:
            self._matches[now] = matching.count(query, places=bool(self.order))
        return self._matches[now]

    def page(self, *, now: float, limit: int, after: str | None = None) -> browse.Found:
        """The keys that match the filters, from the position `after`. If a filter is invalid, no keys."""
        query = self.query(now)
        if query is None:
            return browse.Found([], None)
        place = self.cleaned_data["after"] if after is None else after
        if self.order:
            return key_order.page(query, self.matches(now), self.order, after=KeyPlace.read(place), limit=limit)
        # The count of a part read the places of all matches, if they are few.
        matches = self.matches(now) if query.part else None
        if matches and matches.is_exact and matches.places is not None:
            return key_order.page_of_matches(query, matches.places, after=place, limit=limit)
        chosen = {name: self.cleaned_data[name] for name in ("prefix", "part", "category", "family", "expiring")}
        return browse.keys(self.namespace, now=now, limit=limit, after=place, **chosen)


class ExpiryFilter(PeriodForm):
    """The family whose trend is shown, without one all caches together, and the period of its chart."""

    family = FamilyField(
        Family.objects.order_by("binding", "pattern"),
        label=_("Trend of"),
        required=False,
        empty_label=_("All caches"),
    )

    @property
    def chosen_family(self) -> Family | None:
        """The family; None without one, or if the address names none that exists."""
        family: Family | None = self.cleaned_data["family"] if self.is_valid() else None
        return family

    @property
    def shown_period(self) -> Period:
        """The period of the chart; if the address names none that exists, the last 90 days."""
        return self.period or Period(EXPIRY_DAYS, timezone.localdate())


class UnexplainedFilter(forms.Form):
    """The filters for scans; every field may be empty."""

    state = ChoiceFilter(_("State"), _("All states"), ("open", _("Not acknowledged")), ("done", _("Acknowledged")))
    environment = EnvironmentFilter()
    after = PlaceField()

    def scans(self) -> QuerySet[Scan]:
        """The scans with unexplained deletions or unexpected keys that match the filters, newest first."""
        found = Scan.objects.odd().order_by("-pk")
        if not self.is_valid():
            return found.none()
        chosen = self.cleaned_data
        if chosen["state"]:
            found = found.filter(acknowledged_at__isnull=chosen["state"] == "open")
        if chosen["environment"]:
            found = found.filter(namespace__environment=chosen["environment"])
        return found.filter(pk__lt=chosen["after"]) if chosen["after"] else found


class UnexplainedNamesFilter(forms.Form):
    """The filter for names: the deletions, or with `show=new` the unexpected keys."""

    show = forms.CharField(required=False, max_length=10, widget=forms.HiddenInput)
    prefix = forms.CharField(  # type: ignore[assignment]  # not Django's prefix of the field names
        label=_("Prefix"), required=False, strip=False, max_length=512
    )
    after = forms.CharField(required=False, strip=False, max_length=512, widget=forms.HiddenInput)

    def names(self, scan: Scan) -> QuerySet[OddKey]:
        """The names of a scan that match the filter, in order. If the filter is invalid, no names."""
        if not self.is_valid():
            return unexplained_deletions.names(scan).none()
        chosen = self.cleaned_data
        return unexplained_deletions.names(
            scan, prefix=chosen["prefix"], after=chosen["after"], new=self.shows_new(scan)
        )

    def shows_new(self, scan: Scan) -> bool:
        """Whether the unexpected keys are shown. They are also shown if the scan found nothing else."""
        return self.data.get("show") == "new" or not scan.unexplained


class AcknowledgeForm(forms.Form):
    """A person's findings."""

    note = ExplanationField(label=_("Your findings, or the person you asked"), max_length=2000)


def bindings() -> list[tuple[str, str]]:
    """The bindings of the environments, each once."""
    found = Namespace.objects.order_by("binding").values_list("binding", flat=True).distinct()
    return [(binding, binding) for binding in found]


def categories() -> list[tuple[str, Any]]:
    """The categories that a family may have."""
    return [
        (Category.CACHE.value, Category.CACHE.label),
        (Category.SETTINGS.value, Category.SETTINGS.label),
        (Category.LEGACY.value, _("legacy master: only for old keys that were found")),
    ]


class PatternForm(forms.Form):
    """A key name to look up, or a pattern to try; every field may be empty."""

    binding = forms.ChoiceField(label=_("Binding"), required=False)
    name = NameField(label=_("Name of a key"), required=False, example="session:5f1c9a0b7e")
    pattern = NameField(label=_("Pattern to try"), required=False, example="session:")
    exact = forms.BooleanField(label=_("Exactly this key, not a prefix"), required=False)
    category = forms.ChoiceField(label=_("Category"), required=False)

    def __init__(self, data: dict[str, str]) -> None:
        super().__init__(data or None)
        self.fields["binding"].choices = bindings()  # type: ignore[attr-defined]
        self.fields["category"].choices = categories()  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        """Take the first choice where none was made."""
        chosen: dict[str, Any] = self.cleaned_data
        for name in ("binding", "category"):
            if not chosen.get(name) and (choices := self.fields[name].choices):  # type: ignore[attr-defined]
                chosen[name] = choices[0][0]
        if chosen.get("pattern", "").endswith("*") and not chosen.get("exact"):
            self.add_error("pattern", _("A prefix has no star at its end. Leave it out."))
        return chosen
