"""Whether the process is up, whether it may serve, and whether background work goes on.

Strangers are told a status code and one word. Reasons go to signed-in people, and to callers that may read the
metrics (`probes.admitted`).
"""

import logging
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pkgutil import iter_modules

from django.apps import apps
from django.contrib.auth.decorators import login_not_required
from django.db import DatabaseError, connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from kvops import rollback
from kvops.outages import AWAY
from kvops.site.probes import admitted
from kvops.supervision import heartbeats, work as background_work
from kvops.wording import english

logger = logging.getLogger(__name__)


@login_not_required
@require_safe
@never_cache
def healthz(_request: HttpRequest) -> HttpResponse:
    """Answer that the process is up; reads nothing else."""
    return _word("ok")


@login_not_required
@require_safe
@never_cache
def readyz(request: HttpRequest) -> HttpResponse:
    """Answer 200 if the database answers and has every migration, else 503, with one word; the log has the reason.

    A missing worker or sweep, and a read-only mode, are `degraded` with 200: the pages that explain them must stay
    reachable.
    """
    try:
        if missing := _migrations() - _applied():
            logger.error("%s migrations are missing: run manage.py migrate.", len(missing))
            return _word("unavailable", status=503)
        why = [*filter(None, [english(rollback.why_read_only())]), *heartbeats.missing()]
        shown = _shown(request, why)
    except (DatabaseError, *AWAY):
        logger.exception("The database does not answer.")
        return _word("unavailable", status=503)
    return _word("degraded" if why else "ok", *shown)


@login_not_required
@require_safe
@never_cache
def work(request: HttpRequest) -> HttpResponse:
    """Answer 200 if background work goes on; else 503. It is for the service that wakes somebody.

    It needs worker, sweep, executed tasks, and an outbox that is emptied.
    """
    try:
        why = background_work.missing()
        shown = _shown(request, why)
    except (DatabaseError, *AWAY):
        logger.exception("The database does not answer.")
        return _word("unavailable", status=503)
    return _word("stopped", *shown, status=503) if why else _word("ok")


def _shown(request: HttpRequest, why: Sequence[str]) -> Sequence[str]:
    return why if why and (admitted(request) or request.user.has_perm("kvops.view")) else ()


@cache
def _migrations() -> frozenset[tuple[str, str]]:
    """Every migration of this version: the files are listed once, none is loaded."""
    found = set()
    for app in apps.get_app_configs():
        package, _explicit = MigrationLoader.migrations_module(app.label)
        spec = find_spec(package) if package else None
        places = spec.submodule_search_locations if spec else None
        found |= {(app.label, one.name) for one in iter_modules(places or ()) if one.name[0] not in "_~"}
    return frozenset(found)


def _applied() -> set[tuple[str, str]]:
    return set(MigrationRecorder(connection).migration_qs.values_list("app", "name"))


def _word(*lines: str, status: int = 200) -> HttpResponse:
    return HttpResponse("".join(f"{line}\n" for line in lines), content_type="text/plain", status=status)
