"""The Japanese of the product: one word for each concept, one form of buttons and labels, Japanese punctuation."""

import re

import pytest

from audit.actions import Action
from tests.translations import CATALOGUE, ROOT, messages

type Message = tuple[str, str]
"""A msgid with its translation."""

WORDS = [
    ("オペレーター", "運用担当"),
    ("レビュ(ア|ーア|ー担当)", "承認者"),
    ("役割", "ロール"),
    ("申請|提出", "依頼"),
    ("別の人|他の人|ほかの人(?!があなた)", "別の担当者"),
    ("(?<!その)他の", "ほかの"),
    ("さん(?!、KVOps への招待)", "no title after a name"),
    ("名前空間", "ネームスペース"),
    ("(?<!キー)ファミリー", "キーファミリー"),
    ("ランブック|Runbook", "運用ノート"),
    ("差異", "差分"),
    ("エントリー", "エントリ"),
    ("サインイン|サインアウト", "ログイン・ログアウト"),
    ("ブラウザ(?!ー)", "ブラウザー"),
    ("アプリ(?!ケーション)", "アプリケーション"),
    ("受け?入(?!れるまで|れてください)", "動作確認, or 承知 for a risk"),
    ("目印", "再生成フラグ"),
    ("秘密情報", "機微情報"),
    ("復元手順", "復旧手順"),
    ("旧マスター", "レガシー正本"),
    ("(?<=キー)を戻|戻した(?=キー|数|内容)", "復元"),
    ("バックアップの整理", "期限切れバックアップの削除"),
    ("検証用", "訓練用"),
    ("消えた(?!か|こと)|ないまま消", "説明のつかない削除, or 消失した"),
    ("文書", "書類 of 1Password, or 仕様"),
    ("(?<![A-Za-z])ttl(?![A-Za-z])", "TTL"),
    ("二人|一つ|一件", "a digit and a space: 2 人"),
    ("わか(る|り|っ|ら)", "分か"),
    ("あらため", "改め"),
    ("だれ", "誰"),
    ("(訓練|復元|バックアップ|削除|ルール)を始め", "開始"),
    ("４|～", "ASCII digits, and 〜"),
    ("4 眼", "4眼原則"),
]
"""What no translation says, as a pattern, and what it says instead."""
MEANINGS = {
    ("", "never"): "なし",
    ("backup", "never"): "なし",
    ("check", "never"): "未実施",
    ("expiration", "never"): "期限なし",
    ("", "Next"): "次へ",
    ("due time", "Next"): "次回",
    ("what to do", "Next"): "次の操作",
    ("", "Event"): "通知内容",
    ("history", "Event"): "出来事",
}
"""An English word of several meanings, each with the context that tells it, and the Japanese word for it."""
BROKEN = r"世代(され|し)|ます。?されます|(\S{2,})\2されます"
"""What a word leaves behind that was replaced within another one."""
DATES = {"Y-m-d", "Y-m-d H:i", "Y-m-d H:i:s", "m-d", "Y-m", "H:i", "H:i:s"}
"""The forms of dates and times that people read, as templates write them."""
MACHINES = {
    "Y-m-d H:i:s T": "a time with its zone",
    "Y-m-d H:i Z": "a time with its zone",
    "Y-m-d H:i:s Z": "a time with its zone",
    "U": "the clock of the page, for its script",
    "Y-m-dTH:i:s": "a field for a time",
    "Y-m-dTH:i": "a field for a time",
    "YmdTHis.fZ": "the name of an object",
    "Ymd": "the name of an object",
    "Ymd-His": "the name of an object",
    "YmdHis": "the number of a message",
}
"""Other forms, each with its reason."""
KEPT = {"Rolled-back database accepted", "Warning"}
"""A database that was rolled back is 受け入れ, which is no acceptance of a change; a warning of the page is none."""
SAME = {
    "%(days)s %(times)s",
    "API",
    "Cloudflare",
    "ETag",
    "JSON",
    "KV",
    "No.",
    "QA",
    "R2",
    "Worker",
    "api-only",
    "null",
}
SAME |= {"Workers KV Storage Write"}
"""Messages that are the same in both languages."""
NAMES = """
Access Account Asia Cloudflare Content-Type Cookie Cron DATABASE Enter FILE KVOps KiB MiB Lines NULL
Pages Password Read Scripts Settings Shift Slack Storage Time Tokyo Travel Trigger UTC Unicode Web Webhook Worker
Workers Write Object YYYY-MM-DD age age-keygen api api-only application base64 certificate cli cron delete
environments expiration false family fields get http https json key ms null path policy put row rules sweep system
toml true unknown value wrangler d1 regenerate
ETag Git Markdown No X-Forwarded-For X-Forwarded-Proto a-z migrate
"""
"""Names of products, permissions, commands, keys and members, which stay as they are."""
JAPANESE = "[ぁ-んァ-ヶー一-龠々]"
PLACEHOLDER = re.compile(r"%\(\w+\)[sd]|<[^>]*>")
COMMAND = re.compile(
    r"(npx |wrangler kv |pip install |manage\.py )[\x21-\x7e ]*|--[\w-]+( [A-Z]\w*)?"
    r"|(scratch|slack) = |[\w.*/\\{}]*[/_={}][\w.*/:{}\"= -]*"
)
"""A command with its arguments, an option, or a path, a setting and a member with an underscore."""
FILE = re.compile(
    r'slack = "env:NAME"|\w+ = true|\b(env|file|op|cli|system|api|regenerate):\S*|\b[\w-]+\.(toml|py|js|md)\b'
)
COUNTERS = (
    "件|人|回|日(?!本|付|時)|分|秒|時間|世代|行(?!う|い|わ|っ)|個|つ|箇所|か所|か月|年|週間|文字|バイト"
    "|列|枚|通|種類|番目"
)
"""The words that count: things, people, times and units."""
NOUN = "の(開始|完了|検証|削除|固定|解除|承認|作成|変更|失敗)$"
"""The end of a label that names a deed instead of telling it."""


