"""Sign-in: nobody signs up, every sign-in is recorded, deciding needs a fresh password.

Five wrong passwords for an account from one address are the limit for both together. Over all addresses, failures only
delay the account's sign-in, so nobody can lock another person out. A signed-in session is not touched.

Attempts are counted one caller at a time. allauth takes its lock for a second and then answers 429, as if there had
been too many attempts. On a busy machine that hits correct passwords. Here a caller waits until the one before has
counted.
"""

import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.auth_backends import AuthenticationBackend
from allauth.account.authentication import get_authentication_records
from allauth.account.forms import default_token_generator
from allauth.account.internal.flows.reauthentication import STATE_SESSION_KEY
from allauth.account.utils import user_pk_to_url_str
from allauth.core.exceptions import ReauthenticationRequired
from allauth.core.internal import ratelimit
from django import forms
from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.db.models.functions import Now
from django.db.transaction import atomic
from django.http import HttpRequest, QueryDict
from django.urls import reverse
from django.utils import translation
from django.utils.translation import get_language, gettext as _

from audit import log
from audit.actions import Action
from audit.chain import JSON
from audit.models import Entry
from kvops import timing
from kvops.models import Person, User

FREE, FULL = 5, 10
"""Failures over all addresses: up to the first number the answer is not delayed, from the second on the longest."""
_delayed = threading.BoundedSemaphore(2)
"""Few threads of a web process wait at a time, so that a flood of sign-ins leaves threads for the emergency stop."""
ASKED = "kvops_password_asked"
"""Where a request that asked for its own password is marked, in the session and in the form that allauth repeats."""


class RepeatedForm(forms.Form):
    """The mark of a request that allauth repeats after the password."""

    kvops_password_asked = forms.CharField(required=False, max_length=32)


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]  # allauth ships no types
    """Our answers to the questions allauth asks."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """Never: people are added by `setup_people` or by an approved request."""
        return False

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> Any:
        """Send a mail of sign-in, such as the link for a forgotten password, in the language its reader chose."""
        reader = Person.objects.filter(logins__email=email).first()
        with translation.override(reader.reads if reader else get_language()):
            return super().send_mail(template_prefix, email, context)

    def pre_authenticate(self, request: HttpRequest, **credentials: Any) -> None:
        """Refuse the account's sixth wrong password from one address; delay its answer after failures elsewhere."""
        if request.user.is_authenticated:
            return  # the limit of `ReauthenticateView` counts the session's own attempts
        super().pre_authenticate(request, **credentials)
        _delay(_address(credentials))

    def _get_login_attempts_cache_key(self, request: HttpRequest, **credentials: Any) -> str:
        return f"{super()._get_login_attempts_cache_key(request, **credentials)} {ratelimit.get_ip(request)}"

    def post_login(self, request: HttpRequest, user: User, **kwargs: Any) -> Any:
        """Record the sign-in, and store the language the person reads."""
        with log.transaction():
            Person.objects.filter(pk=user.person_id).update(language=get_language() or "")
            log.record(
                Action.SIGNIN_SUCCEEDED,
                actor=log.Actor(user.person_id, str(user.person)),
                subject=f"person:{user.person_id}",
                subject_label=str(user.person),
                details=self._origin(request),
            )
        return super().post_login(request, user, **kwargs)

    def authentication_failed(self, request: HttpRequest, **credentials: Any) -> None:
        """Record a failed attempt, by the address that was tried."""
        with log.transaction():
            actor = log.Actor(None, _address(credentials))
            log.record(Action.SIGNIN_FAILED, actor=actor, details=self._origin(request))
        super().authentication_failed(request, **credentials)

    def set_password(self, user: User, password: str) -> None:
        """Record that the person chose a password; with the first one, they are active."""
        with log.transaction():
            user.set_password(password)
            # allauth would write each column, and the database lets nobody write a login's address again.
            user.save(update_fields=["password"])
            log.record(
                Action.PERSON_PASSWORD_CHOSEN,
                actor=log.Actor(user.person_id, str(user.person)),
                subject=f"person:{user.person_id}",
                subject_label=str(user.person),
            )

    def _origin(self, request: HttpRequest) -> dict[str, JSON]:
        return {
            "address": str(self.get_client_ip(request))[:100],
            "user_agent": str(self.get_http_user_agent(request))[:300],
        }


