"""The filters of the keys, split into the part that an index serves and the conditions that each row must pass."""

import re
from dataclasses import dataclass
from functools import cached_property

from django.db.models import Q

from kvops import timing
from kvops.inventory import expiry as key_expiry
from kvops.inventory.browse import Expiring
from kvops.models import Category, Family, Namespace
from kvops.models.inventory import KeyQuerySet
from kvops.names import after_prefix, storable

_TRIGRAM = re.compile(r"[^\W_]{3}")


@dataclass(frozen=True)
class KeyQuery:
    """The keys of a namespace that match; `now`, in seconds, is the base for a soon expiration."""

    namespace: Namespace
    prefix: str = ""
    part: str = ""
    category: Category | None = None
    family: Family | None = None
    expiring: Expiring | None = None
    now: float = 0.0

    @property
    def is_everything(self) -> bool:
        """Whether no filter is set."""
        return not (self.prefix or self.part or self.category or self.family or self.expiring)

    @property
    def is_prefix_only(self) -> bool:
        """Whether the prefix is the only filter."""
        return bool(self.prefix) and not (self.part or self.category or self.family or self.expiring)

    @property
    def is_of_names(self) -> bool:
        """Whether an index answers all of it: nothing is left to look at in each row."""
        return not (self.part or self.expiring)

    @property
    def is_looked_up(self) -> bool:
        """Whether an index finds the matches, so that few other names are read: by a part, or by the expiration."""
        alone = not (self.part or self.prefix or self.category or self.family)
        return bool(_TRIGRAM.search(self.part)) or self.expiring == Expiring.SOON or (alone and bool(self.expiring))

    @cached_property
    def impossible(self) -> bool:
        """Whether no key can match: a name that Postgres cannot hold, or a design that lacks nothing."""
        lacking = self.expiring == Expiring.LACKING and (self.family is None or not self.family.is_to_expire)
        return lacking or any(text and not storable(text) for text in (self.prefix, self.part))

    def by_name(self) -> KeyQuerySet:
        """The keys in a range of one index."""
        found = self.namespace.key_set.under(self.prefix)
        if self.expiring == Expiring.ANY:
            return found.expiring()
        if self.expiring == Expiring.SOON:
            return found.filter(self.expiry)
        return found.filter(self.kind)

    @property
    def kind(self) -> Q:
        """The conditions on family and category."""
        kind = Q(category=self.category) if self.category else Q()
        return kind & Q(family=self.family) if self.family else kind

    @property
    def expiry(self) -> Q:
        """The condition on the expiration."""
        if self.expiring == Expiring.SOON:
            return Q(expiration__lt=int(self.now) + timing.EXPIRING_SOON)
        found = Q(expiration__isnull=self.expiring != Expiring.ANY) if self.expiring else Q()
        if self.expiring == Expiring.LACKING and self.family:
            found &= key_expiry.unmarked(self.family)
        return found

    @property
    def rest(self) -> Q:
        """The conditions that each row of the range must pass."""
        rest = Q(name__contains=self.part) if self.part else Q()
        return rest & (self.kind if self.expiring in {Expiring.ANY, Expiring.SOON} else self.expiry)

    @property
    def conditions(self) -> Q:
        """All filters, as conditions on a row of any index."""
        found = self.kind & self.expiry & (Q(name__contains=self.part) if self.part else Q())
        if self.prefix:
            beyond = after_prefix(self.prefix)
            found &= Q(name__gte=self.prefix) & (Q() if beyond is None else Q(name__lt=beyond))
        return found

    def matching(self) -> KeyQuerySet:
        """All keys that match."""
        found = self.by_name()
        return found.none() if self.impossible else found.filter(self.rest)
