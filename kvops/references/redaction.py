"""Masks whatever looks like a secret in source code. Pure: no Django.

A mask is as long as the secret, so that places in a line stay. Masking too much is harmless.
"""

import re

MASK = "*"

_PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----(.*?)(?:-----END|\Z)|AGE-SECRET-KEY-(\w+)", re.DOTALL)
_NAME = r"(?:pass(?:word|wd|phrase)?|pwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|credential|auth)"
_ASSIGNED = re.compile(rf"(?i)\b[\w-]*{_NAME}[\w-]*[\"'`\]]?\s*[:=]+\s*[\"'`]([^\"'`\n]{{3,}})[\"'`]")
_SHOWN = re.compile(rf"(?i)[:/_.-]+|{_NAME}s?:|\s*\+\s*[a-z_$]+(?:\.[a-z_$]+)*\s*\+\s*")
"""Parts of an assigned text that are no value: separators, a word such as `token:`, and code between two strings."""
_PLACEHOLDER = re.compile(r"(\$\{[A-Za-z_$]+(?:\.[A-Za-z_$]+)*\})")
_UNQUOTED = re.compile(rf"(?im)^\s*(?:export\s+)?[\w-]*{_NAME}[\w-]*\s*[:=]\s*([^\s\"'`{{}}()\[\]<>;,|.]{{6,}})\s*$")
_IN_URL = re.compile(r"://[^\s/:@\"'`]*:([^\s/@\"'`]+)@")
_IN_QUERY = re.compile(rf"(?i)[?&][\w-]*(?:{_NAME}|sig|signature|key)=([^\s&\"'`]+)")
_HEADER = re.compile(r"(?i)\b(?:bearer|basic)\s+([\w.~+/=-]{8,})")
_KNOWN = re.compile(
    r"\b((?:gh[pousr]_|github_pat_|glpat-|xox[abprs]-|sk_live_|sk_test_|sk-|rk_live_|AKIA|ASIA|AIza|ya29\.|npm_|ops_|"
    r"eyJ)[\w.~+/=-]{8,})"
)
_SLACK = re.compile(r"hooks\.slack\.com/services/(\S+?)(?=[\"'`\s]|$)")
_LONG = re.compile(r"[\w+/=-]{20,}")
_HEX = re.compile(r"(?i)(?<![0-9a-z])[0-9a-f]{16,}(?![0-9a-z])")
_BASE64_LINE = re.compile(r"(?m)^\s*[\"'`]?([A-Za-z0-9+/]{16,}={0,2})(?:\\n)?[\"'`]?[,+]?\s*$")
_PATTERNS = (_UNQUOTED, _IN_URL, _IN_QUERY, _HEADER, _KNOWN, _SLACK)


def redacted(text: str) -> str:
    """The text with everything masked that looks like a secret. Its length and its lines stay."""
    text = _ASSIGNED.sub(_masked_assigned, _PRIVATE_KEY.sub(_masked_groups, text))
    for pattern in _PATTERNS:
        text = pattern.sub(_masked_groups, text)
    text = _HEX.sub(_masked, text)
    text = _BASE64_LINE.sub(_masked_groups, text)
    return _LONG.sub(lambda found: _masked(found) if _is_random(found.group()) else found.group(), text)


def _masked(found: re.Match[str]) -> str:
    return re.sub(r"[^\n]", MASK, found.group())


def _masked_assigned(found: re.Match[str]) -> str:
    """The match with its value masked. The placeholders of a template and the parts of `_SHOWN` stay."""
    before, value = found.group()[: found.start(1) - found.start()], found[1]
    # Split by a group, every second part is a placeholder.
    parts = _PLACEHOLDER.split(value) if before.endswith("`") else [value]
    shown = (part if at % 2 or _SHOWN.fullmatch(part) else MASK * len(part) for at, part in enumerate(parts))
    return before + "".join(shown) + found.group()[-1]


def _masked_groups(found: re.Match[str]) -> str:
    """The match with each of its groups masked."""
    text, start = found.group(), found.start()
    for index in range(1, len(found.groups()) + 1):
        if (secret := found.group(index)) is not None:
            at = found.start(index) - start
            text = text[:at] + re.sub(r"[^\n]", MASK, secret) + text[at + len(secret) :]
    return text


def _is_random(word: str) -> bool:
    """Whether a long word looks like a key or a token and not like a name or a path."""
    if all(part.isdigit() or (part.isalpha() and part[1:].islower()) for part in re.split(r"[/_=-]+", word) if part):
        return False
    digits = sum(char.isdigit() for char in word)
    upper = sum(char.isupper() for char in word)
    lower = sum(char.islower() for char in word)
    if re.search(r"[a-z]{10,}|[A-Z]{12,}", word):
        return False
    return (digits >= 4 and upper + lower >= 4) or bool(digits and upper >= 4 and lower >= 4)
