"""A deletion's own steps on the page of its stage: ending it early, and noting reappeared keys."""

from django.contrib.auth.decorators import permission_required
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from backups.cleanup.cards import stage_or_404
from backups.cleanup.forms import ReappearedForm
from backups.cleanup.views import act_on_cleanup
from backups.deletion import end as ending, late_check
from kvops.people.signin import person_of


@require_POST
@permission_required("kvops.operate", raise_exception=True)
def end_early(request: HttpRequest, pk: int) -> HttpResponse:
    """Send nothing more of a deletion that lies still."""
    stage, person = stage_or_404(pk), person_of(request)
    done = _("No more keys are sent. Explain the keys that are left.")
    return act_on_cleanup(
        request, stage.request, None, lambda: ending.end_early(stage, by=person), done=done, stage=stage
    )


@require_POST
@permission_required("kvops.operate", raise_exception=True)
def reappeared(request: HttpRequest, pk: int) -> HttpResponse:
    """Acknowledge the keys that are there again."""
    stage, form, person = stage_or_404(pk), ReappearedForm(request.POST), person_of(request)
    return act_on_cleanup(
        request,
        stage.request,
        form,
        lambda: late_check.acknowledge_reappearances(stage, **form.cleaned_data, by=person),
        done=_("Your note is recorded."),
        stage=stage,
        typed={f"reappeared-{pk}": form},
    )
