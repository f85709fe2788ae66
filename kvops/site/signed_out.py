"""A button that is pressed after the session ended: the sign-in leads back to its page and says so."""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from django.contrib import messages
from django.contrib.auth.middleware import LoginRequiredMiddleware
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponseRedirect
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _

from kvops.site.menu import page_of


class SignedOutMiddleware(LoginRequiredMiddleware):
    """Sends whoever is not signed in to the sign-in. Most buttons have an address that no browser can open."""

    def handle_no_permission(self, request: HttpRequest, view_func: Callable[..., Any]) -> HttpResponseRedirect:
        """Lead a page to itself after the sign-in, and a button to the page that shows it."""
        if request.method != "POST":
            return super().handle_no_permission(request, view_func)
        messages.warning(
            request,
            _(
                "Your session had ended when you sent this. Nothing was done, and nothing was recorded. Once you are"
                " signed in, send it again."
            ),
        )
        return redirect_to_login(_page_with_button(request), self.get_login_url(view_func))


def _page_with_button(request: HttpRequest) -> str:
    """The address of the page that the request came from, if it is one of ours. Addresses of pages end with a slash."""
    came_from = request.META.get("HTTP_REFERER", "")
    parts = urlsplit(came_from) if _is_ours(request, came_from) else urlsplit("")
    if not parts.path.endswith("/"):
        return page_of(request)
    return parts._replace(scheme="", netloc="", fragment="").geturl()


def _is_ours(request: HttpRequest, address: str) -> bool:
    return url_has_allowed_host_and_scheme(address, {request.get_host()}, require_https=request.is_secure())
