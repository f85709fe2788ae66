"""A page of keys by expiration, in a stable order that an index gives.

The place of a page is the value and the name of the last key before it. Few matches are sorted here. Many are found by
walking along the index of the order, at most 20,000 keys for a page.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from django.db.models import F, Func, Q, TextChoices, TextField, Value
from django.db.models.lookups import GreaterThan, GreaterThanOrEqual, LessThan, LessThanOrEqual
from django.utils.translation import gettext_lazy as _

from kvops.inventory import browse
from kvops.inventory.browse import Found
from kvops.inventory.key_list.matching import Matches, Place
from kvops.inventory.key_list.query import KeyQuery
from kvops.models import Key
from kvops.models.inventory import KeyQuerySet
from kvops.names import storable

NEVER = "never"


class KeyOrder(TextChoices):
    """The order of the list. A minus turns it round."""

    NAME = "", _("Name")
    EXPIRATION = "expiration", _("Expiration")
    LATEST_EXPIRATION = "-expiration", _("Expiration, latest first")

    @property
    def descends(self) -> bool:
        """Whether the greatest value comes first."""
        return self.value.startswith("-")


@dataclass(frozen=True)
class KeyPlace:
    """A place between two keys: after the key with this value and name."""

    value: int | None
    name: str

    @classmethod
    def read(cls, text: str) -> "KeyPlace | None":
        """The place as the address spells it: `1767225600:master:1`. None if the text spells none."""
        value, colon, name = text.partition(":")
        number = None if value == NEVER else int(value) if value.isascii() and value.isdecimal() else -1
        if not colon or not storable(name) or number == -1 or (number or 0) >= 2**63:
            return None
        return cls(number, name)

    def __str__(self) -> str:
        return f"{NEVER if self.value is None else self.value}:{self.name}"


def page(query: KeyQuery, matches: Matches | None, order: KeyOrder, *, after: KeyPlace | None, limit: int) -> Found:
    """A page of the matches in an order other than that of the names; without a filter there are no `matches`."""
    if matches and matches.places is not None and not matches.more:
        return _sorted(query, matches.places, order, after, limit)
    return walk(query, order, limit).page(after)


def _sorted(query: KeyQuery, places: Sequence[Place], order: KeyOrder, after: KeyPlace | None, limit: int) -> Found:
    """A page of at most 10,000 matches, sorted here."""

    def rank(value: int | None, name: str) -> tuple[bool, int, str]:
        return value is None, value or 0, name

    ranked = sorted((rank(expiration, name) for expiration, name in places), reverse=order.descends)
    if after is not None:
        start = rank(after.value, after.name)
        ranked = [one for one in ranked if (one < start if order.descends else one > start)]
    keys = _read(query, [name for _never, _value, name in ranked[:limit]])
    return Found(keys, str(_place(keys[-1])) if keys and len(ranked) > limit else None)


def page_of_matches(query: KeyQuery, places: Sequence[Place], *, after: str, limit: int) -> Found:
    """A page of at most 10,000 matches in the order of names; `places` are in it."""
    names = [name for _expiration, name in places if name > after]
    return Found(_read(query, names[:limit]), names[limit - 1] if len(names) > limit else None)


def _read(query: KeyQuery, names: Sequence[str]) -> list[Key]:
    found = query.namespace.key_set.filter(name__in=names).select_related("family", "first_seen")
    rows = {key.name: key for key in found}
    return [rows[name] for name in names if name in rows]


def _place(key: Key) -> KeyPlace:
    return KeyPlace(key.expiration, key.name)


def walk(query: KeyQuery, order: KeyOrder, limit: int) -> "OrderWalk":
    """A walk along the index of an order, for pages of `limit` keys."""
    return OrderWalk(query, order, limit)


@dataclass
class OrderWalk:
    """A walk along the index of an order. Keys without an expiration are a stretch of their own."""

    query: KeyQuery
    order: KeyOrder
    limit: int
    found: list[Key] = field(default_factory=list)

    def page(self, after: KeyPlace | None) -> Found:
        """The page after a place. It ends early if 20,000 keys hold too few matches."""
        for without in self._stretches(after):
            end = self._walk(self.stretch(after, without=without), without=without)
            if len(self.found) > self.limit:
                return Found(self.found[: self.limit], str(_place(self.found[self.limit - 1])))
            if end is not None:
                return Found(self.found, str(end))
        return Found(self.found, None)

    def _stretches(self, after: KeyPlace | None) -> Iterator[bool]:
        """The stretches from a place on: with a value, and without one."""
        both = [True, False] if self.order.descends else [False, True]
        yield from both[both.index(after is not None and after.value is None) :] if after else both

    def stretch(self, after: KeyPlace | None, *, without: bool) -> KeyQuerySet:
        """The keys with a value in order, or `without` one, after a place in the stretch."""
        found = self.query.namespace.key_set.filter(expiration__isnull=without)
        if after is not None and (after.value is None) == without:
            found = found.filter(self._beyond(after, without=without))
        # Both columns go one way, as the index does. Never sorts above every time, as NULL does in it.
        sign = "-" if self.order.descends else ""
        return found.order_by(f"{sign}expiration", f"{sign}name")

    def _beyond(self, place: KeyPlace, *, without: bool) -> Q | GreaterThan | LessThan:
        if without:
            return Q(name__lt=place.name) if self.order.descends else Q(name__gt=place.name)
        return (LessThan if self.order.descends else GreaterThan)(*self._both(place))

    def _until(self, place: KeyPlace, *, without: bool) -> Q | LessThanOrEqual | GreaterThanOrEqual:
        if without:
            return Q(name__gte=place.name) if self.order.descends else Q(name__lte=place.name)
        return (GreaterThanOrEqual if self.order.descends else LessThanOrEqual)(*self._both(place))

    def _both(self, place: KeyPlace) -> tuple[Func, ...]:
        """The two columns as one row, and the values to compare it with: a range of the index."""
        columns, values = (F("expiration"), F("name")), (Value(place.value), Value(place.name))
        # The type is for Django alone, which knows no rows.
        return tuple(Func(*row, function="ROW", output_field=TextField()) for row in (columns, values))

    def _walk(self, stretch: KeyQuerySet, *, without: bool) -> KeyPlace | None:
        """Add the matches of a stretch; the place where the walk ended early, None at the end of the stretch."""
        more = self.limit + 1 - len(self.found)
        conditions = self.query.conditions
        if self.query.impossible:
            return None
        if not conditions:
            self.found += stretch.select_related("family", "first_seen")[:more]
            return None
        last = list(stretch.values_list("expiration", "name")[browse.WINDOW - 1 : browse.WINDOW])
        end = KeyPlace(*last[0]) if last else None
        window = stretch.filter(self._until(end, without=without)) if end else stretch
        self.found += window.filter(conditions).select_related("family", "first_seen")[:more]
        return end