def said() -> list[Message]:
    found = messages(CATALOGUE.read_text("utf-8"))
    return [
        (msgid.replace('\\"', '"'), text.replace('\\"', '"')) for (_c, msgid), texts in found.items() for text in texts
    ]


def buttons() -> set[str]:
    """The msgids of buttons and of links that look like one."""
    button = re.compile(r'<(?:button\b|a [^>]*class="[^"]*\bbtn\b)[^>]*>(.*?)</(?:button|a)>', re.DOTALL)
    pages = [page.read_text("utf-8") for page in (ROOT / "templates").rglob("*.html")]
    labels = [label for page in pages for label in button.findall(page)]
    return {msgid for label in labels for msgid in re.findall(r'{% translate "([^"]+)" %}', label)}


@pytest.mark.parametrize(("wrong", "right"), WORDS)
def test_a_concept_has_one_word(wrong: str, right: str) -> None:
    assert [(text, right) for msgid, text in said() if re.search(wrong, text) and msgid not in KEPT] == []


def test_a_word_of_several_meanings_has_a_translation_for_each() -> None:
    found = messages(CATALOGUE.read_text("utf-8"))
    assert {word: found.get(word) for word in MEANINGS} == {word: [text] for word, text in MEANINGS.items()}
    words = {msgid for _context, msgid in MEANINGS}
    assert {word for word in found if word[1] in words} == set(MEANINGS)


def test_no_translation_is_damaged_by_a_replacement() -> None:
    damaged = ("バックアップ世代されます", "作成します。されます", "作成作成されます")
    assert all(re.search(BROKEN, text) for text in damaged)
    assert [text for _msgid, text in said() if re.search(BROKEN, text)] == []


def test_dates_have_one_form() -> None:
    pages = [page.read_text("utf-8") for page in (ROOT / "templates").rglob("*.*")]
    written = {form for page in pages for form in re.findall(r'(?:\|(?:date|time):|{% now )"([^"]*)"', page)}
    bare = [line for page in pages for line in re.findall(r".*\|(?:date|time|naturaltime|naturalday)\b(?!:\").*", page)]
    assert bare == []
    assert written | in_code() == DATES | set(MACHINES)


def in_code() -> set[str]:
    """The forms of dates and times in the code, as templates write them."""
    several = re.compile(r"%[YymbBdHIMSp](?:[-:./, T]*%[YymbBdjHIMSpfzZ])+Z?")
    code = [file.read_text("utf-8") for app in ("audit", "kvops", "backups") for file in (ROOT / app).rglob("*.py")]
    forms = {form for text in code for form in several.findall(text)}
    return {form.replace("%M", "i").replace("%S", "s").replace("%", "") for form in forms}


def test_an_alarm_is_never_called_a_warning() -> None:
    assert [text for msgid, text in said() if "警告" in text and msgid != "Warning"] == []


def test_a_message_is_not_left_in_english() -> None:
    assert {msgid for msgid, text in said() if msgid == text} == SAME


