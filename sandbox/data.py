"""The sample data: a team's `SETTINGS` and D1 in the middle of the migration. The bytes are always the same."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256

from sandbox.environment import SandboxAccount

type Json = str | int | float | bool | list[Json] | dict[str, Json] | None
type Row = dict[str, str | int]

HOUR = 3600
DAY = 24 * HOUR
BIG_VALUE = 5 * 2**20


@dataclass(frozen=True, slots=True)
class SampleEntry:
    """One key: the bytes of its value, its metadata, and the seconds until it expires."""

    key: str
    value: bytes
    metadata: Json = None
    ttl: int | None = None


@dataclass(frozen=True, slots=True)
class SampleTable:
    """A D1 table: its columns in order, each with its SQL type, and its rows."""

    name: str
    columns: dict[str, str]
    rows: list[Row]


MASTER_TYPES = {
    "department": ["内科", "外科", "小児科", "眼科", "皮膚科", "整形外科", "耳鼻咽喉科", "放射線科"],
    "equipment": ["超音波診断装置", "心電計", "車椅子", "吸引器", "輸液ポンプ"],
    "insurance": ["国民健康保険", "協会けんぽ", "共済組合", "後期高齢者医療"],
    "qualification": ["看護師", "准看護師", "理学療法士", "作業療法士", "言語聴覚士", "薬剤師"],
    "skill": ["訪問看護", "嚥下訓練", "褥瘡ケア", "服薬管理", "口腔ケア", "リハビリ計画", "在宅酸素"],
}
MASTERS_PER_TYPE = 110
ODD_IDS = [
    "a/b", "100%", "what?", "tag#1", "R&D", "c++", "two words", "%2F", "../up", "日本語", "🎌", "=1+1",
]  # fmt: skip
CLINICS = 320
FACILITIES = 420
STAFF = 840
PREFECTURES = ["北海道", "宮城県", "東京都", "神奈川県", "愛知県", "京都府", "大阪府", "広島県", "福岡県", "沖縄県"]
FAMILY_NAMES = ["佐藤", "鈴木", "高橋", "田中", "伊藤", "渡辺", "山本", "中村", "小林", "加藤"]
GIVEN_NAMES = ["葵", "蓮", "陽菜", "湊", "結衣", "大翔", "さくら", "悠真"]
JOBS = ["看護師", "理学療法士", "介護福祉士", "事務", "医師"]

SERVICES = ["訪問看護", "訪問介護", "通所リハビリ", "短期入所", "福祉用具貸与", "居宅療養管理"]
SERVICE_CODES = 60
FORGOTTEN, UNMARKED = 24, 35
"""Cache keys of `mastercache:` without their TTL, and of `facility-skills:` without their mark."""

MISSING_IN_D1 = "0042"
DIFFERING = "0107"
ONLY_IN_D1 = "9001"
CODE_MISSING_IN_D1 = "110007"
CODE_DIFFERING = "110021"
CODE_ONLY_IN_D1 = "119001"


def masters() -> list[Row]:
    """Rows of `masters`. Rows of the type `legacy` have ids with special characters."""
    plain: list[Row] = [
        {"type": kind, "id": f"{number:04}", "name": f"{names[number % len(names)]} {number}", "sort_order": number}
        for kind, names in MASTER_TYPES.items()
        for number in range(1, MASTERS_PER_TYPE + 1)
    ]
    odd: list[Row] = [
        {"type": "legacy", "id": text, "name": f"旧コード {text}", "sort_order": number}
        for number, text in enumerate(ODD_IDS, 1)
    ]
    return _dated([*plain, *odd])


def clinics() -> list[Row]:
    """Rows of `clinics` as KV has them; `tables` plants the differences in production's D1."""
    return _dated([_clinic(f"{number:04}", number) for number in range(1, CLINICS + 1)])


def facilities() -> list[Row]:
    """Rows of `facilities`."""
    kinds = ["訪問看護ステーション", "デイサービス", "診療所"]
    return _dated(
        {
            "id": f"F{number:04}",
            "name": f"{_pick(PREFECTURES, number)}ケアセンター {number}",
            "kind": _pick(kinds, number),
            "clinic_id": f"{number % CLINICS + 1:04}",
        }
        for number in range(1, FACILITIES + 1)
    )


