"""The page of the preferences of one's own account."""

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import translation
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from kvops.people.signin import person_of
from kvops.preferences.forms import PreferencesForm
from kvops.preferences.notices import always_on, change


@require_http_methods(["GET", "HEAD", "POST"])
def index(request: HttpRequest) -> HttpResponse:
    """Show the preferences, or store them. Every login has them, also without a role."""
    person = person_of(request)
    form = PreferencesForm(person, request.POST if request.method == "POST" else None)
    if not form.is_bound or not form.is_valid():
        context = {"form": form, "always_on": always_on()}
        return render(request, "preferences/index.html", context, status=422 if form.is_bound else 200)
    chosen = form.cleaned_data
    language = chosen["pages_language"]
    change(
        person,
        pages_language=language,
        mails_language=chosen["mails_language"],
        time_zone=chosen["time_zone"],
        unwanted=form.unwanted(),
    )
    with translation.override(language):
        messages.success(request, _("The preferences are stored."))
    answer = redirect("preferences")
    # As the switch in the header: for the pages before the next sign-in.
    answer.set_cookie(settings.LANGUAGE_COOKIE_NAME, language, secure=settings.LANGUAGE_COOKIE_SECURE)
    return answer
