"""Sentences for people: shown in the reader's language, stored in the audit log in English."""

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from django.utils import timezone, translation
from django.utils.formats import number_format
from django.utils.functional import Promise, lazy
from django.utils.translation import gettext, gettext_lazy as _, pgettext

from audit.chain import JSON
from audit.subjects import part_of
from kvops.refusals import Sentence

type Words = str | Promise | Sentence | Exception
"""What `sentence_of` takes: a text, a lazy sentence such as one of `say`, a sentence, or an error that has one."""


def _fill(sentence: str | Promise, facts: dict[str, object]) -> str:
    return str(sentence) % {name: _read_now(fact) for name, fact in facts.items()}


def _read_now(fact: object) -> object:
    """A fact as it stands in a sentence, in the reader's language."""
    return reason_of(fact) if isinstance(fact, Exception) else spoken(fact) if isinstance(fact, Sentence) else fact


_filled = lazy(_fill, str)

_NUMBER = re.compile(r"\d+(?:,\d{3})*")
_KIB = 1024
STEPS = {
    _KIB: "≤ 1 KiB",
    25 * _KIB: "≤ 25 KiB",
    100 * _KIB: "≤ 100 KiB",
    _KIB**2: "≤ 1 MiB",
    25 * _KIB**2: "≤ 25 MiB",
}
"""The sizes that are shown of a masked value: an exact length would tell it from others."""
_PLACES = ("n", "total")
"""The numbers of a sentence of `counted`, in their order."""
_MADE_OF = "made_of"
"""The attribute in which a sentence of `say` keeps its template and its facts."""


def say(sentence: str | Promise, /, **facts: object) -> str:
    """The sentence, with its %(placeholders)s filled when it is read, so that each reader gets their own language."""
    filled = _filled(sentence, facts)
    vars(filled)[_MADE_OF] = (sentence, facts)
    return filled


def actor(stated: str) -> str:
    """An actor of the audit log in words: a part of the product by its name, anybody else as the log states them."""
    part = part_of(stated)
    return say(_("KVOps: %(part)s"), part=part) if part else stated


def spoken(sentence: Sentence) -> str:
    """A sentence in the reader's language."""
    if not sentence.facts:
        return said(sentence.template)
    return _fill(gettext(sentence.template), sentence.facts)


def reason_of(refused: Exception) -> str:
    """The sentence of a refusal, in the reader's language."""
    first = next(iter(refused.args), "")
    return spoken(first) if isinstance(first, Sentence) else str(refused)


def sentence_of(words: Words) -> Sentence:
    """The words with template and facts, to be stored. Of a text and of other lazy translations, the English text."""
    if isinstance(words, Sentence):
        return words
    if isinstance(words, Exception):
        first = next(iter(words.args), "")
        return sentence_of(first if isinstance(first, Promise | Sentence) else str(words))
    template, facts = vars(words).get(_MADE_OF, (words, {})) if isinstance(words, Promise) else (words, {})
    return Sentence(english(template), **{name: _fact(fact) for name, fact in facts.items()})


def _fact(fact: object) -> object:
    return sentence_of(fact) if isinstance(fact, Promise | Sentence | Exception) else fact


def typed(text: str) -> Sentence:
    """A text that a person typed: it is a fact, so it is never translated."""
    return Sentence("%(typed)s", typed=text) if text else Sentence("")


def joined(sentences: Iterable[Words]) -> Sentence:
    """One after the other."""
    facts = {f"sentence{number}": sentence_of(one) for number, one in enumerate(sentences)}
    return Sentence(" ".join(f"%({name})s" for name in facts), **facts)


def kept(sentence: Sentence) -> dict[str, JSON]:
    """A sentence with facts for a JSON column; empty if it has none, because its text is enough."""
    return _kept(sentence) if sentence.facts else {}


def _kept(sentence: Sentence) -> dict[str, JSON]:
    return {"template": sentence.template, "facts": {name: _json(fact) for name, fact in sentence.facts.items()}}


def _json(fact: object) -> JSON:
    if isinstance(fact, Sentence):
        return _kept(fact)
    return fact if isinstance(fact, int) else storable(english(fact))