def staff() -> list[Row]:
    """Rows of `staff`, all invented."""
    return _dated(
        {
            "id": f"S{number:05}",
            "name": f"{_pick(FAMILY_NAMES, number)} {_pick(GIVEN_NAMES, number // 7)}",
            "job": _pick(JOBS, number),
            "facility_id": f"F{number % FACILITIES + 1:04}",
        }
        for number in range(1, STAFF + 1)
    )


def service_codes() -> list[Row]:
    """Rows of `service_codes` as D1 has them: all of them stand in the one key `service-codes`."""
    return [_service_code(f"{110_000 + number}", number) for number in range(1, SERVICE_CODES + 1)]


def tables(account: SandboxAccount) -> list[SampleTable]:
    """The account's D1. It equals KV, except for three planted differences in production's `clinics`.

    Three more are planted in its `service_codes`.
    """
    clinic_rows = clinics()
    code_rows = service_codes()
    if account.production:
        code_rows = [row for row in code_rows if row["code"] != CODE_MISSING_IN_D1]
        code_rows = [row | {"units": 999} if row["code"] == CODE_DIFFERING else row for row in code_rows]
        code_rows.append(_service_code(CODE_ONLY_IN_D1, 61))
        clinic_rows = [row for row in clinic_rows if row["id"] != MISSING_IN_D1]
        clinic_rows = [row | {"phone": "03-0000-0000"} if row["id"] == DIFFERING else row for row in clinic_rows]
        clinic_rows += _dated([_clinic(ONLY_IN_D1, 9001)])
    text = "TEXT NOT NULL"
    dated = {"updated_at": text}
    return [
        SampleTable(
            "masters", {"type": text, "id": text, "name": text, "sort_order": "INTEGER NOT NULL"} | dated, masters()
        ),
        SampleTable(
            "clinics",
            {"id": text, "name": text, "prefecture": text, "phone": text, "beds": "INTEGER NOT NULL"} | dated,
            clinic_rows,
        ),
        SampleTable("facilities", {"id": text, "name": text, "kind": text, "clinic_id": text} | dated, facilities()),
        SampleTable("staff", {"id": text, "name": text, "job": text, "facility_id": text} | dated, staff()),
        SampleTable(
            "service_codes",
            {"code": text, "name": text, "units": "INTEGER", "active": "INTEGER NOT NULL", "valid_from": text},
            code_rows,
        ),
    ]


def master_entries() -> Iterator[SampleEntry]:
    """The keys `master:{type}:{id}`, which are seeded first."""
    for row in masters():
        value = {"id": row["id"], "type": row["type"], "name": row["name"], "order": row["sort_order"]}
        yield SampleEntry(
            f"master:{row['type']}:{row['id']}",
            _json({**value, "updated_at": row["updated_at"]}),
            {"migrated": "2025-09-30", "by": "移行バッチ"} if row["type"] in {"legacy", "skill"} else None,
        )


def other_entries(account: SandboxAccount) -> Iterator[SampleEntry]:
    """All keys except `master:`, not in the order of a listing."""
    for row in clinics():
        yield SampleEntry(f"clinic:id:{row['id']}", _json(dict(row)))
    for row in facilities():
        renamed = {"clinicId" if name == "clinic_id" else name: value for name, value in row.items()}
        yield SampleEntry(f"facility:{row['id']}", _json(renamed), {"rev": 3})
    for row in staff():
        renamed = {"facilityId" if name == "facility_id" else name: value for name, value in row.items()}
        yield SampleEntry(f"staff:{row['id']}", _json(renamed))
    items: list[Json] = [
        {
            "code": row["code"],
            "name": row["name"],
            "units": str(row["units"]),
            "active": row["active"] == 1,
            "valid": {"from": "2025-04-01T00:00:00+09:00"},
        }
        for row in service_codes()
    ]
    yield SampleEntry("service-codes", _json({"version": 3, "items": items}), {"by": "移行バッチ"})
    yield from _caches()
    yield from _settings(account)
    yield from _unclassified()


