"""The next steps of restore drills, for the overview."""

from collections.abc import Iterator

from django.db.models import Exists, OuterRef, Value
from django.db.models.functions import Concat, Now
from django.urls import reverse
from django.utils.translation import gettext as _

from backups.models import Drill, Generation
from kvops.models import ApprovalRequest, Person, Run, Scratch
from kvops.overview.lines import Line, step

Approval = ApprovalRequest.State


def steps(_person: Person) -> Iterator[Line]:
    """The late drills of environments with a scratch namespace and a verified backup, unless one is under way."""
    subject = Concat(Value("drill:"), OuterRef("environment__slug"))
    asked = ApprovalRequest.objects.filter(kind=ApprovalRequest.Kind.DRILL, subject=subject)
    mine = Drill.objects.filter(environment=OuterRef("environment"))
    late = Scratch.objects.filter(
        ~Exists(mine.filter(passed=True, finished_at__gt=Now() - Drill.LATE)),
        ~Exists(mine.filter(run__state__in=Run.OPEN)),
        ~Exists(asked.filter(state=Approval.PENDING)),
        Exists(Generation.objects.verified().filter(environment=OuterRef("environment"))),
    )
    approved = Exists(asked.filter(state=Approval.APPROVED, standing_until__gt=Now()))
    for scratch in late.annotate(approved=approved).select_related("environment").order_by("environment__order"):
        title = _("Start a restore drill") if scratch.approved else _("Ask for the approval of restore drills")
        yield step(scratch.environment, title, str(scratch), reverse("backups:drills"))