def test_english_words_are_names() -> None:
    left = [
        (word, text)
        for _msgid, text in said()
        for word in re.findall(r"[A-Za-z][A-Za-z-]+[0-9]*", FILE.sub(" ", COMMAND.sub(" ", PLACEHOLDER.sub(" ", text))))
        if word not in NAMES.split() and not re.fullmatch("[A-Z0-9]+(-[A-Z0-9]*)*", word)
    ]
    assert left == []


def test_a_space_is_between_japanese_and_latin_letters_or_digits() -> None:
    close = re.compile(f"{JAPANESE}[A-Za-z0-9]|[A-Za-z0-9]{JAPANESE}")
    assert [text for _msgid, text in said() if close.search(PLACEHOLDER.sub("\0", text.replace("4眼", "眼")))] == []


def test_a_number_and_its_counter_stay_on_one_line() -> None:
    apart = re.compile(f"(?:\0|(?<![A-Za-z])\\d) ({COUNTERS})")
    found = [text for _msgid, text in said() if apart.search(PLACEHOLDER.sub("\0", text))]
    assert found == [], "a no-break space (U+00A0) joins them"


def test_punctuation_is_japanese() -> None:
    half = re.compile(rf"{JAPANESE}[(:;?!,]|{JAPANESE} [(]|[):;,?!]{JAPANESE}|[)] {JAPANESE}|: \0|:$")
    found = [text for _msgid, text in said() if half.search(PLACEHOLDER.sub("\0", FILE.sub("", text)))]
    assert found == []


def test_a_label_of_a_template_has_the_colon_of_its_language() -> None:
    apart = re.compile(r"{% blocktranslate.*?{% endblocktranslate %}|<code[^>]*>[^<]*</code>", re.DOTALL)
    bare = re.compile(r".*(?:%}|}}|</\w+>):(?!\w|/|{{).*")
    pages = {page: apart.sub("</apart>", page.read_text("utf-8")) for page in (ROOT / "templates").rglob("*.html")}
    found = [(page.name, line) for page, text in pages.items() for line in bare.findall(text)]
    assert found == [], "{% colon %} of `ui` is the colon"


def test_a_list_and_a_sentence_of_a_template_have_the_punctuation_of_their_language() -> None:
    apart = re.compile(
        r"{% blocktranslate.*?{% endblocktranslate %}|{% comment %}.*?{% endcomment %}|<code[^>]*>[^<]*</code>",
        re.DOTALL,
    )
    bare = re.compile(r".*(?:%}|}}|</\w+>)[,.](?!\w|/|{{).*|.*join:\".*")
    pages = {page: apart.sub("</apart>", page.read_text("utf-8")) for page in (ROOT / "templates").rglob("*.html")}
    found = [(page.name, line) for page, text in pages.items() for line in bare.findall(text)]
    assert found == [], "{% comma %} and `commas` of `ui` make a list; a sentence is one message"


def test_buttons_end_with_a_noun_or_a_short_verb() -> None:
    named = buttons()
    assert len(named) > 100
    assert [text for msgid, text in said() if msgid in named and re.search("[一-龠ァ-ヶー]する$", text)] == []


def test_audit_labels_say_what_was_done_to_what() -> None:
    told = dict(said())
    labels = [told[str(label)] for _value, label in Action.choices if str(label) in told]
    assert len(labels) > 100
    assert [label for label in labels if re.search(NOUN, label)] == []


def test_the_glossary_and_the_pages_say_the_same_word() -> None:
    told, glossary = dict(said()), (ROOT / "kvops/help/ja.md").read_text("utf-8")
    for role in ("Operator", "Reviewer", "Auditor", "Production"):
        [word] = re.findall(rf"- \*\*\[(.*?)\]\(.*?\)\*\* \*{role}\*", glossary)
        assert word == told[role.lower()]


def test_texts_outside_the_catalogue_use_the_same_words() -> None:
    written = ("restore_notes.py", "d1_loading.py")
    for name in ("kvops/help/ja.md", "backups/exports/onepassword.py", *(f"backups/archive/{one}" for one in written)):
        text = re.sub(r"\* \*[^*]*\*|\{#[^}]*\}", "", (ROOT / name).read_text("utf-8"))  # English words and anchors
        lines = [line for line in text.splitlines() if re.search(JAPANESE, line)]
        assert lines
        assert [line for line in lines for wrong, _right in WORDS if re.search(wrong, line)] == []
