"""The address that Prometheus scrapes."""

import logging

from django.contrib.auth.decorators import login_not_required
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from kvops.metrics.numbers import Numbers
from kvops.outages import AWAY
from kvops.site.probes import admitted

logger = logging.getLogger(__name__)


@login_not_required
@require_safe
@never_cache
def metrics(request: HttpRequest) -> HttpResponse:
    """Give all metrics to callers with the token and to KVOPS_METRICS_HOSTS; nobody else, signed in or not."""
    if not admitted(request):
        return HttpResponse("forbidden\n", content_type="text/plain", status=403)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Numbers())
    try:
        return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)
    except (DatabaseError, *AWAY):
        logger.exception("The database does not answer.")
        return HttpResponse("unavailable\n", content_type="text/plain", status=503)
