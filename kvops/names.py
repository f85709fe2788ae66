"""Key names as Postgres holds and orders them. Pure: no Django.

In a column of collation "C" names compare byte by byte, which is the order of their code points in Python.
"""

import re
import sys
import unicodedata

_SPELLED = re.compile(r"\[U\+([0-9A-F]{4,6})\]")
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def escaped(text: str) -> str:
    """The text in the form that COPY takes."""
    return text if text.isprintable() and "\\" not in text else text.translate(_ESCAPES)


def storable(name: str) -> bool:
    """Whether Postgres can hold the name: not empty, without NUL, with a UTF-8 form."""
    if not name or "\0" in name:
        return False
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def workable(name: str) -> bool:
    """Whether the product may work with such a key: storable, and not a path that a URL library resolves away.

    KV refuses to write `.` and `..`. If one were listed all the same, a call about it could become a call about the
    namespace.
    """
    return storable(name) and name not in (".", "..")


def invisible(char: str) -> bool:
    """Whether the character has no shape of its own: a control, a line break, a mark of direction, or U+FFFD."""
    category = unicodedata.category(char)
    return category[0] == "C" or category in ("Zl", "Zp") or char == "\ufffd"


def visible(text: str) -> str:
    """One line of plain text with each invisible character spelled, so that no key's name can forge a message."""
    if text.isprintable() and "\ufffd" not in text:
        return text
    return "".join(f"[U+{ord(char):04X}]" if invisible(char) else char for char in text)


def typeable(name: str) -> str:
    """The name as it can stand in a field of a form: a browser drops or changes line breaks there.

    Invisible characters are spelled as in `visible`, and so is the bracket of a name that itself contains a spelling.
    """
    return visible(_SPELLED.sub(lambda found: f"[U+005B]{found[0][1:]}", name))


def typed(text: str) -> str:
    """The name that a person typed, or that `typeable` wrote: each spelled character is the character."""
    return _SPELLED.sub(lambda found: _character(int(found[1], 16)) or found[0], text)


def _character(code: int) -> str:
    """The character of a code point; empty if there is none, as for surrogates."""
    return "" if code > sys.maxunicode or 0xD800 <= code < 0xE000 else chr(code)


def after_prefix(prefix: str) -> str | None:
    """The smallest text above every name with this prefix; None if there is none."""
    kept = prefix.rstrip("\U0010ffff")
    if not kept:
        return None
    following = ord(kept[-1]) + 1
    if following == 0xD800:  # surrogates cannot occur in a name
        following = 0xE000
    return kept[:-1] + chr(following)


def after_name(name: str) -> str:
    """The smallest text that Postgres can hold above the name itself."""
    return name + "\x01"
