"""How to restore a backup without KVOps: the text of RESTORE.md and of the page, in both languages."""

from dataclasses import replace
from datetime import UTC
from hashlib import sha256
from shlex import quote as shell
from urllib.parse import quote

from backups.archive.d1_loading import load_commands, part_file, section
from backups.archive.manifest import Manifest, Part

_API = "https://api.cloudflare.com/client/v4/accounts/$CLOUDFLARE_ACCOUNT_ID"
_AUTHORIZED = '-H "Authorization: Bearer $CLOUDFLARE_API_TOKEN"'

# Entries are kept as their original lines: parsing and writing them again would change metadata.
_KEEP = """cat > keep.py <<'END'
import json, sys, time
soon = time.time() + 120
for name in sys.argv[1:]:
    kept = []
    with open(name, encoding="utf-8", newline="\\n") as file:
        for line in (line.rstrip(",\\n") for line in file if line.startswith("{")):
            entry = json.loads(line)
            if entry.get("expiration", soon + 1) > soon:
                kept.append(line)
            else:
                print("expires too soon, not restored:", ascii(entry["key"]))
    with open(name, "w", encoding="utf-8", newline="\\n") as file:
        file.write("[\\n" + ",\\n".join(kept) + "\\n]\\n")
END"""


def with_restore_notes(manifest: Manifest) -> tuple[Manifest, bytes]:
    """The manifest with the digest of its recovery steps, and the steps, to be stored at `restore_key`."""
    notes = restore_commands(manifest).encode()
    return replace(manifest, restore_sha256=sha256(notes).hexdigest()), notes


def restore_commands(manifest: Manifest, namespace_id: str | None = None) -> str:
    """Markdown with the commands that restore a backup into its namespace or into another one.

    A backup of master data is restored into its tables.
    """
    if manifest.source:
        parts = [part for part in manifest.parts if part.keys]
        if not manifest.recipients:
            return load_commands(manifest, _fetch(manifest, parts))
        steps = load_commands(manifest, "\n".join([_fetch(manifest, parts), _decrypt(manifest, parts)]))
        return "\n".join([steps, _clear(parts)])
    namespace = namespace_id or manifest.namespace_id
    plain = [part for part in manifest.parts if part.keys and not part.api_only]
    api_only = [part for part in manifest.parts if part.api_only]
    expiring = sum(part.expiring for part in manifest.parts)
    sections = [_head(manifest, namespace), _fetch(manifest, [*plain, *api_only])]
    if manifest.recipients:
        sections.append(_decrypt(manifest, [*plain, *api_only]))
    if expiring:
        sections.append(_expirations(expiring, [*plain, *api_only]))
    if plain:
        sections.append(_put(plain, namespace))
    if api_only:
        sections.append(_call(api_only, namespace))
    if manifest.recipients:
        sections.append(_clear([*plain, *api_only]))
    return "\n".join([*sections, _afterwards(manifest, namespace)])


def _head(manifest: Manifest, namespace: str) -> str:
    at = f"{manifest.started_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    return f"""# Restore {manifest.stem} / {manifest.stem} の復元

Backup of `{manifest.binding}` ("{manifest.namespace_title}", {manifest.environment}) at {at}, \
number of keys: {manifest.counts.keys:,}.
The commands below overwrite these keys in namespace `{namespace}` and leave all others alone.
They need Node 22, and a token that may read R2 and write Workers KV.

`{manifest.binding}`（{manifest.namespace_title}、{manifest.environment}）の {at} 時点のバックアップ（キー \
{manifest.counts.keys:,} 件）です。
以下のコマンドは、ネームスペース `{namespace}` にあるこれらのキーを上書きし、ほかのキーには触れません。
Node 22 と、R2 の読み取りと Workers KV の書き込みができるトークンが必要です。

