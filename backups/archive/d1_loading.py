"""How to load a backup of master data into D1 without KVOps: its RESTORE.md, in both languages."""

import json
from datetime import UTC
from shlex import quote as shell

from backups.archive.manifest import Manifest, ManifestTable, Part

_JOIN = r"""cat > join.py <<'END'
import sys
lines = []
for name in sys.argv[1:]:
    with open(name, encoding="utf-8", newline="\n") as file:
        lines += [line.rstrip(",\n") for line in file if line.startswith("{")]
print("[\n" + ",\n".join(lines) + "\n]")
END"""

# One INSERT statement per row, with numbers spelled as in the backup. Existing rows of D1 are not changed.
_LOAD = r"""cat > load.py <<'END'
import json, sys
class Number(str): pass
TABLES = json.loads(r'''@TABLES@''')
def literal(value):
    if value is None or isinstance(value, bool): return "NULL" if value is None else str(int(value))
    if isinstance(value, Number): return value
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return "'" + text.replace("'", "''") + "'"
for entry in json.load(open("masters.json", encoding="utf-8")):
    mine = [each for each in TABLES if entry["key"].startswith(each[0])]
    _, table, holds, path, fields = max(mine, key=lambda each: len(each[0]))
    value = json.loads(entry["value"], parse_int=Number, parse_float=Number)
    for member in path: value = value[member]
    for row in [value] if holds == "row" else value if holds == "array" else value.values():
        found = {}
        for *above, member, column in fields:
            inner = row
            for name in above: inner = inner.get(name) or {}
            if member in inner: found[column] = literal(inner[member])
        names = ", ".join('"' + column + '"' for column in found)
        print(f'INSERT OR IGNORE INTO "{table}" ({names}) VALUES ({", ".join(found.values())});')
END"""


def load_commands(manifest: Manifest, fetch: str) -> str:
    """Markdown with the commands; `fetch` is the section that gets the objects."""
    return "\n".join([_head(manifest), fetch, _compare(manifest), _load(manifest)])


def _head(manifest: Manifest) -> str:
    tables = "\n".join(f"- {each.dataset}: `{each.database}.{each.table}`, {each.rows:,}" for each in manifest.tables)
    at = f"{manifest.started_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    rows = sum(each.rows for each in manifest.tables)
    return f"""# Load {manifest.stem} / {manifest.stem} の投入

Master data ({manifest.environment}), read from {manifest.source} at {at}, number of rows: {rows:,}.
マスターデータ（{manifest.environment}）。{at} に {manifest.source} から読み取った {rows:,} 行です。

{tables}

Each line is one key: `key` is the name its dataset gives it, `value` its row or rows as JSON.
This is what D1 held, not what Workers KV held: do not put it into KV.
The commands need Node 22 and Python 3, and a token that may read R2 and edit D1.

1 行に 1 キーです。`key` はデータセットが付けるキー名、`value` はその行を JSON にしたものです。
これは D1 の内容であり、Workers KV の内容ではありません。KV には書き込まないでください。
Node 22、Python 3 と、R2 の読み取りと D1 の編集ができるトークンが必要です。

```sh
export CLOUDFLARE_ACCOUNT_ID={shell(manifest.account_id)}
export CLOUDFLARE_API_TOKEN=…
```
"""


def _compare(manifest: Manifest) -> str:
    files = " ".join(shell(part_file(part)) for part in manifest.parts if part.keys)
    where = f"{shell(manifest.environment)} --dataset masters.json --db {shell(_database(manifest).database)}"
    lines = [_JOIN, f"python3 join.py {files} > masters.json", f"python manage.py verify_masters {where}"]
    return section("Compare with D1 as it is now", "現在の D1 と照合する", lines) + (
        "\nThe last command needs a KVOps that works; without one, go on: what D1 has is not changed by what follows."
        "\n\n"
        "最後のコマンドには、動作する KVOps が必要です。ない場合は次に進んでください。"
        "以下の手順で D1 にある行が変わることはありません。\n"
    )


def _load(manifest: Manifest) -> str:
    database = _database(manifest)
    tables = json.dumps([[each.prefix, each.table, each.holds, each.path, each.fields] for each in manifest.tables])
    config = f"""cat > wrangler.toml <<'END'
name = "load-masters"
[[d1_databases]]
binding = {json.dumps(database.database)}
database_name = {json.dumps(database.database)}
database_id = {json.dumps(database.database_id)}
END"""
    lines = [
        _LOAD.replace("@TABLES@", tables),
        "python3 load.py > load.sql",
        config,
        f"npx wrangler d1 execute {shell(database.database)} --remote --file load.sql",
    ]
    return section("Load the rows that D1 lacks", "D1 にない行を投入する", lines) + (
        "\nRows that are there stay as they are; columns that no dataset names get their defaults. Look at `load.sql` "
        "first. Afterwards compare again, and record in the KVOps runbook what was loaded.\n\n"
        "すでにある行は変わりません。データセットにない列は既定値になります。先に `load.sql` を確認してください。"
        "その後もう一度照合し、投入した内容を KVOps の運用ノートに記録してください。\n"
    )


def _database(manifest: Manifest) -> ManifestTable:
    """The first table; all tables of a backup are in one database."""
    return manifest.tables[0]


def section(title: str, japanese: str, lines: list[str]) -> str:
    """A heading in both languages with its commands."""
    return "\n".join([f"## {title} / {japanese}", "", "```sh", *lines, "```", ""])


def part_file(part: Part) -> str:
    """The file name of a fetched part in the recovery steps."""
    return f"part-{part.number:05}{'.api-only' if part.api_only else ''}.json"
