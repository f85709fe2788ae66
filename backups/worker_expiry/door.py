"""The way in for a Worker: two addresses without a login. Only calls that are signed with the rule's key are read.

The size is checked before the body is read, the signature before it is parsed. A call is taken once, within five
minutes of its time. A stranger gets a status and one word. `strangers` bounds what such calls write to the log, and how
often the team is told.
"""

import json
import logging
from collections.abc import Callable
from datetime import timedelta

from django.contrib.auth.decorators import login_not_required
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from backups.models import WorkerNonce, WorkerRule
from backups.worker_expiry import announcements, messages, rounds, signing, strangers
from backups.worker_expiry.rounds import WorkerAnswer
from backups.worker_expiry.signing import SignedCall
from kvops import clock, timing

logger = logging.getLogger(__name__)

LARGEST = 65_536
"""Bytes of a body. A Worker sends at most 40,000 bytes of names in one report."""
PER_MINUTE = 120
"""Signed calls of one rule. A Worker makes two for each 400 keys."""
_RULES = WorkerRule.objects.select_related("namespace__environment", "family")

type Take = Callable[[WorkerRule, bytes], WorkerAnswer]


@csrf_exempt
@login_not_required
@never_cache
@require_POST
def ask(request: HttpRequest, pk: int) -> HttpResponse:
    """Answer whether a round of the Worker may write."""
    return _answer(request, pk, lambda rule, body: rounds.asked(rule, messages.read_ask(body)))


@csrf_exempt
@login_not_required
@never_cache
@require_POST
def report(request: HttpRequest, pk: int) -> HttpResponse:
    """Keep a report of the Worker."""
    return _answer(request, pk, lambda rule, body: rounds.reported(rule, messages.read_report(body), body))


def _answer(request: HttpRequest, pk: int, take: Take) -> HttpResponse:
    if _length(request) > LARGEST:
        return _refuse(413, "large")
    rule = _RULES.filter(pk=pk).first()
    if rule is not None and strangers.are_too_many(rule):
        return _refuse(429, "later")
    key = strangers.key_of(rule) if rule else ""
    if rule is None or not key:
        return _refuse(403, "no")
    sent = request.headers
    call = SignedCall(request.path_info, sent.get("X-Kvops-Timestamp", ""), sent.get("X-Kvops-Nonce", ""), request.body)
    if why := _why_not(rule, call, key, sent.get("X-Kvops-Signature", "")):
        strangers.note_refused(rule, why)
        return _refuse(403, why)
    answer = WorkerAnswer(429, {"answer": "later"}) if _too_many(rule) else _taken(rule, call.body, take)
    text = json.dumps(answer.body)
    signature = signing.signature_of_answer(key, call.path, call.nonce, answer.status, text)
    signed = {"X-Kvops-Signature": signature}
    return HttpResponse(text, content_type="application/json", status=answer.status, headers=signed)


def _why_not(rule: WorkerRule, call: SignedCall, key: str, signature: str) -> str:
    """The word for a call that is not taken; empty for one that is, whose number is then used."""
    if not call.is_signed(key, signature):
        return "unsigned"
    if abs(clock.now().timestamp() - int(call.timestamp)) > timing.WORKER_WINDOW:
        return "late"
    return "" if WorkerNonce.objects.get_or_create(rule=rule, nonce=call.nonce)[1] else "replayed"


def _taken(rule: WorkerRule, body: bytes, take: Take) -> WorkerAnswer:
    try:
        answer = take(rule, body)
    except messages.NotAMessage as error:
        logger.warning("A signed call for %s is no message: %s", rule.subject, error)
        answer = WorkerAnswer(422, {"answer": "unreadable"})
    if answer.status in {409, 422}:
        announcements.tell_refused_call(rule, str(answer.body["answer"]))
    return answer


def _too_many(rule: WorkerRule) -> bool:
    """Whether the rule had too many calls within a minute. Numbers older than the replay window are dropped."""
    WorkerNonce.objects.filter(at__lt=Now() - timedelta(seconds=3 * timing.WORKER_WINDOW)).delete()
    recent = WorkerNonce.objects.filter(rule=rule, at__gt=Now() - timedelta(minutes=1))
    return recent.count() > PER_MINUTE


def _length(request: HttpRequest) -> int:
    """The announced size of the body: 0 if none is announced, for then none is read; a wrong one is too large."""
    length = request.META.get("CONTENT_LENGTH") or "0"
    return int(length) if length.isdecimal() and len(length) < 12 else LARGEST + 1


def _refuse(status: int, word: str) -> HttpResponse:
    answer = HttpResponse(f"{word}\n", content_type="text/plain", status=status)
    # Django would log a line for each refusal; `strangers` logs a few.
    answer._has_been_logged = True  # type: ignore[attr-defined]
    return answer
