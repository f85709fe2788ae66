"""Is every message of the product there in Japanese? Run as `python -m tests.translations`; `--update` extracts."""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CATALOGUE = ROOT / "locale/ja/LC_MESSAGES/django.po"
FOLDERS = ("audit", "kvops", "backups", "templates")
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


def main() -> int:
    """0 when every message is translated and none is left over."""
    wanted = messages(extracted())
    have = messages(CATALOGUE.read_text("utf-8")) if CATALOGUE.exists() else {}
    missing = [key for key in wanted if not have.get(key) or not all(have[key])]
    stale = [key for key in have if key not in wanted]
    for context, msgid in missing:
        print(f"not translated: {f'[{context}] ' if context else ''}{msgid}")
    for _context, msgid in stale:
        print(f"no longer said: {msgid}")
    print(f"{len(wanted)} messages, {len(missing)} not translated, {len(stale)} no longer said")
    return 1 if missing or stale else 0


if __name__ == "__main__":
    sys.exit(main())
