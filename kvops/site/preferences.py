"""The language and the time zone of the signed-in person."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.utils import timezone, translation

from kvops.models import User
from kvops.site.probes import ADDRESSES


class PreferencesMiddleware:
    """Shows the page in the language and in the time zone that the person chose.

    The zone ends with the view, so a file that is streamed has times in the product's zone.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer the request. Without a choice the browser's language and the product's zone hold.

        A health address asks nothing of a session: it answers also when the database does not.
        """
        if request.path_info in ADDRESSES or not isinstance(request.user, User):
            return self._get_response(request)
        person = request.user.person
        if person.pages_language:
            translation.activate(person.pages_language)
            request.LANGUAGE_CODE = person.pages_language
        with timezone.override(person.zone):
            return self._get_response(request)