def _caches() -> Iterator[SampleEntry]:
    for number in range(1, 1201):
        kind = _pick(list(MASTER_TYPES), number)
        value = _json({"page": number, "items": [f"{kind}:{item:04}" for item in range(number % 40)]})
        yield SampleEntry(
            f"mastercache:{kind}:page:{number}", value, {"v": 2, "rows": number % 40}, DAY + number * HOUR // 2
        )
    for text in ODD_IDS:
        yield SampleEntry(f"mastercache:search:{text} 検索", _json({"hits": 0}), {"q": text}, 20 * DAY)
    for number in range(1, 21):
        yield SampleEntry(f"mastercache:icon:{number}.png", _picture(number), {"type": "image/png"}, 29 * DAY)
    yield SampleEntry(
        "mastercache:bundle:all", (b"[" + b'"0123456789abcd",' * 300_000 + b"0]").ljust(BIG_VALUE), None, 28 * DAY
    )
    # Metadata may be any JSON; wrangler can only write objects.
    yield SampleEntry("mastercache:note:text", b"1", "旧形式", 28 * DAY)
    yield SampleEntry("mastercache:note:list", b"2", [1, "two", None], 28 * DAY)
    for number in range(1, CLINICS + 1):
        value = _json({"clinic": f"{number:04}", "staff": number % 30, "note": "集計済み"})
        yield SampleEntry(f"clinic:summary:{number:04}", value, {"job": "nightly"}, DAY + number * HOUR // 4)
    for number in range(1, FORGOTTEN + 1):
        # An old release wrote these without their TTL.
        yield SampleEntry(f"mastercache:v1:page:{number}", _json({"page": number}), {"v": 1})
    for number in range(1, FACILITIES + 1):
        value = _json({"訪問看護": number % 9, "口腔ケア": number % 4})
        marked = number > UNMARKED
        yield SampleEntry(f"facility-skills:F{number:04}", value, {"regenerate": "nightly"} if marked else None)


def _settings(account: SandboxAccount) -> Iterator[SampleEntry]:
    root = {"environment": account.slug, "features": {"d1": True, "kvFallback": True}, "adminToken": _fake("root")}
    yield SampleEntry("system-root", _json(root), {"editor": "platform"})
    for service in ("maps", "sms", "fax", "calendar", "payment", "line", "translate", "ocr"):
        yield SampleEntry(f"api-key:{service}", _json({"key": _fake(service), "owner": "platform"}))
    for name in ("smtp", "templates", "sender", "bounce"):
        yield SampleEntry(f"mail:{name}", _json({"host": "smtp.example.com", "user": name, "password": _fake(name)}))


def _unclassified() -> Iterator[SampleEntry]:
    for number in range(1, 1001):
        yield SampleEntry(f"session:{_fake(str(number))[8:24]}", _json({"user": number}), None, DAY + number * 60)
    for number in range(1, 201):
        yield SampleEntry(f"import:2024:{number:03}", f"行 {number},取込済み\n".encode())
    for name in ("new-search", "dark-mode", "beta"):
        yield SampleEntry(f"flag:{name}", b"on")


def _clinic(identity: str, number: int) -> Row:
    place = _pick(PREFECTURES, number)
    phone = f"0{number % 90 + 10}-{number % 9000 + 1000}-{number * 7 % 9000 + 1000}"
    return {
        "id": identity,
        "name": f"{place}クリニック {number}",
        "prefecture": place,
        "phone": phone,
        "beds": number % 20,
    }


def _service_code(code: str, number: int) -> Row:
    return {
        "code": code,
        "name": f"{_pick(SERVICES, number)} {number}",
        "units": 200 + number * 5,
        "active": int(number % 7 != 0),
        "valid_from": "2025-03-31T15:00:00Z",
    }


def _dated(rows: "Iterator[Row] | list[Row]") -> list[Row]:
    return [{**row, "updated_at": f"2025-09-{number % 28 + 1:02}T03:00:00Z"} for number, row in enumerate(rows)]


def _picture(number: int) -> bytes:
    noise = b"".join(sha256(bytes([number, block])).digest() for block in range(32))
    return b"\x89PNG\r\n\x1a\n\x00\xff\xfe" + noise


def _fake(seed: str) -> str:
    return f"fake-{sha256(seed.encode()).hexdigest()[:32]}"


def _pick[T](choices: list[T], number: int) -> T:
    return choices[number % len(choices)]


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
