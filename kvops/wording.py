"""What people are told: said in the reader's language, kept by the record in English."""

from django.utils import translation
from django.utils.functional import Promise, lazy
from django.utils.translation import gettext


def _fill(sentence: str | Promise, facts: dict[str, object]) -> str:
    return str(sentence) % facts


_filled = lazy(_fill, str)


def say(sentence: str | Promise, **facts: object) -> str:
    """The sentence with its %(placeholders)s filled when it is read, so that each reader has it in their language."""
    return _filled(sentence, facts)


def said(stored: str) -> str:
    """What a worker stored, in the reader's language where the sentence was marked with `gettext_noop`."""
    return gettext(stored) if stored else ""


def english(said: object) -> str:
    """A refusal or a sentence as the record keeps it, whoever is looking."""
    with translation.override("en"):
        return str(said)
