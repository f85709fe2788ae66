"""The two ways out: Slack's incoming webhooks and mail. Errors are reported in three words of our own.

Neither service can be asked whether it has a message, so the difference between "not taken" and "unknown" is drawn
here, once.
"""

import json
import smtplib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from socket import gaierror
from urllib.parse import urlsplit

import httpx
from django.conf import settings
from django.core.mail import EmailMessage

from kvops import timing
from kvops.refusals import Sentence, Sentence as _


class NotDelivered(Exception):
    """The message was not delivered. The text gives the reason, and never the address of a webhook."""


class MessageTryLater(NotDelivered):
    """The service did not take the message now. It may later, after `retry_after` seconds if the service named them."""

    def __init__(self, sentence: Sentence, retry_after: float = 0.0) -> None:
        super().__init__(sentence)
        self.retry_after = retry_after


class MessageRefused(NotDelivered):
    """The service will never take the message in this form; a person must correct something first."""


class Unclear(NotDelivered):
    """The service may have taken the message; the outcome stays unknown."""


@dataclass(frozen=True)
class Message:
    """A message in one language. `number` identifies a repetition; `again` is set if an earlier attempt is unclear.

    `help` has the addresses of the help for its alarms; it is empty for news.
    """

    number: int | str
    title: str
    lines: Sequence[str]
    link: str
    open_it: str
    help: str
    again: str

    @property
    def text(self) -> str:
        """The whole message as plain text."""
        parts = ("\n".join([self.title, "", *self.lines]), f"{self.link}\n{self.again}", self.help)
        return "\n\n".join(part.strip() for part in parts if part.strip()) + "\n"


# docs.slack.dev/reference/block-kit/blocks: a header holds 150 characters, a section 3,000.
_HEADER = 150
_SECTION = 3_000


def blocks(message: Message) -> dict[str, object]:
    """The message in Slack's Block Kit. Texts are plain, so a key's name cannot format text or mention people."""
    found: list[dict[str, object]] = [
        {"type": "header", "text": {"type": "plain_text", "text": message.title[:_HEADER], "emoji": False}}
    ]
    if body := "\n".join(message.lines)[:_SECTION]:
        found.append({"type": "section", "text": {"type": "plain_text", "text": body, "emoji": False}})
    notes = [f"<{_escaped(message.link)}|{_escaped(message.open_it)}>"] if message.link else []
    notes += [_escaped(note) for note in (message.help, message.again) if note]
    notes.append(f"KVOps #{message.number}")
    found.append({"type": "context", "elements": [{"type": "mrkdwn", "text": note} for note in notes]})
    return {"text": _escaped(message.title), "blocks": found}


def _escaped(text: str) -> str:
    # docs.slack.dev/messaging/formatting-message-text: only these three characters control the format.
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def slack(message: Message, webhook: str) -> None:
    """Post to an incoming webhook, whose address is a secret. Raises MessageTryLater, MessageRefused and Unclear."""
    _insist_allowed(webhook, settings.KVOPS_ALLOWED_WEBHOOK_HOSTS)
    payload = json.dumps(blocks(message), ensure_ascii=False).encode()
    try:
        with httpx.Client(timeout=timing.MESSAGE_TIMEOUT, trust_env=False, follow_redirects=False) as client:
            answer = client.post(webhook, content=payload, headers={"Content-Type": "application/json"})
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
        raise MessageTryLater(_("Slack cannot be reached (%(kind)s).", kind=type(error).__name__)) from None
    except httpx.TransportError as error:
        raise Unclear(_("Slack did not answer (%(kind)s).", kind=type(error).__name__)) from None
    _insist_taken(answer.status_code, answer.headers, answer.text[:60])


def _insist_allowed(webhook: str, hosts: Collection[str]) -> None:
    parts = urlsplit(webhook)
    local = parts.hostname in {"127.0.0.1", "localhost"}
    if parts.hostname not in hosts or not (parts.scheme == "https" or (parts.scheme == "http" and local)):
        raise MessageRefused(
            _("The webhook is not an https:// address of a host in KVOPS_ALLOWED_WEBHOOK_HOSTS. Correct the secret.")
        )


def _insist_taken(status: int, headers: Mapping[str, str], said: str) -> None:
    # docs.slack.dev/messaging/sending-messages-using-incoming-webhooks: 200 "ok", else a short word with the reason.
    if status == 200:
        return
    word = said if said.replace("_", "").isalnum() and said.isascii() else ""
    sentence = _("Slack answered %(said)s.", said=f"{status} {word}".strip())
    if status in {408, 429} or status >= 500:
        asked = headers.get("Retry-After", "")
        raise MessageTryLater(sentence, min(float(asked), timing.MESSAGE_FOR) if asked.isdigit() else 0.0)
    raise MessageRefused(sentence)


def mail(message: Message, address: str) -> None:
    """Hand a mail to the mail server. Raises MessageTryLater, MessageRefused and Unclear.

    A repetition has the same Message-ID, so that mail servers and programs can recognise it.
    """
    host = urlsplit(settings.BASE_URL).hostname or "localhost"
    sent = EmailMessage(
        subject=f"{settings.ACCOUNT_EMAIL_SUBJECT_PREFIX}{' '.join(message.title.split())}",
        body=message.text,
        to=[address],
        headers={"Message-ID": f"<kvops-{message.number}@{host}>", "Auto-Submitted": "auto-generated"},
    )
    try:
        sent.send(using="default")
    except smtplib.SMTPRecipientsRefused as error:
        codes = [code for code, _text in error.recipients.values()]
        raise _answered(max(codes, default=500)) from None
    except (smtplib.SMTPConnectError, smtplib.SMTPHeloError, smtplib.SMTPAuthenticationError) as error:
        raise MessageTryLater(_("The mail server does not let us in (%(kind)s).", kind=type(error).__name__)) from None
    except smtplib.SMTPResponseException as error:
        raise _answered(error.smtp_code) from None
    except (ConnectionRefusedError, gaierror) as error:
        raise MessageTryLater(_("The mail server cannot be reached (%(kind)s).", kind=type(error).__name__)) from None
    except (smtplib.SMTPException, OSError) as error:
        raise Unclear(_("The mail server did not answer (%(kind)s).", kind=type(error).__name__)) from None


def _answered(code: int) -> NotDelivered:
    sentence = _("The mail server answered %(code)s.", code=code)
    return MessageRefused(sentence) if code >= 500 else MessageTryLater(sentence)
