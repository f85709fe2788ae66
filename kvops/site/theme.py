"""The switch between light, dark and the system's own look."""

from django import forms
from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest, HttpResponseRedirect
from django.urls import get_script_prefix
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from kvops.site.menu import THEMES
from kvops.web.fields import NextForm

_ONE_YEAR = 365 * 24 * 3600


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
