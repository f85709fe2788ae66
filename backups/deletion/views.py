"""A deletion's own steps on the page of its stage: ending it early, and noting reappeared keys."""

from django.contrib.auth.decorators import permission_required
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST

from backups.cleanup.forms import ReappearedForm
from backups.cleanup.stage_views import take_on_stage
from backups.deletion import chunks, late_check
from backups.models import CleanupStage
from kvops.web.acting import Step

END_EARLY = Step[CleanupStage](chunks.end_early, _("No more keys are sent. Explain the keys that are left."))
REAPPEARED = Step[CleanupStage](
    late_check.acknowledge_reappearances, _("Your note is recorded."), ReappearedForm, ("note", "last")
)


@require_POST
@permission_required("kvops.operate", raise_exception=True)
def end_early(request: HttpRequest, pk: int) -> HttpResponse:
    """End a stopped or failed deletion: no further key is sent."""
    return take_on_stage(request, pk, END_EARLY)


@require_POST
@permission_required("kvops.operate", raise_exception=True)
def reappeared(request: HttpRequest, pk: int) -> HttpResponse:
    """Acknowledge the reappeared keys."""
    return take_on_stage(request, pk, REAPPEARED, "reappeared")
