"""Sentences for people: shown in the reader's language, stored in the audit log in English."""

from datetime import datetime

from django.utils import timezone, translation
from django.utils.functional import Promise, lazy
from django.utils.translation import gettext


def _fill(sentence: str | Promise, facts: dict[str, object]) -> str:
    return str(sentence) % facts


_filled = lazy(_fill, str)


def say(sentence: str | Promise, **facts: object) -> str:
    """The sentence, with its %(placeholders)s filled when it is read, so that each reader gets their own language."""
    return _filled(sentence, facts)


def said(stored: str) -> str:
    """A stored sentence in the reader's language, if it was marked with `gettext_noop`."""
    return gettext(stored) if stored else ""


def translated(stored: str) -> str:
    """As `said`, but translated when it is read, into the reader's language."""
    return _said(stored)


_said = lazy(said, str)


def storable(text: str) -> str:
    """The text with a replacement character for NUL and for lone surrogates, which Postgres cannot store."""
    return text.replace("\0", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def moment(at: datetime | None) -> str:
    """A time in the form of messages: in the team's zone, with its name."""
    return f"{timezone.localtime(at):%Y-%m-%d %H:%M %Z}" if at else ""


def english(said: object) -> str:
    """A refusal or a sentence in English, as the audit log keeps it."""
    with translation.override("en"):
        return str(said)
