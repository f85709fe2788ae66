"""The encrypted place of a plain file, recorded by a person."""

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils.translation import gettext as _, gettext_lazy
from django.views.decorators.http import require_POST

from audit import log
from audit.actions import Action
from backups.models import PlainDump
from kvops.models import Person
from kvops.people.signin import person_of
from kvops.refusals import Refused
from kvops.web.acting import On, refusals_shown


class PlaceForm(forms.Form):
    """The place where a plain file is kept encrypted."""

    kept_at = forms.CharField(label=gettext_lazy("Kept encrypted at"), max_length=300)


@require_POST
@permission_required("kvops.operate", raise_exception=True)
def kept(request: HttpRequest, pk: int) -> HttpResponse:
    """Record where a plain file is kept encrypted."""
    dump = get_object_or_404(PlainDump.objects.select_related("namespace__environment"), pk=pk)
    form = PlaceForm(request.POST)
    if not form.is_valid():
        messages.error(request, _("Name the encrypted place of the file in at most 300 characters."))
        return redirect("backups:backups")
    with refusals_shown(request, On(dump.namespace.environment, f"dump:{pk}")):
        record_place(dump, place=form.cleaned_data["kept_at"], by=person_of(request))
        messages.success(request, _("The place is recorded."))
    return redirect("backups:backups")


class AlreadyKept(Refused):
    """Another person recorded the place first."""


def record_place(dump: PlainDump, *, place: str, by: Person) -> None:
    """Record the encrypted place of the file; an existing record stays. Raises AlreadyKept."""
    actor = by.actor
    with log.transaction():
        waiting = PlainDump.objects.filter(pk=dump.pk, kept_at="")
        if waiting.update(kept_at=place, kept_by=actor.text) != 1:
            raise AlreadyKept(_("The place of this file was recorded already."))
        log.record(Action.DUMP_KEPT, actor=actor, **dump.audited, digest=dump.sha256, details={"kept_at": place})
