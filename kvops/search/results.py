"""The results of a search, in groups. Each group has the most that was asked for, and says if there are more."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from django.db.models import Q, Value
from django.urls import get_script_prefix, reverse
from django.utils.functional import Promise
from django.utils.http import urlencode
from django.utils.translation import gettext_lazy as _

from kvops.models import Family, Namespace, User
from kvops.names import typeable, visible
from kvops.operations import registry
from kvops.operations.parts import Question, SearchGroup
from kvops.search import keys as found_keys
from kvops.search.keys import FoundKey
from kvops.search.matching import FoundRow, SearchText, rows_of
from kvops.site.pages import OTHERS, PAGES
from kvops.subjects import tree
from kvops.wording import english


@dataclass(frozen=True)
class FoundPlace:
    """The environment of a result."""

    name: str
    production: bool


@dataclass(frozen=True)
class FoundItem:
    """One result: its title, its page, the kind of thing it is, and its environment."""

    title: str
    url: str
    kind: str = ""
    place: FoundPlace | None = None


@dataclass(frozen=True)
class FoundGroup:
    """Results under one heading. If `more`, there are others."""

    title: str | Promise
    items: Sequence[FoundItem]
    more: bool


def find(wanted: SearchText, user: User, most: int) -> list[FoundGroup]:
    """The groups with results, each with at most so many. Without a text, the pages alone."""
    groups: list[tuple[str | Promise, Iterable[FoundItem]]] = [(_("Pages"), _pages(wanted, user))]
    if wanted.text:
        namespaces = list(Namespace.objects.select_related("environment").order_by("environment__order", "binding"))
        named, owned = _families(wanted, most)
        groups += [
            (_("Families"), _family_pages(namespaces, named)),
            (_("Keys"), _keys(found_keys.find(namespaces, wanted, most + 1))),
            (_("Deleted keys"), _keys(_deleted(namespaces, wanted, most))),
            *_subjects(wanted, most),
            (_("Families by their owner"), _family_pages(namespaces, owned)),
        ]
    listed = [(title, list(items)) for title, items in groups]
    return [FoundGroup(title, items[:most], len(items) > most) for title, items in listed if items]


def _pages(wanted: SearchText, user: User) -> Iterator[FoundItem]:
    """The pages by their names, in the reader's language and in English, spelled in one word or in two.

    Without a text they are the pages of the menu.
    """
    text = _joined(wanted.text)
    named = [(page.address, page.label) for page in PAGES if user.has_perm(page.permission)]
    if wanted.text:
        named += OTHERS.items()
    for address, label in named:
        names = (str(label), english(label))
        if (text or not wanted.text) and any(text in _joined(name) for name in names):
            yield FoundItem(names[0], get_script_prefix() + address)


def _joined(words: str) -> str:
    """Some words as one: `cleanup` for *Clean-up*."""
    return "".join(words.casefold().replace("-", " ").split())


def _deleted(namespaces: Sequence[Namespace], wanted: SearchText, most: int) -> Iterator[FoundKey]:
    by_key = {one.pk: one for one in namespaces}
    for namespace, name in registry.ask(Question.DELETED_KEYS, wanted, most + 1):
        yield FoundKey(by_key[namespace], name)


def _keys(found: Iterable[FoundKey]) -> Iterator[FoundItem]:
    for one in found:
        url = reverse("key", args=[one.namespace.environment.slug, one.namespace.binding])
        yield _in(one.namespace, visible(one.name), f"{url}?{urlencode({'name': one.name})}")


def _families(wanted: SearchText, most: int) -> tuple[list[Family], list[Family]]:
    """The families by their pattern, with or without the star that pages show, and the others by their owner."""
    if not wanted.long_enough:
        return [], []
    is_named = Q(pattern__icontains=wanted.text.removesuffix("*"))
    ordered = Family.objects.order_by("pattern", "binding")
    named = ordered.filter(is_named).annotate(by_name=Value(True))
    owned = ordered.filter(~is_named, owner__icontains=wanted.text).annotate(by_name=Value(False))
    found = sorted(named[: most + 1].union(owned[: most + 1]), key=lambda one: (one.pattern, one.binding))
    return [one for one in found if one.by_name], [one for one in found if not one.by_name]


def _family_pages(namespaces: Sequence[Namespace], families: Iterable[Family]) -> Iterator[FoundItem]:
    """The keys of the families, once for each namespace with their binding."""
    for family in families:
        for one in namespaces:
            if one.binding == family.binding:
                url = reverse("keys", args=[one.environment.slug, one.binding])
                yield _in(one, visible(str(family)), f"{url}?{urlencode({'prefix': typeable(family.pattern)})}")


def _in(namespace: Namespace, title: str, url: str) -> FoundItem:
    place = FoundPlace(namespace.environment.name, namespace.environment.production)
    return FoundItem(title, url, namespace.binding, place)


def _subjects(wanted: SearchText, most: int) -> Iterator[tuple[str | Promise, Iterable[FoundItem]]]:
    """The groups of subjects: their rows in one query, and the titles of the kinds that word them."""
    first, *others = [rows_of(kind, wanted, most + 1) for kind, one in registry.SUBJECTS.items() if one.searched]
    rows: dict[str, list[FoundRow]] = defaultdict(list)
    for row in first.union(*others, all=True):
        rows[row[0]].append(row)
    titles = tree.titles(f"{kind}:{row[1]}" for kind, some in rows.items() for row in some)
    for group in SearchGroup:
        kinds = [kind for kind, one in registry.SUBJECTS.items() if one.searched and one.searched.group == group]
        yield group.label, [_subject(row, titles) for kind in kinds for row in rows[kind]]


def _subject(row: FoundRow, titles: dict[str, str]) -> FoundItem:
    kind, key, text, place, production = row
    subject = f"{kind}:{key}"
    named = f"{registry.SUBJECTS[kind].title} {key}" if kind != "person" else str(registry.SUBJECTS[kind].title)
    shown_place = FoundPlace(place, production) if place else None
    return FoundItem(titles.get(subject) or visible(text), tree.address(subject), named, shown_place)