```sh
export CLOUDFLARE_ACCOUNT_ID={shell(manifest.account_id)}
export CLOUDFLARE_API_TOKEN=…
```
"""


def _fetch(manifest: Manifest, parts: list[Part]) -> str:
    lines = []
    for part in parts:
        file = f"{part_file(part)}.age" if manifest.recipients else part_file(part)
        lines.append(_get(manifest.bucket, part.key, file))
        lines.append(f"echo '{part.sha256}  {file}' | sha256sum --check")
    return section("Fetch the objects and check them", "オブジェクトを取得して確認する", lines)


def _get(bucket: str, key: str, file: str) -> str:
    if "%" in key:
        # wrangler puts the object name into the URL unencoded, so R2 would look for the decoded name.
        url = f"{_API}/r2/buckets/{quote(bucket, safe='')}/objects/{quote(key, safe='/')}"
        return f'curl --fail --silent --show-error {_AUTHORIZED} --output {shell(file)} "{url}"'
    return f"npx wrangler r2 object get {shell(f'{bucket}/{key}')} --file {shell(file)} --remote"


def _decrypt(manifest: Manifest, parts: list[Part]) -> str:
    files = [shell(part_file(part)) for part in parts]
    lines = [f'age --decrypt --identity "$AGE_IDENTITY" --output {file} {file}.age' for file in files]
    named = "\n".join(f"- `{recipient}`" for recipient in manifest.recipients)
    return section("Decrypt them", "復号する", ["export AGE_IDENTITY=…", "umask 077", *lines]) + (
        "\nThe backup is encrypted with age (https://age-encryption.org, `apt-get install age`). `AGE_IDENTITY` is the "
        "path of an identity file, of any one of the recipients below: each opens the backup by itself. "
        '`age-keygen -y "$AGE_IDENTITY"` prints the recipient of yours.\n\n'
        "バックアップは age で暗号化されています。`AGE_IDENTITY` には、下の受信者のいずれか 1 つに対応する"
        '鍵のファイルのパスを指定します。手元の鍵の受信者は `age-keygen -y "$AGE_IDENTITY"` で確認できます。\n\n'
        f"{named}\n"
    )


def _expirations(expiring: int, parts: list[Part]) -> str:
    files = [shell(part_file(part)) for part in parts if part.expiring]
    return section(
        "Take out what expires too soon", "有効期限が近いエントリを除く", [_KEEP, f"python3 keep.py {' '.join(files)}"]
    ) + (
        f"\nEntries with an expiration: {expiring:,}. Cloudflare refuses a whole batch when one of its expirations has "
        "passed or is less than 60 seconds ahead. The script takes out those with less than two minutes left, names "
        "them, and leaves every other entry as it is; repeat it when much time has gone by.\n\n"
        f"有効期限のあるエントリが {expiring:,} 件あります。有効期限が過ぎた、または 60 秒以内に切れるエントリが"
        "1 件でもあると、Cloudflare はバッチ全体を拒否します。スクリプトは残り 2 分未満のエントリだけを除き、"
        "その名前を表示します。時間が経ったときは、もう一度実行してください。\n"
    )


def _put(parts: list[Part], namespace: str) -> str:
    lines = [
        f"npx wrangler kv bulk put {shell(part_file(part))} --namespace-id {shell(namespace)} --remote"
        for part in parts
    ]
    return section("Write the keys", "キーを書き込む", lines)


def _call(parts: list[Part], namespace: str) -> str:
    url = f"{_API}/storage/kv/namespaces/{quote(namespace, safe='')}/bulk"
    lines = [
        f"curl --fail-with-body --request PUT {_AUTHORIZED} -H 'Content-Type: application/json' "
        f'--data-binary @{shell(part_file(part))} "{url}"'
        for part in parts
    ]
    return section(
        "Write what wrangler would refuse or change", "wrangler が拒否または変更するものを書き込む", lines
    ) + (
        "\nThe metadata of these entries is not a JSON object, or JavaScript would change it. "
        "The answer must say `unsuccessful_keys: []`; repeat the command while it names keys.\n\n"
        "これらのエントリのメタデータは JSON オブジェクトではないか、JavaScript では変わってしまうものです。"
        "応答が `unsuccessful_keys: []` になるまで、コマンドを繰り返してください。\n"
    )


def _clear(parts: list[Part]) -> str:
    return section(
        "Delete the decrypted files",
        "復号したファイルを削除する",
        [f"rm {' '.join(shell(part_file(part)) for part in parts)}"],
    )


def _afterwards(manifest: Manifest, namespace: str) -> str:
    lines = [
        f"npx wrangler kv key list --namespace-id {shell(namespace)} --prefix {shell(prefix)} --remote"
        for prefix in manifest.prefixes
    ]
    return section("Look at the result", "結果を確認する", lines) + (
        "\nwrangler does not report keys it failed to write: compare the names. KV may show the old state for a minute "
        "or longer. Then record in the KVOps runbook what was restored.\n\n"
        "wrangler は書き込めなかったキーを報告しません。キー名を見比べてください。KV には 1 分以上、前の状態が見える"
        "ことがあります。その後、復元した内容を KVOps の運用ノートに記録してください。\n"
    )
