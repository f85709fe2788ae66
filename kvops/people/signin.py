"""Sign-in: nobody signs up, every sign-in is recorded, deciding needs a fresh password."""

import time
from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.authentication import get_authentication_records
from allauth.core.exceptions import ReauthenticationRequired
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.utils.translation import get_language, gettext as _

from audit import log
from audit.actions import Action
from kvops import timing
from kvops.models import Person, User


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]  # allauth ships no types
    """Our answers to the questions allauth asks."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """Never: people are added by `setup_people` or by an approved request."""
        return False

    def post_login(self, request: HttpRequest, user: User, **kwargs: Any) -> Any:
        """Record the sign-in, and store the language the person reads."""
        with log.transaction():
            Person.objects.filter(pk=user.person_id).update(language=get_language() or "")
            log.record(
                Action.SIGNIN_SUCCEEDED,
                actor=log.Actor(user.person_id, str(user.person)),
                subject=f"person:{user.person_id}",
                subject_label=str(user.person),
            )
        return super().post_login(request, user, **kwargs)

    def authentication_failed(self, request: HttpRequest, **credentials: Any) -> None:
        """Record a failed attempt, by the address that was tried."""
        with log.transaction():
            log.record(Action.SIGNIN_FAILED, actor=log.Actor(None, str(credentials.get("email", ""))[:200] or "?"))
        super().authentication_failed(request, **credentials)


def person_of(request: HttpRequest) -> Person:
    """The person who is signed in. Raises TypeError for anonymous requests; LoginRequiredMiddleware keeps them out."""
    if not isinstance(request.user, User):
        raise TypeError("nobody is signed in")
    return request.user.person


def insist_fresh(request: HttpRequest) -> None:
    """Insist on a login that typed its own password again within `timing.REAUTHENTICATE` seconds.

    Raises ReauthenticationRequired, upon which allauth asks for the password and repeats the request. Raises
    PermissionDenied for a login without a password, which allauth itself would accept.
    """
    user = request.user
    if not (isinstance(user, User) and user.is_active and user.has_usable_password()):
        raise PermissionDenied(_("Deciding needs a password of your own. Choose one through “Forgot your password?”."))
    typed = [
        float(record["at"])
        for record in get_authentication_records(request, user)
        if record.get("method") == "password" and record.get("reauthenticated")
    ]
    if not typed or not 0 <= time.time() - typed[-1] < timing.REAUTHENTICATE:
        raise ReauthenticationRequired
