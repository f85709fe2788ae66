"""Texts that look like a secret: the runbook refuses them, because its entries are kept for ever. Pure: no database."""

import re
import shlex
from collections.abc import Collection, Iterator, Sequence

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from kvops.models import Person, Role
from kvops.refusals import Refused
from kvops.wording import say

_MARKS = re.compile(
    r"-----BEGIN |AGE-SECRET-KEY-|\bsk[-_](?:live|test|proj|ant)|\bgh[opsu]_|\bgithub_pat_|\bxox[abprs]-"
    r"|\bAKIA[0-9A-Z]{8}|\beyJ[A-Za-z0-9_-]{8}|\bhooks\.slack\.com/|\bSG\.[A-Za-z0-9_-]{8}|://[^/\s:@]+:[^/\s@]+@"
)
"""The beginnings of well-known secrets, and an address with a password in it."""

_NAMED = r"(?i:api[_-]?key|token|secret|passw(?:or)?d|credential)s?[\"']?"
_GIVEN = re.compile(
    rf"{_NAMED}=[\"']?[^\s\"'$<*.]"
    rf"|{_NAMED}\s*[=:]\s*[\"']?(?=[^\s\"'$]*[0-9!@#%^&+/])[^\s\"'$<*.][^\s\"']{{3}}"
    r"|(?i:\bbearer|\bbasic)\s+[\"']?[A-Za-z0-9+/=._-]{6}"
)
"""A secret's name with its value. A variable of the shell is not a value."""

_RANDOM = re.compile(r"[A-Za-z0-9+/_=-]{20,}")
_LETTERS_AND_DIGITS = re.compile(r"(?=.*[A-Za-z])(?=.*[0-9])")

_WITH_ARGUMENT = frozenset(
    ["--binding", "--namespace-id", "--path", "--ttl", "--expiration", "--env", "-e", "--config", "-c", "--cwd"]
)
_FLAGS = frozenset(["--preview", "--local", "--remote", "--force", "-f"])

_FROM_FILE = re.compile(
    r"""--metadata[ =]"\$\(cat [\w./-]+\)"|--data-binary @[\w./-]+|--form (?:value=@[\w./-]+|'metadata=<[\w./-]+')"""
)
"""Arguments that name the file of a value or of metadata, as the commands that KVOps shows have them."""

_UNTIL = re.compile(r"[?&]expiration=\d+\b")
"""An expiration in an address."""

PUT_WITH_VALUE = _(
    "Leave the value out of the command: the runbook keeps it for ever, and everybody can read it. "
    "Write put with the name of the key alone, or with --path and the name of a file."
)
CANNOT_BE_READ = _("The command has a quotation mark without its partner. Type it as it was typed in the shell.")
PIPED = _("Leave out the part that gives the value to the command (|, <, a here-document or --data).")


def mark_in(text: str) -> str | Promise:
    """The reason why a text holds a well-known kind of secret; empty if it does not."""
    mark = _MARKS.search(text)
    return _looks_like(mark[0]) if mark else ""


def secret_in(text: str, allowed: Collection[str] = ()) -> str | Promise:
    """As `mark_in`, also for whatever looks like a secret. `allowed` are known names and ids."""
    rest = _UNTIL.sub(" ", text)
    for known in sorted(allowed, key=len, reverse=True):
        rest = rest.replace(known, " ")
    if given := _GIVEN.search(rest):
        return _looks_like(given[0])
    word = next(filter(_LETTERS_AND_DIGITS.match, _RANDOM.findall(rest)), "")
    return _looks_like(word) if word else mark_in(rest)


def value_in(command: str) -> str | Promise:
    """The reason why a command gives a value; empty if it gives none, or names the file that has it."""
    command = _FROM_FILE.sub(" ", command)
    try:
        words = shlex.split(command)
    except ValueError:
        return CANNOT_BE_READ
    if "|" in command or "<" in command or any(word.startswith(("-d", "--data", "-F", "--form")) for word in words):
        return PIPED
    if any(word.startswith("--metadata") for word in words):
        return PUT_WITH_VALUE
    for at, word in enumerate(words):
        if word == "put" and len(list(_plain(words[at + 1 :]))) > 1:
            return PUT_WITH_VALUE
    return ""


def _plain(words: Sequence[str]) -> Iterator[str]:
    """The words that are neither options nor their arguments. An unknown option takes none, so that nothing hides."""
    left = iter(words)
    for word in left:
        if word in _WITH_ARGUMENT:
            next(left, None)
        elif word not in _FLAGS and word.partition("=")[0] not in _WITH_ARGUMENT:
            yield word


def _looks_like(found: str) -> str:
    """The reason, with only the beginning of the find."""
    return say(
        _(
            "“%(start)s…” looks like a secret. The runbook keeps every entry for ever, so write a name in its place, "
            "such as $TOKEN."
        ),
        start=found[:4],
    )


class RunbookRefused(Refused):
    """The text or the act is not for the runbook; the message gives the reason."""


def insist_keeper(by: Person) -> None:
    """Raise RunbookRefused unless the person may write entries and to-dos."""
    if not (by.holds(Role.OPERATOR) or by.holds(Role.REVIEWER)):
        raise RunbookRefused(_("Only an operator or a reviewer can write this."))


def insist_reader(by: Person) -> None:
    """Raise RunbookRefused unless the person holds a role: everybody who reads may write notes."""
    if not any(by.holds(role) for role in Role):
        raise RunbookRefused(_("Only a person with a role can write this."))


def insist_no_secret(text: str) -> None:
    """Raise RunbookRefused if the text holds a well-known kind of secret."""
    if why := mark_in(text):
        raise RunbookRefused(why)
