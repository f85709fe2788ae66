"""The encrypted place of a plain file, recorded by a person."""

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from backups.exports import kept as kept_files
from backups.exports.forms import PlaceForm
from backups.models import PlainDump
from kvops.people.signin import person_of
from kvops.web.acting import On, refusals_shown


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
        kept_files.record_place(dump, place=form.cleaned_data["kept_at"], by=person_of(request))
        messages.success(request, _("The place is recorded."))
    return redirect("backups:backups")
