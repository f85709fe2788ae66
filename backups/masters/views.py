"""Masters and clinics: the sources, their size, and the export."""

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from backups.generations import contents as generation_contents
from backups.generations.scope import BackupRefused
from backups.masters import clinics, start as masters_start
from backups.masters.forms import MastersForm
from backups.models import Generation
from kvops.cloudflare import CloudflareError
from kvops.people.signin import person_of
from kvops.web.acting import On, refusals_shown
from kvops.wording import reason_of

SHOWN = 10


@require_safe
@permission_required("kvops.view", raise_exception=True)
def index(request: HttpRequest) -> HttpResponse:
    """Choose an export; with a choice in the address, show its current number of rows."""
    asked = "environment" in request.GET and request.user.has_perm("kvops.operate")
    return _page(request, MastersForm(request.GET if asked else None, initial={"source": masters_start.FROM_D1}))


@require_POST
@permission_required("kvops.operate", raise_exception=True)
def start(request: HttpRequest) -> HttpResponse:
    """Start the export."""
    form, person = MastersForm(request.POST), person_of(request)
    if not form.is_valid():
        return _page(request, form, status=422)
    chosen, source = form.cleaned_data["masters"], form.cleaned_data["kept_source"]
    on = On(form.cleaned_data["environment"], f"namespace:{chosen.namespace.pk}")
    with refusals_shown(request, on, form=form):
        made = masters_start.start_export(chosen, source=source, actor=person.actor, person=person)
        messages.success(request, _("The export is under way."))
        return redirect("backups:generation", made.pk)
    return _page(request, form, status=422)


def _page(request: HttpRequest, form: MastersForm, *, status: int = 200) -> HttpResponse:
    backups = Generation.objects.filter(purpose=Generation.Purpose.MASTERS).select_related("environment", "namespace")
    context: dict[str, object] = {
        "form": form,
        "backups": backups.annotate(stale=generation_contents.STALE).order_by("-pk")[:SHOWN],
        "clinics": clinics.overview(),
        "clinics_prefix": clinics.PREFIX,
        "datasets": form.has_datasets,
        "may_operate": request.user.has_perm("kvops.operate"),
    }
    if form.is_bound and form.is_valid():
        context |= _counted(form)
    return render(request, "masters/index.html", context, status=status)


def _counted(form: MastersForm) -> dict[str, object]:
    """The number of rows of the choice, or the reason why it is not known."""
    chosen = form.cleaned_data["masters"]
    try:
        counts = masters_start.rows_by_table(chosen, source=form.cleaned_data["kept_source"])
    except (BackupRefused, CloudflareError) as error:
        return {"failure": reason_of(error)}
    return {
        "counts": counts,
        "rows": sum(each.rows for each in counts),
        "chosen": chosen,
        "environment": form.cleaned_data["environment"],
        "source": form.cleaned_data["kept_source"],
    }
