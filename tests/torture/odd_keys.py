"""Keys of every kind that KV takes: names, values, metadata and expirations, told by chance."""

import json
import random
from collections.abc import Iterator

from tests.fakes.namespaces import Item

NAME_BYTES = 512
METADATA_BYTES = 1024
LARGEST = 25 * 1024 * 1024
BOM = b"\xef\xbb\xbf"
LEAST = 60.0
"""Seconds: KV takes no key that expires sooner."""

_CHARACTERS = [
    *"aZ09/%?#&+ \n\r\t\\'\"`=-@;:,.<>(){}[]|^~*$!\x01\x1b\x7f",
    *"\u00a0\u00e9e\u0301\u00c5\u212b\u0131\u0130\u00df\u200b\u200d\u2028\u202e\ufeff\ufffd\uffff",
    *"医院院\uac00\u1100\u1161\U0001f600\U0001f468\U0001f3fd\U0010ffff",
]
_NAMES = (
    *("caf\u00e9", "cafe\u0301", "\u00c5", "A\u030a", "\u212b", "\uac00", "\u1100\u1161"),  # NFC and NFD
    *("key", "KEY", "Key", "kEY", "\u0131", "i", "I", "\u0130", "\u00df", "ss", "SS"),  # case
    *("\U0001f600", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\U0001f1ef\U0001f1f5", "\U0001f44d\U0001f3fd"),
    *("/", "//", "/..", "../", "./.", "..", ".", "a/../b", "\\..\\", "%", "%2F", "%2f", "%00", "%252e%252e", "%zz"),
    *("?a=b", "#", "&a&b", "+", " ", "  ", "a b", "a+b", "a%20b", "\n", "\r\n", "\\", "\\n", "\\0", "\t"),
    *('"', "'", '""', "`", "--", "-rf", "=1+1", "@x", "=cmd|'/c'!A0", ";DROP TABLE x", "${x}", "{{x}}", "<b>", "null"),
    *("\ufeff", "\ufffd", "\uffff", "\U0010ffff", "\x01", "\x7f", "\u2028", "\u202e", "\u200b", "0", "00", "1e400"),
)
_VALUES = (
    *(b"", b"\0", b"\0\0\0", b" ", b"\n", b"\r\n--\r\n", b"null", b'""', b"{}", b'"\\ud800"', b"1e400"),
    *(b"\xff", b"\xff\xfe", b"\xfe\xff\0a", b"\x80", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"abc\xe3\x81"),
    *("\ufffd".encode(), "before \ufffd after".encode(), b"text " + BOM + b" text", "日本語\u2028\U0001f600".encode()),
    *(
        b"a\0b",
        b"\x01\x02\x1b[0m",
        b"'; --",
        b"</script>",
        b'{"a":1,"a":2}',
        b"--boundary\r\n\r\nvalue\r\n--boundary--",
    ),
)
_WITH_BOM = (BOM, BOM + b"text", BOM + b"\xff", BOM + BOM + b"twice", BOM + b'{"v":1}')
METADATA = (
    *("{}", "[]", '""', "0", "1", "1.0", "-0", "-0.0", "1e400", "-1E+05", "0.10", "1e-400", "true", "false", '"text"'),
    *("12345678901234567890123", "[null]", '{"a":null}', '{"":0}', '{"a":1,"a":2,"a":1.0}', '{"b":1,"a":2}', "[1,1.0]"),
    *(
        '"\\ud800"',
        '["\\udc00\\ud800"]',
        '{"__proto__":1}',
        '{"base64":true}',
        '"\u2028\u00e9e\u0301"',
        '"null"',
        '"\\u0000"',
    ),
    *('{"\u00e9":1,"e\u0301":2}', "[" * 400 + "]" * 400, '{"a":' * 150 + "1" + "}" * 150, '"\\"\\\\/\\n"', "[[],{}]"),
    *(f'"{"m" * (METADATA_BYTES - 2)}"', f'{{"m":"{"é" * ((METADATA_BYTES - 8) // 2)}"}}', '{"expiration":1}'),
)
"""JSON as the API shows it: compact, with escapes only where nothing else is possible."""


def keys(
    rng: random.Random, count: int, *, prefix: str, base: int, bom: bool = False, large: int = 0, largest: int = 0
) -> list[Item]:
    """So many keys under a prefix; those with an expiration have one around `base`, seconds since 1970.

    So many values are large, and so many as large as KV takes. Values with a byte order mark at the start only on
    demand: reading in bulk loses it.
    """
    distinct = dict.fromkeys(prefix + name for name in _NAMES)
    more = _names(rng, prefix)
    while len(distinct) < count:
        distinct[next(more)] = None
    named = list(distinct)
    rng.shuffle(named)
    found = [Item(name, _value(rng, bom=bom), _expiration(rng, base), _metadata(rng)) for name in named[:count]]
    sizes = [LARGEST] * largest + [rng.randrange(1024 * 1024 - 5, 2 * 1024 * 1024) for _ in range(large)]
    for number, size in enumerate(sizes):
        item = found[number]
        # They are there for their values: of one that expires too soon nothing would be seen.
        found[number] = Item(item.name, _large(rng, size), _far(rng, base), item.metadata)
    return found


def _names(rng: random.Random, prefix: str) -> Iterator[str]:
    while True:
        longest = NAME_BYTES - len(prefix.encode())
        name = "".join(rng.choices(_CHARACTERS, k=rng.randrange(1, 25)))
        if rng.random() < 0.1:  # of exactly so many bytes as KV takes
            while len(name.encode()) < longest:
                name += rng.choice(_CHARACTERS)
            while len(name.encode()) > longest:
                name = name[:-1]
            name += "x" * (longest - len(name.encode()))
        yield prefix + name


def _value(rng: random.Random, *, bom: bool) -> bytes:
    match rng.randrange(10):
        case 0 | 1 | 2:
            return rng.choice(_VALUES)
        case 3:
            return rng.choice(_WITH_BOM) if bom else b""
        case 4:
            return rng.randbytes(rng.randrange(1, 300))
        case 5:
            return json.dumps({"v": rng.random(), "name": "\u533b\u9662"}, ensure_ascii=rng.random() < 0.5).encode()
        case 6:
            return "".join(rng.choices(_CHARACTERS, k=rng.randrange(1, 3_000))).removeprefix("\ufeff").encode()
        case _:
            return f"value {rng.random()}".encode()


def _large(rng: random.Random, size: int) -> bytes:
    """Text, text that grows when it is written as JSON, or bytes that are no text."""
    unit = rng.choice((b"0123456789abcdef", '医院\n"\\/'.encode(), rng.randbytes(4_093)))
    return (unit * (size // len(unit) + 1))[:size]


def _metadata(rng: random.Random) -> str | None:
    if rng.random() < 0.3:
        return None
    if rng.random() < 0.7:
        return rng.choice(METADATA)
    member = rng.choice([rng.random(), rng.getrandbits(70), [], "é"])
    return json.dumps({rng.choice(_CHARACTERS): member}, ensure_ascii=False, separators=(",", ":"))


def _expiration(rng: random.Random, base: int) -> int | None:
    """None for half of them; far away, near, less than a minute after the base, or before it."""
    match rng.randrange(20):
        case 0:
            return base - rng.randrange(1, 3_600)
        case 1:
            return base + rng.randrange(0, 70)
        case 2 | 3:
            return base + rng.randrange(60, 3_600)
        case 4 | 5 | 6 | 7 | 8 | 9:
            return _far(rng, base)
    return None


def _far(rng: random.Random, base: int) -> int | None:
    return rng.choice((None, base + rng.randrange(10**6, 10**9), 2**31 - 1, 2**31, 2**32, 9_999_999_999))
