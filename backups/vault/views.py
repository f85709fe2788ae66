"""Settings backups in 1Password: the page, and the button on a backup."""

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from backups.exports import onepassword_store
from backups.models import Generation
from backups.vault import standing, start as vault_start
from kvops.connections.onepassword import TOKEN
from kvops.models import Schedule
from kvops.people.signin import person_of
from kvops.web.acting import On, refusals_shown


@require_safe
@permission_required("kvops.view", raise_exception=True)
def index(request: HttpRequest) -> HttpResponse:
    """Show for each environment whether its settings backups are in 1Password."""
    schedules = {one.environment_id: one.pk for one in Schedule.objects.filter(job="vault")}
    context = {
        "environments": [(one, found, schedules.get(one.pk)) for one, found in standing.all_lines()],
        "worker": vault_start.worker_ready(),
        "token": TOKEN,
        "limit": onepassword_store.LIMIT,
    }
    return render(request, "vault/index.html", context)


@require_POST
@permission_required("kvops.operate", raise_exception=True)
def keep(request: HttpRequest, pk: int) -> HttpResponse:
    """Keep the backup in 1Password."""
    related = Generation.objects.select_related("environment", "namespace")
    generation, person = get_object_or_404(related, pk=pk), person_of(request)
    with refusals_shown(request, On(generation.environment, f"generation:{pk}")):
        vault_start.start_keeping(generation, actor=person.actor, person=person)
        messages.success(request, _("The backup is being put into 1Password."))
    return redirect("backups:generation", pk)
