"""Probes: callers of the health addresses that know no host name, and who of them may read more than one word."""

from collections.abc import Callable
from hmac import compare_digest
from ipaddress import ip_address

from django.conf import settings
from django.http import HttpRequest, HttpResponse

ADDRESSES = frozenset({"/healthz", "/healthz/work", "/readyz", "/metrics"})


class ProbeMiddleware:
    """Answers the health addresses under any Host header: a load balancer asks by the address of the machine.

    Nothing in these answers depends on the host.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer the request."""
        if request.path_info in ADDRESSES:
            request.META["HTTP_HOST"] = settings.ALLOWED_HOSTS[0].lstrip("*.") or "localhost"
        return self._get_response(request)


def admitted(request: HttpRequest) -> bool:
    """Whether the caller sends the token of the metrics, or is one of KVOPS_METRICS_HOSTS."""
    scheme, _space, token = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
    expected = settings.KVOPS_METRICS_TOKEN
    if expected and scheme.lower() == "bearer" and compare_digest(token.strip().encode(), expected.encode()):
        return True
    try:
        caller = ip_address(caller_of(request))
    except ValueError:
        return False
    return any(caller in network for network in settings.KVOPS_METRICS_HOSTS)


def caller_of(request: HttpRequest) -> str:
    """The caller's address as the last trusted proxy saw it; empty if that is not known."""
    proxies = settings.ALLAUTH_TRUSTED_PROXY_COUNT
    forwarded = [one.strip() for one in request.META.get("HTTP_X_FORWARDED_FOR", "").split(",") if one.strip()]
    if not forwarded:
        return str(request.META.get("REMOTE_ADDR", ""))
    # Behind a proxy that nobody counted, everybody would have the address of the proxy.
    return forwarded[-proxies] if 0 < proxies <= len(forwarded) else ""
