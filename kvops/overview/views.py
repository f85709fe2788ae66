"""The first page: a verdict, things to do, work under way and coming, and the table of the families."""

from datetime import datetime, time, timedelta

from django import forms
from django.contrib.auth.decorators import permission_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe

from kvops import clock
from kvops.models import Role
from kvops.overview import page as overview_page, status
from kvops.overview.status import Reader
from kvops.people.signin import person_of
from kvops.runbook import todo
from kvops.web.pages import live_part


@require_safe
@permission_required("kvops.view", raise_exception=True)
def index(request: HttpRequest) -> HttpResponse:
    """Show where everything stands; with a past day, the backups that existed at its end."""
    form = AsOfForm(request.GET if "as_of" in request.GET else None)
    wrong = form.is_bound and not form.is_valid()
    as_of = form.moment() if form.is_bound else None
    overview = overview_page.Overview(_reader(request), as_of)
    context = {
        "overview": overview,
        "form": form,
        "as_of": form.cleaned_data["as_of"] if as_of else None,
        "running": [] if as_of else overview.running,
        "may_operate": overview.reader.may_operate,
    }
    template = "overview/as_of.html" if as_of else "overview/index.html"
    return render(request, template, context, status=422 if wrong else 200)


@require_safe
@permission_required("kvops.view", raise_exception=True)
def live(request: HttpRequest) -> HttpResponse:
    """Show the work under way. If there is none, load the whole page again."""
    running = overview_page.under_way(status.running()[: status.SHOWN], clock.now())
    return live_part(request, "overview/index.html", {"running": running}, moving=bool(running))


def _reader(request: HttpRequest) -> Reader:
    held = {Role.OPERATOR: "kvops.operate", Role.REVIEWER: "kvops.review"}
    roles = frozenset(role for role, permission in held.items() if request.user.has_perm(permission))
    return Reader(person_of(request), roles)


class AsOfForm(forms.Form):
    """A day up to today."""

    as_of = forms.DateField(
        label=_("As of"),
        input_formats=["%Y-%m-%d"],
        widget=forms.DateInput(attrs={"type": "date"}),
        error_messages={"invalid": _("Write the day as YYYY-MM-DD, such as 2026-11-20.")},
        required=False,
    )

    def clean_as_of(self) -> object:
        """Refuse a day that is not over or has not begun."""
        day = self.cleaned_data["as_of"]
        if day and day > todo.today():
            raise forms.ValidationError(_("Choose a day up to today. Nobody knows yet what can be restored later."))
        return day

    def moment(self) -> datetime | None:
        """The end of the day in the team's time zone; None for now."""
        day = self.cleaned_data.get("as_of") if self.is_valid() else None
        if not day:
            return None
        return timezone.make_aware(datetime.combine(day + timedelta(days=1), time.min)) - timedelta(microseconds=1)
