"""A report of code references: where source code mentions keys. Pure: no Django.

Only hits travel between machines, each with the lines around it, never whole files. A report that is not of this
shape is refused whole.
"""

import hashlib
import json
import re
import unicodedata
from collections import Counter
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal, NoReturn, get_args

from kvops.refusals import Refused, Sentence as _

type Certainty = Literal["certain", "possible", "unknown"]
type Access = Literal["read", "write", "list", "delete", "unknown"]

MOST_BYTES = 20 * 1024 * 1024
LONGEST_FILE = 1000
LONGEST_TEXT = 200
LONGEST_LINE = 300
LONGEST_REPOSITORY = 200
LONGEST_FAMILY = 700
"""A binding, a space, a key's name of 512 bytes, and a star."""

MOST_PARTS, MOST_MEMBERS, MOST_DEPTH = 100_000, 1000, 8
"""Objects and lists of a file (each hit has one of each) or items of a list, members of an object, and levels."""

_BRACKET = re.compile(rb'(?:[^"\[\]{}]++|"(?:[^"\\]++|\\.)*+")*+([\[\]{}])', re.DOTALL)
CONTEXT_LINES = 3
ANY_FAMILY = "*"
"""The family of a hit that could be about any key of any namespace."""


class ReportRefused(Refused):
    """The report is not of the shape of a report. The message names the first wrong place."""


@dataclass(frozen=True, slots=True)
class Hit:
    """One place in source code that mentions keys of a family, or could."""

    file: str
    line: int
    column: int
    certainty: Certainty
    access: Access
    family: str
    text: str
    context: tuple[str, ...]

    @property
    def fingerprint(self) -> str:
        """The digest of file, text and context. An answer carries over to later hits with the same fingerprint."""
        return hashlib.sha256(_canonical([self.file, self.text, *self.context])).hexdigest()


@dataclass(frozen=True, slots=True)
class Report:
    """All hits of one search. Each file of `unparsed` also has a hit of its own that says so.

    `repository` is the checkout's; a search of a deployed script has none.
    """

    commit: str
    files: int
    searched_at: datetime
    hits: tuple[Hit, ...]
    unparsed: tuple[str, ...]
    repository: str = ""


def dumps(report: Report) -> bytes:
    """The report as canonical JSON."""
    return _canonical(
        {
            "commit": report.commit,
            "files": report.files,
            "searched_at": report.searched_at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
            "hits": [asdict(hit) for hit in report.hits],
            "unparsed": list(report.unparsed),
            **({"repository": report.repository} if report.repository else {}),
        }
    )


def content_of(report: Report) -> str:
    """The SHA-256 of what was found: two searches of one commit that differ in it contradict each other."""
    hits = [asdict(hit) for hit in report.hits]
    return hashlib.sha256(_canonical([report.files, hits, list(report.unparsed)])).hexdigest()


def loads(data: bytes) -> Report:
    """The report of a file. Raises ReportRefused with the first wrong place."""
    insist_bounded(data)
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=_Object)
    except UnicodeDecodeError as error:
        raise ReportRefused(_("The file is not UTF-8: byte %(byte)s is wrong.", byte=error.start + 1)) from error
    except json.JSONDecodeError as error:
        where = {"line": error.lineno, "column": error.colno}
        raise ReportRefused(_("The file is not JSON: line %(line)s, column %(column)s.", **where)) from error
    except (ValueError, RecursionError) as error:
        raise ReportRefused(_("The file is not JSON of a report.")) from error
    # An earlier version wrote `wrangler`, the bindings of the checkout's wrangler files. It is left aside.
    fields = _object(value, "", ("commit", "files", "searched_at", "hits", "unparsed"), ("wrangler", "repository"))
    report = Report(
        commit=_commit(fields["commit"], "commit"),
        files=_positive(fields["files"], "files"),
        searched_at=_time(fields["searched_at"], "searched_at"),
        hits=tuple(_hit(hit, f"hits[{index}]") for index, hit in enumerate(_list(fields["hits"], "hits"))),
        unparsed=tuple(
            _file(file, f"unparsed[{index}]") for index, file in enumerate(_list(fields["unparsed"], "unparsed"))
        ),
        repository=_text(fields.get("repository", ""), "repository", LONGEST_REPOSITORY),
    )
    told = {hit.file for hit in report.hits if hit.certainty == "unknown" and hit.family == ANY_FAMILY}
    for index, file in enumerate(report.unparsed):
        if file not in told:
            _refuse(f"unparsed[{index}]", _("has no hit of certainty unknown and family %(family)s", family=ANY_FAMILY))
    return report


