"""What a set of prefixes covers: which families, and which of their keys may not be copied in the clear."""

from collections.abc import Collection, Sequence

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from kvops.models import Category, Family, Key, Namespace, Read
from kvops.names import storable
from kvops.wording import say


class BackupRefused(Exception):
    """These keys are not copied without encryption; `count` says how many of them there are."""

    def __init__(self, sentence: str | Promise, count: int = 0) -> None:
        super().__init__(sentence)
        self.count = count


def distinct(prefixes: Collection[str]) -> list[str]:
    """The prefixes in byte order, without those that another one covers: no key is under two of them.

    Raises BackupRefused for text that no key can begin with.
    """
    if not all(prefix == "" or storable(prefix) for prefix in prefixes):
        raise BackupRefused(_("A prefix holds NUL or has no UTF-8 form."))
    found: list[str] = []
    for prefix in sorted(prefixes, key=str.encode):
        if not found or not prefix.startswith(found[-1]):
            found.append(prefix)
    return found


def refusal(namespace: Namespace, prefixes: Sequence[str], count: int) -> BackupRefused:
    """The refusal of so many keys that need encryption."""
    under = ", ".join(f"{prefix}*" for prefix in prefixes)
    return BackupRefused(
        say(
            _(
                "%(count)s keys of %(namespace)s under %(prefixes)s are settings or unclassified. They are copied when "
                "encryption comes; until then choose prefixes without them, or classify them in the policy."
            ),
            count=count,
            namespace=namespace,
            prefixes=under,
        ),
        count,
    )


def sensitive_in_inventory(namespace: Namespace, prefixes: Sequence[str]) -> int:
    """How many keys under the prefixes were settings or unclassified at the newest complete scan."""
    keys = Key.objects.filter(namespace=namespace, category__in=[c for c in Category if c.sensitive])
    return sum(keys.filter(name__startswith=prefix).count() for prefix in prefixes)


def reached(namespace: Namespace, prefixes: Sequence[str]) -> list[Family]:
    """Families that may have keys under the prefixes and need no encryption."""
    return [
        family
        for family in Family.objects.filter(binding=namespace.binding)
        if not Category(family.category).sensitive
        and any(
            family.pattern.startswith(prefix) or (not family.exact and prefix.startswith(family.pattern))
            for prefix in prefixes
        )
    ]


def category(families: Collection[Family]) -> Category:
    """The category of a copy of these families: legacy as soon as one of them is."""
    return Category.LEGACY if any(f.category == Category.LEGACY for f in families) else Category.CACHE


def read(families: Collection[Family]) -> Read:
    """How these families are read: singly as soon as one of them says so."""
    return Read.EXACT if any(f.read == Read.EXACT for f in families) else Read.BULK
