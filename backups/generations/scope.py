"""The coverage of a set of prefixes: which families, and which of their keys are always encrypted."""

from collections.abc import Collection, Iterable, Sequence

from django.db.models import Q
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from backups.generations import encryption
from kvops.inventory.families import Families
from kvops.models import Category, Family, Key, Namespace, Read
from kvops.prefixes import patterns
from kvops.refusals import Refused, Sentence
from kvops.wording import say


class BackupRefused(Refused):
    """These keys cannot be backed up without encryption; `count` is their number."""

    def __init__(self, sentence: str | Promise | Sentence, count: int = 0) -> None:
        super().__init__(sentence)
        self.count = count


def refusal(namespace: Namespace, prefixes: Sequence[str], count: int) -> BackupRefused:
    """The refusal for this number of keys that need encryption, if no recipients are set."""
    return BackupRefused(
        say(
            _(
                "%(count)s key of %(namespace)s under %(prefixes)s must be backed up encrypted: it is a setting, "
                "unclassified, or in a family that requires encryption. %(how)s Or choose prefixes without it."
            )
            if count == 1
            else _(
                "%(count)s keys of %(namespace)s under %(prefixes)s must be backed up encrypted: they are settings, "
                "unclassified, or in a family that requires encryption. %(how)s Or choose prefixes without them."
            ),
            count=f"{count:,}",
            namespace=namespace,
            prefixes=", ".join(patterns(prefixes)),
            how=encryption.HOW,
        ),
        count,
    )


def secret_in_inventory(namespace: Namespace, prefixes: Sequence[str]) -> int:
    """The number of keys under the prefixes that need encryption, at the newest complete scan."""
    secret = Q(category__in=[c for c in Category if c.sensitive]) | Q(family__encrypt=True)
    keys = Key.objects.filter(secret, namespace=namespace)
    return sum(keys.filter(name__startswith=prefix).count() for prefix in prefixes)


def families_of(binding: str, names: Iterable[str]) -> set[Family | None]:
    """The families of these keys; None stands for unclassified keys."""
    families = Families.of(binding)
    return {families.family(name) for name in names}


def reached(namespace: Namespace, prefixes: Sequence[str]) -> list[Family]:
    """Families that may have keys under the prefixes."""
    return [
        family
        for family in Family.objects.filter(binding=namespace.binding)
        if any(
            family.pattern.startswith(prefix) or (not family.exact and prefix.startswith(family.pattern))
            for prefix in prefixes
        )
    ]


STRICTEST = (Category.SETTINGS, Category.UNCLASSIFIED, Category.LEGACY)


def category(families: Collection[Family | None]) -> Category:
    """The category of a backup of these families: the one with the strictest rules, None for no family."""
    found = {family.category if family else Category.UNCLASSIFIED for family in families}
    return next((each for each in STRICTEST if each in found), Category.CACHE)


def read_mode(families: Collection[Family]) -> Read:
    """How to read these families: singly if one of them requires it."""
    return Read.EXACT if any(f.read == Read.EXACT for f in families) else Read.BULK
