"""The finding of a check, and what a check is told about the process it runs in."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from django.db.models import TextChoices
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from kvops.models import Environment
from kvops.wording import Words, reason_of


class Health(TextChoices):
    """The state of one finding."""

    OK = "ok", _("ok")
    WRONG = "wrong", _("wrong")
    UNKNOWN = "unknown", _("not known")


@dataclass(frozen=True)
class Diagnosis:
    """One line of the doctor: the thing that was looked at, its state, and a sentence with the next step."""

    about: str | Promise
    health: Health
    sentence: str | Promise

    @property
    def look(self) -> str:
        """The name of the state in `operations.registry.STATES`."""
        return f"doctor_{self.health}"


@dataclass(frozen=True)
class Examined:
    """The process that examines itself. `web` is the web server; a command may have any process's settings."""

    web: bool = False

    @cached_property
    def environments(self) -> Sequence[Environment]:
        """The environments in force, read once for all checks."""
        return list(Environment.objects.order_by("order"))


def ok(about: str | Promise, sentence: str | Promise = "") -> Diagnosis:
    """The thing is as it should be."""
    return Diagnosis(about, Health.OK, sentence)


def wrong(about: str | Promise, sentence: Words) -> Diagnosis:
    """The thing is wrong; the sentence says what to do."""
    return Diagnosis(about, Health.WRONG, _text(sentence))


def unknown(about: str | Promise, sentence: Words) -> Diagnosis:
    """The state of the thing is not known; the sentence says why."""
    return Diagnosis(about, Health.UNKNOWN, _text(sentence))


def _text(words: Words) -> str | Promise:
    return reason_of(words) if isinstance(words, Exception) else words if isinstance(words, Promise) else str(words)
