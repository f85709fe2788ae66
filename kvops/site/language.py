"""The language of the pages, which is also the language of a person's mails."""

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponseBase
from django.utils.translation import check_for_language
from django.views import i18n

from kvops.models import Person, User


@login_not_required
def set_language(request: HttpRequest) -> HttpResponseBase:
    """Set the language: for the browser as Django does, and for the person's mails."""
    chosen = request.POST.get("language", "")
    if request.method == "POST" and isinstance(request.user, User) and check_for_language(chosen):
        Person.objects.filter(pk=request.user.person_id).update(language=chosen)
    return i18n.set_language(request)
