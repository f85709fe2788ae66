"""Secrets that a service refuses: one row for each environment and reference until the secret is accepted again.

A token that is refused makes everything fail that uses it. `kvops.notifications.refused_tokens` tells people of it
once, and failures that follow from it are not told one by one.
"""

from collections.abc import Collection, Mapping
from datetime import timedelta
from http import HTTPStatus

from django.db.models import Q
from django.db.models.functions import Now

from kvops.models import Environment, RefusedToken, Skew

NEEDED = frozenset(
    {"namespaces", "namespace", "keys", "value", "metadata", "bulk_get", "bulk_delete", "bulk_put", "put_value"}
    | {"databases", "query"}
)
"""The calls without which nothing works. Other permissions are optional, and each page that needs one says so."""
LATELY = timedelta(minutes=1)


def note_refused(
    environment: Environment,
    reference: str,
    routes: Mapping[str, int],
    service: Skew.Service = Skew.Service.CLOUDFLARE,
) -> None:
    """Note the refused calls and their statuses. A later refusal counts for the row that is open.

    Cloudflare's codes for a refused token come with other statuses, too. Such an answer counts as a missing permission.
    """
    # A missing permission counts only for calls without which nothing works.
    counted = {
        route: status for route, status in routes.items() if status == HTTPStatus.UNAUTHORIZED or route in NEEDED
    }
    if not counted or not reference:
        return
    unknown = [route for route, status in counted.items() if status == HTTPStatus.UNAUTHORIZED]
    status = HTTPStatus.UNAUTHORIZED if unknown else HTTPStatus.FORBIDDEN
    route = min(unknown or counted)
    refused, new = RefusedToken.objects.get_or_create(
        environment=environment,
        reference=reference,
        over_at=None,
        defaults={"service": service, "status": status, "route": route},
    )
    if not new:
        RefusedToken.objects.filter(pk=refused.pk).update(last_at=Now())


def note_accepted(environment: Environment, reference: str, routes: Collection[str]) -> None:
    """Close the row of a secret that a service accepted for these calls."""
    open_ = RefusedToken.objects.filter(environment=environment, reference=reference, over_at=None)
    open_.filter(Q(status=HTTPStatus.UNAUTHORIZED) | Q(route__in=routes)).update(over_at=Now())


def refused_lately(environment: Environment | None) -> bool:
    """Whether a secret of the environment was refused a moment ago, so that a failure follows from it."""
    lately = RefusedToken.objects.filter(environment=environment, over_at=None, last_at__gt=Now() - LATELY)
    return environment is not None and lately.exists()
