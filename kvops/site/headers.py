"""Headers of every answer: what a signed-in person sees is stored nowhere, and no page uses a device of the reader."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

PERMISSIONS_POLICY = "accelerometer=(), camera=(), geolocation=(), gyroscope=(), microphone=(), payment=(), usb=()"


class HeadersMiddleware:
    """Adds the headers. It stands before the middleware that compares ETags, which passes over `no-store`."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer the request."""
        response = self._get_response(request)
        response.headers.setdefault("Permissions-Policy", PERMISSIONS_POLICY)
        # A health address reads no session, and shall not because of its headers: it answers without the database too.
        stored = "no-store" not in response.headers.get("Cache-Control", "")
        if stored and request.session.accessed and request.user.is_authenticated:
            response.headers["Cache-Control"] = "no-store"
        return response
