"""The other side of a comparison, and the filter of the differing names."""

from collections.abc import Sequence

from django import forms
from django.db.models import QuerySet
from django.http import QueryDict
from django.utils.translation import gettext as _, gettext_lazy

from backups.comparisons import start as comparison_start
from backups.models import Comparison, ComparisonEntry, Generation
from kvops.cloudflare import MAX_NAME_BYTES
from kvops.models import Namespace
from kvops.models.inventory import beginning_with
from kvops.prefixes import common
from kvops.web.fields import ChoiceFilter, PrefixFilter
from kvops.wording import moment

OFFERED = 100
"""Backups; at most this many are offered, newest first. An address can name any other."""

CHANGED = "changed"


class ComparisonForm(forms.Form):
    """The other side of the comparison: another backup, or the current contents of a namespace."""

    against = forms.ChoiceField(label=gettext_lazy("Compare it with"))

    def __init__(self, data: QueryDict | None = None, *, generation: Generation, asked: str = "") -> None:
        asked = data.get("against", "") if data is not None else asked
        self.namespaces = {
            f"kv:{one.pk}": one
            for one in Namespace.objects.filter(binding=generation.namespace.binding)
            .select_related("environment")
            .order_by("environment__order")
        }
        self.backups = {f"backup:{one.pk}": one for one in _offered(generation, asked)}
        earlier = [one for one in self.backups.values() if one.started_at < generation.started_at]
        same = [one for one in earlier if _scope(one) == _scope(generation)]
        before = next((f"backup:{one.pk}" for one in (*same, *earlier)), "")
        first = asked if asked in {*self.backups, *self.namespaces} else before or f"kv:{generation.namespace_id}"
        super().__init__(data, initial={"against": first})
        field = self.fields["against"]
        assert isinstance(field, forms.ChoiceField)  # noqa: S101  (for the type checker)
        field.choices = [
            (_("KV now"), [(key, _namespace(one)) for key, one in self.namespaces.items()]),
            (_("Backups, newest first"), [(key, _named_backup(one)) for key, one in self.backups.items()]),
        ]

    def clean_against(self) -> Generation | Namespace:
        """The chosen backup or namespace."""
        chosen = self.cleaned_data["against"]
        return self.backups.get(chosen) or self.namespaces[chosen]


def _scope(one: Generation) -> tuple[int, list[str], str]:
    return one.namespace_id, one.prefixes, one.source


def _offered(generation: Generation, asked: str) -> Sequence[Generation]:
    """Backups whose prefixes overlap with those of this backup."""
    found = comparison_start.comparable(generation)
    wanted = (
        found.filter(pk=asked.removeprefix("backup:")) if asked.removeprefix("backup:").isdecimal() else found.none()
    )
    offered = [one for one in found[:OFFERED] if common(one.prefixes, generation.prefixes)]
    return [*offered, *(one for one in wanted[:1] if one not in offered)]


def _namespace(one: Namespace) -> str:
    return f"{_('KV now')} · {one.environment.name} · {one.binding} ({one.title})"


def _named_backup(one: Generation) -> str:
    under = " ".join(one.shown_prefixes)
    status = Generation.Status(one.status).label
    name = _("Backup %(pk)s") % {"pk": one.pk}
    return f"{name} · {one.environment.name} · {under} · {moment(one.started_at)} · {status}"


class ComparisonFilter(forms.Form):
    """The filters of the differing names; every field may be empty."""

    kind = ChoiceFilter(
        gettext_lazy("Difference"),
        gettext_lazy("All differences"),
        (CHANGED, gettext_lazy("changed")),
        *ComparisonEntry.Kind.choices,
    )
    prefix = PrefixFilter(gettext_lazy("Prefix"))  # type: ignore[assignment]  # not the form's own prefix
    after = forms.CharField(required=False, strip=False, max_length=MAX_NAME_BYTES, widget=forms.HiddenInput)

    def entries(self, comparison: Comparison) -> QuerySet[ComparisonEntry]:
        """The matching names in the order of their bytes; none if a filter is invalid."""
        if not self.is_valid():
            return ComparisonEntry.objects.none()
        found, chosen = comparison.entries.order_by("name"), self.cleaned_data
        if chosen["kind"] == CHANGED:
            found = found.filter(kind__in=ComparisonEntry.CHANGED)
        elif chosen["kind"]:
            found = found.filter(kind=chosen["kind"])
        found = beginning_with(found, chosen["prefix"])
        return found.filter(name__gt=chosen["after"]) if chosen["after"] else found
