"""The filters of hits, and the file of a search that a person brings."""

from collections.abc import Iterable
from typing import Any

from django import forms
from django.db.models import QuerySet
from django.utils.translation import gettext_lazy as _

from kvops.models import ReferenceHit, ReferenceSearch
from kvops.references import reading
from kvops.references.report import MOST_BYTES
from kvops.web.fields import ChoiceFilter, PlaceField


class HitFilter(forms.Form):
    """The filters of the hits of a search; every field may be empty. `after` counts the hits of the pages before."""

    show = ChoiceFilter(_("Hits"), _("All hits"), ("new", _("New since the search before")), ("gone", _("Gone since")))
    certainty = ChoiceFilter(_("Certainty"), _("All"), *ReferenceHit.Certainty.choices)
    access = ChoiceFilter(_("Access"), _("All"), *ReferenceHit.Access.choices)
    family = ChoiceFilter(_("Family"), _("All families"))
    file = forms.CharField(label=_("Part of the file name"), required=False, max_length=200)
    after = PlaceField()

    def __init__(
        self,
        data: Any,
        *,
        search: ReferenceSearch,
        before: ReferenceSearch | None,
        families: Iterable[str],
        counting: QuerySet[ReferenceHit],
    ) -> None:
        super().__init__(data)
        self.search, self.before, self.counting = search, before, counting
        self.fields["family"] = ChoiceFilter(_("Family"), _("All families"), *((one, one) for one in families))

    def hits(self) -> QuerySet[ReferenceHit]:
        """The hits that match the filters, the most urgent first; none while a filter is wrong."""
        if not self.is_valid():
            return self.search.hits.none()
        chosen = self.cleaned_data
        found = self.counting
        if chosen["show"]:
            difference = reading.new_hits if chosen["show"] == "new" else reading.gone_hits
            found = difference(self.search, self.before) if self.before else found.none()
        for name in ("certainty", "access", "family"):
            if chosen[name]:
                found = found.filter(**{name: chosen[name]})
        if chosen["file"]:
            found = found.filter(file__icontains=chosen["file"])
        return reading.most_urgent_first(found)

    def place(self) -> int:
        """The number of hits on the pages before."""
        return (self.is_valid() and self.cleaned_data["after"]) or 0


class ReportForm(forms.Form):
    """The file of a search that was made elsewhere."""

    report = forms.FileField(
        label=_("File of a search"),
        help_text=_("The file that scan_references wrote with --output, at most 20 MiB. It holds hits, not your code."),
    )

    def clean_report(self) -> Any:
        """Refuse a file that is too large before it is read."""
        report = self.cleaned_data["report"]
        if (report.size or 0) > MOST_BYTES:
            raise forms.ValidationError(_("The file has more than 20 MiB."))
        return report
