"""Is every message of the product there in Japanese? Run as `python -m tests.translations`.

`--update` first writes the catalogue anew, sorted: translations and the head stay, new messages come in empty, what is
no longer said goes.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CATALOGUE = ROOT / "locale/ja/LC_MESSAGES/django.po"
FOLDERS = ("audit", "kvops", "backups", "templates")
PLACEHOLDER = re.compile(r"%\(\w+\)[sd]")
Message = tuple[str, str]


def messages(text: str) -> dict[Message, list[str]]:
    """(context, msgid) -> translations, from the text of a catalogue."""
    found: dict[Message, list[str]] = {}
    for block in re.split(r"\n\s*\n", text):
        lines = [line for line in block.splitlines() if not line.startswith("#~")]
        fuzzy = any(line.startswith("#,") and "fuzzy" in line for line in lines)
        parts: dict[str, str] = {}
        current = ""
        for line in lines:
            match = re.match(r'(msgctxt|msgid|msgid_plural|msgstr(?:\[\d\])?) "(.*)"$', line)
            if match:
                current, content = match.groups()
                parts[current] = content
            elif line.startswith('"') and current:
                parts[current] += line[1:-1]
        if parts.get("msgid"):
            translated = [value for name, value in parts.items() if name.startswith("msgstr")]
            found[parts.get("msgctxt", ""), parts["msgid"]] = [] if fuzzy else translated
    return found


def extracted() -> str:
    """What the code and the templates say now, as a catalogue."""
    with tempfile.TemporaryDirectory() as folder:
        script = (
            "import sys; from django.conf import settings;"
            "settings.configure(LOCALE_PATHS=[sys.argv[1]], USE_I18N=True);"
            "import django; django.setup(); from django.core.management import call_command;"
            "call_command('makemessages', locale=['ja'], extensions=['html','txt','py'], keep_pot=False, verbosity=0,"
            " symlinks=True, no_wrap=True)"
        )
        for name in FOLDERS:
            (Path(folder) / name).symlink_to(ROOT / name)
        target = Path(folder) / "locale"
        (target / "ja/LC_MESSAGES").mkdir(parents=True)
        subprocess.run([sys.executable, "-c", script, str(target)], cwd=folder, check=True)
        return (target / "ja/LC_MESSAGES/django.po").read_text("utf-8")


def updated(fresh: str, catalogue: str) -> str:
    """The catalogue with all that is said now and nothing else."""
    have = messages(catalogue)
    entries: list[tuple[str, str, str]] = []
    for block in re.split(r"\n\s*\n", fresh):
        for context, msgid in messages(block):
            said = [line for line in block.splitlines() if not line.startswith(("#:", "msgstr"))]
            name = "msgstr[0]" if any(line.startswith("msgid_plural") for line in said) else "msgstr"
            translation = (have.get((context, msgid)) or [""])[0]
            entries.append((msgid, context, "\n".join([*said, f'{name} "{translation}"'])))
    head = re.split(r"\n\s*\n", catalogue, maxsplit=1)[0]
    return "\n\n".join([head, *(text for _msgid, _context, text in sorted(entries))]) + "\n"


def main() -> int:
    """0 when every message is translated with its placeholders, and none is left over."""
    fresh = extracted()
    if "--update" in sys.argv[1:]:
        CATALOGUE.write_text(updated(fresh, CATALOGUE.read_text("utf-8")), "utf-8")
    wanted, have = messages(fresh), messages(CATALOGUE.read_text("utf-8"))
    missing = [key for key in wanted if not have.get(key) or not all(have[key])]
    stale = [key for key in have if key not in wanted]
    holes = {key: set(PLACEHOLDER.findall(key[1])) for key in wanted}
    wrong = [
        key for key in wanted if any(set(PLACEHOLDER.findall(text)) != holes[key] for text in have.get(key, []) if text)
    ]
    for context, msgid in missing:
        print(f"not translated: {f'[{context}] ' if context else ''}{msgid}")
    for _context, msgid in stale:
        print(f"no longer said: {msgid}")
    for _context, msgid in wrong:
        print(f"other placeholders: {msgid}")
    print(f"{len(wanted)} messages, {len(missing)} not translated, {len(stale)} no longer said, {len(wrong)} wrong")
    return 1 if missing or stale or wrong else 0


if __name__ == "__main__":
    sys.exit(main())