def wait_in_line() -> None:
    """Let allauth count with our lock, in this process."""
    ratelimit.cache_lock = _line


@contextmanager
def _line(key: str) -> Iterator[bool]:
    """Wait for the lock of a count, and hold it until what is counted is stored.

    Raises OperationalError if the wait takes longer than `lock_timeout`.
    """
    with atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [key])
        yield True


def _address(credentials: dict[str, Any]) -> str:
    """The e-mail address that was tried, as the audit log has it."""
    return str(credentials.get("email", ""))[:200].lower() or "?"


def _delay(email: str) -> None:
    """Wait, the longer the more sign-ins of the account failed lately from any address."""
    since = Now() - timedelta(seconds=timing.SIGNIN_COUNTED)
    failed = Entry.objects.filter(action=Action.SIGNIN_FAILED, actor=email, at__gte=since)[:FULL].count()
    if failed > FREE and _delayed.acquire(blocking=False):
        try:
            time.sleep(timing.SIGNIN_DELAY * (failed - FREE) / (FULL - FREE))
        finally:
            _delayed.release()


def person_of(request: HttpRequest) -> Person:
    """The person who is signed in. Raises TypeError for anonymous requests; SignedOutMiddleware keeps them out."""
    if not isinstance(request.user, User):
        raise TypeError("nobody is signed in")
    return request.user.person


def insist_fresh(request: HttpRequest) -> None:
    """Insist on a login that typed its own password again within `timing.REAUTHENTICATE` seconds.

    Raises ReauthenticationRequired, upon which allauth asks for the password and repeats the request. Raises
    PermissionDenied for a login without a password, which allauth itself would accept.
    """
    if not _is_recent(_typed_at(request)):
        raise ReauthenticationRequired


def insist_typed_for_this(request: HttpRequest) -> None:
    """Insist on a password that was typed for exactly this request: one that was typed before does not count.

    Raises ReauthenticationRequired and PermissionDenied as `insist_fresh` does. The request that allauth repeats after
    the password carries a mark. The session has it too, once, and no page shows it.
    """
    typed, asked, mark = _typed_at(request), request.session.pop(ASKED, None) or {}, RepeatedForm(request.POST)
    mine = asked and mark.is_valid() and (mark.cleaned_data[ASKED], request.path) == (asked["mark"], asked["path"])
    if mine and asked["at"] <= typed and _is_recent(typed):
        return
    form, new = request.POST.copy(), secrets.token_hex(16)
    form[ASKED] = new
    request.POST = form  # type: ignore[assignment]  # allauth repeats what is in it
    request.session[ASKED] = {"mark": new, "path": request.path, "at": time.time()}
    raise ReauthenticationRequired


def repeated_form(request: HttpRequest, path: str) -> QueryDict:
    """The form that allauth sends to this path again after the password; empty if it repeats none."""
    repeated = json.loads(request.session.get(STATE_SESSION_KEY, {}).get("request", "{}"))
    return QueryDict(repeated["POST"] if repeated.get("path") == path else "")


def _typed_at(request: HttpRequest) -> float:
    """The time at which the login last typed its own password again; 0 for never. Raises PermissionDenied."""
    user = request.user
    if not (isinstance(user, User) and user.is_active and user.has_usable_password()):
        raise PermissionDenied(_("This needs a password of your own. Choose one through “Forgot your password?”."))
    typed = [
        float(record["at"])
        for record in get_authentication_records(request, user)
        if record.get("method") == "password" and record.get("reauthenticated")
    ]
    return typed[-1] if typed else 0.0


def _is_recent(typed: float) -> bool:
    return 0 <= time.time() - typed < timing.REAUTHENTICATE


def password_link(user: User) -> str:
    """A link that is good until a password was chosen, for `timing.INVITED` seconds at the most."""
    key = {"uidb36": user_pk_to_url_str(user), "key": default_token_generator.make_token(user)}
    return f"{settings.BASE_URL}{reverse('account_reset_password_from_key', kwargs=key)}"


class LoginBackend(AuthenticationBackend):  # type: ignore[misc]  # allauth ships no types
    """Signs people in as allauth does, and reads the login of each request with its person and roles."""

    def get_user(self, user_id: int) -> User | None:
        """The login of a session; None if it may not sign in any more."""
        user = User.objects.with_roles().filter(pk=user_id).first()
        return user if user and self.user_can_authenticate(user) else None
