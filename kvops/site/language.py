"""The switch of the header: the language of the pages, stored with the signed-in person."""

from django import forms
from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponseBase
from django.views import i18n

from kvops.models import Person, User


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