def columns(name: str, words: Words, most: int | None = 1_000) -> dict[str, Any]:
    """The values of the column `name`, which has at most so many characters, and of its `…_sentence` beside it."""
    sentence = sentence_of(words)
    return {name: storable(str(sentence)).strip()[:most], f"{name}_sentence": kept(sentence)}


def stored(text: str, column: Mapping[str, JSON]) -> Sentence:
    """The sentence of an English text and of the column `kept` beside it. If they differ, the text counts."""
    sentence = _read(column) if column else Sentence(text)
    return sentence if text and str(sentence).startswith(text) else Sentence(text)


def _read(column: Mapping[str, JSON]) -> Sentence:
    facts = column["facts"]
    if not isinstance(facts, dict):
        raise TypeError(facts)
    return Sentence(
        str(column["template"]),
        **{name: _read(fact) if isinstance(fact, dict) else fact for name, fact in facts.items()},
    )


def counted(sentence: str, *numbers: int) -> str:
    """A sentence to store, filled with its numbers: %(n)s, then %(total)s. `said` finds it by them in the catalogue."""
    return sentence % {place: f"{number:,}" for place, number in zip(_PLACES, numbers, strict=False)}


def several(number: int, thing: str) -> str:
    """A number of things in English, for commands and stored titles."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def keys_of(number: int) -> str:
    """A number of keys in English."""
    return several(number, "key")


def said(stored: str) -> str:
    """A stored sentence in the reader's language, if it was marked with `gettext_noop`; also one of `counted`."""
    if not stored or (shown := gettext(stored)) != stored:
        return stored and shown
    numbers, places = _NUMBER.findall(stored), iter(_PLACES)
    if not 0 < len(numbers) <= len(_PLACES):
        return stored
    sentence = _NUMBER.sub(lambda _: f"%({next(places)})s", stored)
    shown = gettext(sentence)
    return stored if shown == sentence else shown % dict(zip(_PLACES, numbers, strict=False))


def translated(stored: str | Sentence) -> str:
    """As `said` or `spoken`, but translated when it is read, into the reader's language."""
    return _spoken(stored if isinstance(stored, Sentence) else Sentence(stored))


_spoken = lazy(spoken, str)


def storable(text: str) -> str:
    """The text with a replacement character for NUL and for lone surrogates, which Postgres cannot store."""
    return text.replace("\0", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def stepped(size: int | None, masked: object) -> int | str | None:
    """A size. Of a masked value, and of a sum over masked values, only the step that it does not exceed."""
    if size is None or not masked:
        return size
    return next((text for step, text in STEPS.items() if size <= step), "> 25 MiB")


def moment(at: datetime | None) -> str:
    """A time in the form of messages, with its zone: when it is read, in the reader's zone."""
    return _moment(at)


def _in_zone(at: datetime | None) -> str:
    return f"{timezone.localtime(at):%Y-%m-%d %H:%M %Z}" if at else ""


_moment = lazy(_in_zone, str)


def english(said: object) -> str:
    """A refusal or a sentence in English and with times in the product's zone, as the audit log keeps it."""
    with translation.override("en"), timezone.override(None):
        return str(said)


def spelled(n: int) -> str:
    """A whole number with the language's separators."""
    return number_format(n, force_grouping=True)


def colon() -> str:
    """A colon with the space that the language has after it."""
    return pgettext("after a label", ": ")


def comma() -> str:
    """The text between the items of a list."""
    return pgettext("between the items of a list", ", ")


def labelled(label: object, text: object) -> str:
    """A text after its label."""
    return f"{label}{colon()}{text}"


LEAST = 10
"""Characters of an explanation."""
TOO_SHORT = _("Write at least ten characters that are not one letter repeated.")


def explains(text: str) -> bool:
    """Whether a text is an explanation: `LEAST` characters or more that are not one letter repeated."""
    return len(text.strip()) >= LEAST and len(set("".join(text.split()).casefold())) > 1


def insist_explained(text: str, refused: Callable[[Any], Exception], sentence: str | Promise) -> None:
    """Raise the error `refused` with the sentence if there is no text, or with a hint if it explains nothing."""
    if not text.strip():
        raise refused(sentence)
    if not explains(text):
        raise refused(TOO_SHORT)
