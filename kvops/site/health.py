"""Whether the process is up, and whether it can do its work. Strangers are told a status code and one word."""

import logging

from django.contrib.auth.decorators import login_not_required
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from kvops import rollback
from kvops.outages import AWAY
from kvops.supervision import heartbeats
from kvops.wording import english

logger = logging.getLogger(__name__)


@login_not_required
@require_safe
@never_cache
def healthz(_request: HttpRequest) -> HttpResponse:
    """Answer that the process is up; reads nothing else."""
    return HttpResponse("ok\n", content_type="text/plain")


@login_not_required
@require_safe
@never_cache
def readyz(request: HttpRequest) -> HttpResponse:
    """Answer 200 if the database answers and has every migration, else 503, with one word; the log has the reason.

    A missing worker or sweep, and a read-only mode, are `degraded` with 200: the pages that explain them must stay
    reachable. Only a signed-in person reads the reasons here.
    """
    try:
        executor = MigrationExecutor(connection)
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            logger.error("Migrations are missing: run manage.py migrate.")
            return _word("unavailable", status=503)
        why = [*filter(None, [english(rollback.why_read_only())]), *heartbeats.missing()]
        shown = why if request.user.has_perm("kvops.view") else []
    except (DatabaseError, *AWAY):
        logger.exception("The database does not answer.")
        return _word("unavailable", status=503)
    return _word("degraded" if why else "ok", *shown)


def _word(*lines: str, status: int = 200) -> HttpResponse:
    return HttpResponse("".join(f"{line}\n" for line in lines), content_type="text/plain", status=status)