def insist_bounded(data: bytes) -> None:
    """Raise ReportRefused for a file that is too large, too deep or has too many parts, before it is parsed."""
    if len(data) > MOST_BYTES:
        raise ReportRefused(_("The file has more than %(most)s MiB.", most=MOST_BYTES // 1024 // 1024))
    depth = brackets = at = 0
    while found := _BRACKET.match(data, at):  # `finditer` would try again at each byte of an end without brackets
        depth, brackets, at = depth + (1 if found[1] in b"[{" else -1), brackets + 1, found.end()
        if brackets > 2 * MOST_PARTS:
            raise ReportRefused(_("The file has more than %(most)s objects and lists.", most=MOST_PARTS))
        if depth > MOST_DEPTH:
            raise ReportRefused(_("The file is nested more than %(most)s deep.", most=MOST_DEPTH))


def wrong_path(file: str) -> _ | None:
    """The reason why the text is no path of a file inside a checkout; None if it is one."""
    if not file or len(file) > LONGEST_FILE:
        return _wrong_length(1, LONGEST_FILE)
    if file.startswith("/") or file[1:2] == ":":
        return _("must not be an absolute path")
    if "\\" in file:
        return _("must not contain a backslash")
    if any(part in {"", ".", ".."} for part in file.split("/")):
        return _("must stay inside the checkout")
    return wrong_characters(file)


def wrong_characters(text: str) -> _ | None:
    """The reason why the text may not stand in a report; None if it may."""
    if text.isprintable():
        return None
    if any(unicodedata.category(char) in {"Cc", "Cs"} for char in text):
        return _("must not contain control characters or surrogates")
    return None


def _wrong_length(least: int, longest: int) -> _:
    return _("must have %(least)s to %(longest)s characters", least=least, longest=longest)


class _Object(dict[str, Any]):
    """A JSON object that remembers a name that stood in it twice."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        counts = Counter(name for name, _value in pairs) if len(self) < len(pairs) else {}
        self.twice = next((name for name, count in counts.items() if count > 1), None)


def _hit(value: object, place: str) -> Hit:
    fields = _object(value, place, tuple(Hit.__dataclass_fields__))
    context = _list(fields["context"], f"{place}.context")
    if len(context) != CONTEXT_LINES:
        _refuse(f"{place}.context", _("must be a list of %(n)s lines", n=CONTEXT_LINES))
    return Hit(
        file=_file(fields["file"], f"{place}.file"),
        line=_positive(fields["line"], f"{place}.line"),
        column=_positive(fields["column"], f"{place}.column"),
        certainty=_choice(fields["certainty"], f"{place}.certainty", get_args(Certainty.__value__)),
        access=_choice(fields["access"], f"{place}.access", get_args(Access.__value__)),
        family=_text(fields["family"], f"{place}.family", LONGEST_FAMILY, least=1),
        text=_text(fields["text"], f"{place}.text", LONGEST_TEXT),
        context=tuple(_text(line, f"{place}.context[{index}]", LONGEST_LINE) for index, line in enumerate(context)),
    )


def _object(value: object, place: str, names: tuple[str, ...], optional: tuple[str, ...] = ()) -> dict[str, Any]:
    """The object, which must have exactly these names, and may have the optional ones."""
    if not isinstance(value, _Object):
        _refuse(place, _("must be an object"))
    if len(value) > MOST_MEMBERS:
        _refuse(place, _("must have at most %(most)s members", most=MOST_MEMBERS))
    within = f"{place}." if place else ""
    if value.twice is not None:
        _refuse(within + _shown(value.twice), _("stands there twice"))
    for name in names:
        if name not in value:
            _refuse(within + name, _("is missing"))
    known = {*names, *optional}
    for name in (name for name in value if name not in known):
        _refuse(within + _shown(name), _("is not a name of a report"))
    return value


def _shown(name: str) -> str:
    return name[:40] if name.isprintable() else ascii(name[:40])


def _list(value: object, place: str) -> list[Any]:
    if not isinstance(value, list):
        _refuse(place, _("must be a list"))
    if len(value) > MOST_PARTS:
        _refuse(place, _("must have at most %(most)s items", most=MOST_PARTS))
    return value


def _positive(value: object, place: str) -> int:
    if type(value) is not int or not 0 < value < 2**31:
        _refuse(place, _("must be a positive integer"))
    return value


def _choice(value: object, place: str, choices: tuple[str, ...]) -> Any:
    if not isinstance(value, str) or value not in choices:
        _refuse(place, _("must be one of %(choices)s", choices=", ".join(choices)))
    return value


def _text(value: object, place: str, longest: int, *, least: int = 0) -> str:
    if not isinstance(value, str):
        _refuse(place, _("must be text"))
    if not least <= len(value) <= longest:
        _refuse(place, _wrong_length(least, longest))
    if wrong := wrong_characters(value):
        _refuse(place, wrong)
    return value


def _file(value: object, place: str) -> str:
    if not isinstance(value, str):
        _refuse(place, _("must be text"))
    if wrong := wrong_path(value):
        _refuse(place, wrong)
    return value


def _commit(value: object, place: str) -> str:
    """A commit or a version's id. It may be empty: the commit is not known."""
    commit = _text(value, place, 100)
    if not all(char.isascii() and (char.isalnum() or char in "._-") for char in commit):
        _refuse(place, _("must be a commit or the id of a version"))
    return commit


def _time(value: object, place: str) -> datetime:
    try:
        time = datetime.fromisoformat(_text(value, place, 40))
    except ValueError:
        _refuse(place, _("must be a time of ISO 8601"))
    if time.utcoffset() is None:
        _refuse(place, _("must say its time zone"))
    try:
        return time.astimezone(UTC)
    except OverflowError:
        _refuse(place, _("must be a time of ISO 8601"))


def _canonical(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def _refuse(place: str, reason: _) -> NoReturn:
    raise ReportRefused(_("%(place)s: %(reason)s.", place=place or _("The file"), reason=reason))
