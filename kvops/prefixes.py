"""Sets of prefixes: the distinct ones of a set, those that two sets share, and the form that people read."""

from collections.abc import Collection, Iterable, Sequence

from django.utils.translation import gettext_lazy as _

from kvops.cloudflare import MAX_NAME_BYTES
from kvops.names import storable
from kvops.refusals import Refused
from kvops.wording import say


class PrefixRefused(Refused):
    """No key can begin with this text."""


def distinct(prefixes: Collection[str]) -> list[str]:
    """The prefixes in byte order, without those that another prefix covers: no key is under two of them.

    Raises PrefixRefused for text that no key can begin with.
    """
    if not all(prefix == "" or storable(prefix) for prefix in prefixes):
        raise PrefixRefused(_("A prefix contains NUL or is not valid UTF-8."))
    found: list[str] = []
    for prefix in sorted(prefixes, key=str.encode):
        if not found or not prefix.startswith(found[-1]):
            found.append(prefix)
    return found


def distinct_of_keys(prefixes: Collection[str]) -> list[str]:
    """Like `distinct`, for prefixes of keys: one that is longer than a key's name is refused, too."""
    found = distinct(prefixes)
    if any(len(prefix.encode()) > MAX_NAME_BYTES for prefix in found):
        raise PrefixRefused(say(_("A prefix is text without NUL of at most %(most)s bytes."), most=MAX_NAME_BYTES))
    return found


def patterns(prefixes: Iterable[str], *, exact: bool = False) -> list[str]:
    """The prefixes as people read them: each with a star, or alone if it is the exact name of a key."""
    return [prefix if exact else f"{prefix}*" for prefix in prefixes]


def common(left: Sequence[str], right: Sequence[str]) -> list[str]:
    """The prefixes that both sets cover."""
    both = [one for one in left if any(one.startswith(other) for other in right)]
    both += [one for one in right if any(one.startswith(other) for other in left)]
    return distinct(both)
