"""The look of the pages for a person: the middleware of their language and time zone, and the switches of the header.

The language is stored with the signed-in person, the theme in a cookie.
"""

from collections.abc import Callable

from django import forms
from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest, HttpResponseBase, HttpResponseRedirect
from django.urls import get_script_prefix
from django.utils import timezone, translation
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.views import i18n
from django.views.decorators.http import require_POST

from kvops.models import Person, User
from kvops.site.menu import THEMES
from kvops.site.probes import ADDRESSES
from kvops.web.fields import NextForm

_ONE_YEAR = 365 * 24 * 3600


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


class LanguageForm(forms.Form):
    """One of the languages of the pages."""

    language = forms.ChoiceField(choices=settings.LANGUAGES)


@login_not_required
def set_language(request: HttpRequest) -> HttpResponseBase:
    """Set the language: for the browser as Django does, and as the person's preference."""
    form = LanguageForm(request.POST)
    if isinstance(request.user, User) and form.is_valid():
        language = form.cleaned_data["language"]
        Person.objects.filter(pk=request.user.person_id).update(language=language, pages_language=language)
    return i18n.set_language(request)


class ThemeForm(NextForm):
    """One of the themes, and the page of the switch."""

    theme = forms.ChoiceField(choices=THEMES)


@login_not_required
@require_POST
def set_theme(request: HttpRequest) -> HttpResponse:
    """Store the theme in a cookie and return to the page of the switch."""
    form = ThemeForm(request.POST)
    if not form.is_valid():
        return HttpResponseBadRequest(_("Choose one of the themes in the menu."))
    theme, target = form.cleaned_data["theme"], form.cleaned_data["next"]
    if not url_has_allowed_host_and_scheme(target, {request.get_host()}, require_https=request.is_secure()):
        target = get_script_prefix()
    response = HttpResponseRedirect(target)
    response.set_cookie("theme", theme, max_age=_ONE_YEAR, secure=settings.HTTPS, httponly=True, samesite="Lax")
    return response
