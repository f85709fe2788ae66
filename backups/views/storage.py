"""The objects in the buckets as their newest listings showed them, and a new listing."""

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from backups import guards as guarding
from backups import reconciling
from backups.forms.storage import ObjectFilter
from backups.views.backups import refuse
from kvops import runs
from kvops.approvals import actor_of
from kvops.models import Environment
from kvops.signin import person_of

PAGE = 50


@require_safe
@permission_required("kvops.view", raise_exception=True)
def index(request: HttpRequest) -> HttpResponse:
    """Show what is in the buckets, by name, filtered and paged by the address."""
    form = ObjectFilter(request.GET)
    found = list(form.objects()[: PAGE + 1])
    context = {
        "form": form,
        "buckets": list(reconciling.buckets()),
        "objects": found[:PAGE],
        "after": found[PAGE - 1].pk if len(found) > PAGE else None,
        "filtered": any(request.GET.values()),
        "may_operate": request.user.has_perm("kvops.operate"),
    }
    return render(request, "storage/list.html", context)


@require_POST
@permission_required("kvops.operate", raise_exception=True)
def guards(request: HttpRequest, environment: str) -> HttpResponse:
    """Ask Cloudflare how the environment's bucket is guarded."""
    found = get_object_or_404(Environment, slug=environment)
    guard = guarding.look(found)
    if guard.known:
        messages.success(request, _("Cloudflare said how the bucket of %(name)s is guarded.") % {"name": found.name})
    else:
        messages.error(request, guard.why)
    return redirect("backups:storage")


@require_POST
@permission_required("kvops.operate", raise_exception=True)
def reconcile(request: HttpRequest, environment: str) -> HttpResponse:
    """List the environment's bucket anew and compare it with the copies."""
    found, person = get_object_or_404(Environment, slug=environment), person_of(request)
    try:
        run = reconciling.start(found, actor=actor_of(person), person=person)
    except runs.AlreadyOpen as refused:
        messages.error(request, str(refused))
        refuse(request, refused, found, f"environment:{environment}")
        return redirect("backups:storage")
    messages.success(request, _("The bucket is being listed."))
    return redirect("run", run.pk)
