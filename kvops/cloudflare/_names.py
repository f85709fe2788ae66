"""The key names that may be sent, and their form in a path."""

from urllib.parse import quote

from kvops.cloudflare._errors import InvalidKeyName
from kvops.refusals import Sentence as _

MAX_NAME_BYTES = 512


def checked(name: str) -> str:
    """The name unchanged; raises InvalidKeyName for a name that KV cannot hold.

    `.` and `..` matter most: a URL library resolves them, and a call about one key would become a call about the whole
    namespace.
    """
    if name in ("", ".", ".."):
        raise InvalidKeyName(_("A key cannot be named '', '.' or '..'; take it off the list."), name)
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        raise InvalidKeyName(_("A key name here has no UTF-8 form; it can only be handled by hand."), name) from None
    if size > MAX_NAME_BYTES:
        raise InvalidKeyName(
            _("A key name here has %(size)s bytes; KV allows %(most)s.", size=size, most=MAX_NAME_BYTES), name
        )
    return name


def segment(name: str) -> str:
    """The name as a single path segment, `/` included; raises InvalidKeyName."""
    return quote(checked(name), safe="")
