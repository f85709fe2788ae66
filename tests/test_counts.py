"""The English of one thing: a sentence with a number has a form for one, or it counts without a plural."""

import re
from collections import Counter

from tests.translations import CATALOGUE, messages

THINGS = (
    "answers|approvals|backups|bytes|calls|characters|checks|days|deletes|deployments|differences|entries|"
    "families|files|hits|hours|inserts|items|keys|lines|lists|minutes|names|namespaces|notifications|objects|"
    "pages|parts|people|reads|requests|rounds|rows|runs|seconds|stages|steps|tasks|times|updates|values|"
    "versions|writes"
)
NO_NUMBERS = "at|backup|code|environment|family|id|name|number|page|pk|place|rule|slug"
"""The facts of sentences that are no numbers of things."""
NOT_BETWEEN = "and|before|has|in|is|names|of|on|or|takes|the|to"
"""Words that do not stand between a number and its things."""
MANY = re.compile(rf"%\((?!(?:{NO_NUMBERS})\))\w+\)[sd] (?:(?:(?!(?:{NOT_BETWEEN})\b)[a-z]+ )?(?:{THINGS})|were)\b")
"""A number of several things."""
OF_ONE = {"are": "is", "were": "was", "have": "has", "they": "it", "them": "it", "settings": "a setting"}
NEVER_ONE = {
    "a limit of KV, of R2, of Cloudflare or of the code, and each is above one": (
        "%(most)s",
        "%(least)s to %(longest)s characters",
        "at most %(longest)s bytes",
        "At least %(limit)s rows",
        "At least %(limit_value)s days",
        "at least %(least)s random characters",
        "An age is 1 to %(hours)s hours",
        "An approval lasts 1 to %(days)s days",
        "An investigation lasts 1 to %(days)s days",
        "%(left)s of %(all)s requests left",
        "a list of %(n)s lines",
        "of at most %(size)s bytes",
        "A key name here has %(size)s bytes",
        "the count stopped at %(n)s keys",
        "The family has more than %(n)s backups",
    ),
    "a period that the code names, and each is longer": (
        "%(hours)s hours after the deletion",
        "an undo within %(n)s hours",
        "hides the value again after %(n)s seconds",
        "It is good for %(days)s days",
        "not done answering after %(seconds)s seconds",
        "at least %(minutes)s minutes between two starts",
        "R2 deletes investigation backups after %(days)s days",
        "R2 deletes these backups automatically after %(days)s days",
        "deletes investigation backups within %(days)s days",
        "deletes these backups within %(days)s days",
        "after 5 to %(days)s days",
    ),
    "backups are kept for 14 days or more": (
        "%(what)s has less than %(days)s days",
        "backups younger than %(days)s days",
        "delete a backup for at least %(days)s days",
        "Backups of %(family)s are kept for %(days)s days",
        "Now (%(days)s days)",
        "^%(days)s days$",
    ),
    "the code gives up after several": (
        "Started %(starts)s times",
        "Tried %(tries)s times",
        "start again %(restarts)s times",
    ),
    "shown only of more than are kept, shown or named": (
        "Only the first %(kept)s of %(all)s differences",
        "The first %(stored)s of %(all)s differences",
        "The names of the first %(kept)s of %(count)s keys",
        "Delete the first %(first)s of %(n)s keys",
        "%(shown)s of %(total)s answers",
        "%(n)s deployments, SHA-256",
        "More than %(shown)s keys match",
        "More than %(shown)s keys$",
        "Restore %(pk)s wrote %(written)s keys, also of the %(deleted)s deleted ones",
        "More than %(shown)s backups can be deleted",
        "The rule takes at least %(n)s keys, more than its cap",
    ),
    "shown only if there are several": (
        "%(rows)s rows of D1 stand for this key",
        "%(count)s tasks wait",
        "the audit log had %(sequence)s entries",
    ),
    "a duration of more than one": ("about %(n)s hours",),
    "the quota of the free plan": ("%(reads)s reads, %(writes)s writes",),
    "of one hour there is a sentence without a number": ("A backup is expected every %(hours)s hours",),
}
"""Why the number of a sentence is never one, with a part of each such sentence, which begins with ^ and ends with $."""


def of_several() -> set[str]:
    """The sentences about several things without a form for one. Of a sentence with a plural, its form for one."""
    said = {msgid for _context, msgid in messages(CATALOGUE.read_text("utf-8"))}
    forms = Counter(map(of_one, said))
    return {f"^{msgid}$" for msgid in said if MANY.search(msgid) and forms[of_one(msgid)] == 1}


def of_one(sentence: str) -> str:
    """The sentence as it is of one thing."""
    things = re.sub(rf"\b({THINGS})\b", lambda found: singular(found[0]), sentence)
    return re.sub(rf"\b({'|'.join(OF_ONE)})\b", lambda found: OF_ONE[found[0]], things)


def singular(things: str) -> str:
    """One of the things."""
    return re.sub("ie$", "y", things.removesuffix("s"))


def test_a_sentence_with_a_number_is_right_for_one() -> None:
    parts, found = [part for some in NEVER_ONE.values() for part in some], of_several()
    assert {sentence for sentence in found if not any(part in sentence for part in parts)} == set()
    assert [part for part in parts if not any(part in sentence for sentence in found)] == []
