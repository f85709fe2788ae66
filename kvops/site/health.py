"""Whether the process is up, and whether it can do its work."""

from django.contrib.auth.decorators import login_not_required
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from kvops import rollback
from kvops.supervision import heartbeats
from kvops.wording import english


@login_not_required
@require_safe
@never_cache
def healthz(_request: HttpRequest) -> HttpResponse:
    """Answer that the process is up; reads nothing else."""
    return HttpResponse("ok\n", content_type="text/plain")


@login_not_required
@require_safe
@never_cache
def readyz(_request: HttpRequest) -> HttpResponse:
    """Answer 200 if the database answers and has every migration, else 503 with the reason.

    A missing worker or sweep, and a read-only mode, are named with 200: the pages that explain them must stay
    reachable.
    """
    try:
        executor = MigrationExecutor(connection)
        missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
        unseen = [] if missing else [*filter(None, [english(rollback.why_read_only())]), *heartbeats.missing()]
    except DatabaseError:
        return HttpResponse("The database does not answer.\n", content_type="text/plain", status=503)
    if missing:
        return HttpResponse("Migrations are missing: run manage.py migrate.\n", content_type="text/plain", status=503)
    return HttpResponse("".join(f"{line}\n" for line in ["ok", *unseen]), content_type="text/plain")
