"""Messages about runs that finished or failed."""

from collections.abc import Sequence

from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from kvops import clock, timing
from kvops.connections import refused_tokens
from kvops.models import NotificationEvent, Role, Run
from kvops.notifications import outbox
from kvops.refusals import Sentence
from kvops.runs.outcomes import TOKEN_REFUSED
from kvops.wording import actor, say, translated

FOLDED = {TOKEN_REFUSED, "wrong_token"}
"""The codes of failures that follow from a refused token."""


def run_finished(run: Run) -> None:
    """Announce the end of a destructive run, or of a long run whose starter has probably left the page."""
    if run.approval is not None or -clock.seconds_until(run.created_at) > timing.WATCHED:
        _tell_of(run, NotificationEvent.RUN_FINISHED, _("Finished: %(kind)s %(what)s"), ())


def run_failed(run: Run, code: str, sentence: Sentence) -> None:
    """Announce a failed run to its starter and, if it is destructive or started by a schedule, to every operator.

    A failed backup is announced to every operator, too. A failure that follows from a refused token is not announced:
    people are told once of the token, in its own message.
    """
    folded = code in FOLDED and refused_tokens.refused_lately(run.environment)
    if not run.foreground and not folded:
        backup = run.kind in {Run.Kind.BACKUP, Run.Kind.MASTERS}
        everybody = backup or run.approval is not None or run.started_by is None
        event = NotificationEvent.GENERATION_FAILED if backup else NotificationEvent.RUN_FAILED
        _tell_of(run, event, _("Failed: %(kind)s %(what)s"), [Role.OPERATOR] if everybody else [], sentence)


def _tell_of(run: Run, event: NotificationEvent, title: str | Promise, roles: Sequence[Role], *lines: Sentence) -> None:
    outbox.post(
        event,
        subject=f"run:{run.pk}",
        # A resumed run can end again.
        occasion=str(run.epoch),
        environment=run.environment,
        title=say(title, kind=Run.Kind(run.kind).label, what=run.label),
        lines=[say(_("Started by %(who)s."), who=actor(run.actor)), *(translated(line) for line in lines)],
        link=reverse("run", args=[run.pk]),
        roles=roles,
        channel=run.approval is not None or bool(roles),
        to=[run.started_by] if run.started_by else [],
    )
