"""Near-duplicates where it is hard: pairs that differ in a word or a mark, in six languages and five scripts.

    python bench/adversarial_pairs.py [--size 2000] [--rounds 1]

Each pair is a row of 100 to 350 characters and a copy with one edit; half of the edits leave the question what it was
(a comma, politeness, another script's digits, a typing error), half make another one of it (a number, a negation, a
name, a sign, a unit, names swapped, another answer) while the answer, but for that last edit, stays. By likeness alone
all are the same: beside ours stands Jaccard similarity of 3-character shingles, as `near: 0.9` alone would have it.
"""

from __future__ import annotations

import random
import unicodedata
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from measuring import footer, options

from flywheel.store.similarity import near_duplicates
from flywheel.text import normalised

THRESHOLD = 0.9


@dataclass(frozen=True)
class Language:
    """A text with slots, and what the edits put where. `swaps`: word → another meaning of the sentence."""

    script: str
    text: str
    names: tuple[str, ...]
    unit: tuple[str, str]
    number_word: tuple[str, str, str]
    """As the text has it, another one, the first in digits."""
    negated: tuple[str, str]
    turned: tuple[str, str]
    polite: str
    light: tuple[str, str]
    comma: tuple[str, str]
    """A word and the same with a comma."""
    spelling: tuple[str, str]
    zero: str
    """The first of another ten digits."""


LANGUAGES = {
    "English": Language(
        "Latin",
        "In the old town {a} sold pens to {n} pupils, and {a} sold half as many pens to the friends of {b}. In the spring "
        "the owner bought {m} kilograms of paper and gave three boxes of it to the school next door, where the children "
        "had asked for more colours since winter. By the rule (f(x) + y), how many pens did {a} and {b} sell before May?",
        ("Anna", "Maria", "Peter", "Thomas", "Ivan", "Clara"), ("kilograms", "grams"), ("three", "four", "3"),
        ("had asked", "had not asked"), ("more", "fewer"), "Please answer: ", ("gave three", "then gave three"),
        ("In the spring", "In the spring,"), ("children", "childern"), "０",
    ),
    "Russian": Language(
        "Cyrillic",
        "В старом городе {a} продаёт ручки для {n} учеников, а потом {a} продаёт вдвое меньше ручек друзьям, которых "
        "знает {b}. Весной хозяин купил {m} килограммов бумаги и отдал три коробки соседней школе, где дети просили "
        "больше красок с самой зимы. По правилу (f(x) + y), сколько всего ручек до лета продали {a} и {b}?",
        ("Анна", "Мария", "Пётр", "Иван", "Ольга", "Сергей"), ("килограммов", "граммов"), ("три", "четыре", "3"),
        ("дети просили", "дети не просили"), ("больше", "меньше"), "Пожалуйста, ответьте: ", ("а потом", "а затем"),
        ("Весной", "Весной,"), ("продаёт", "продает"), "０",
    ),
    "Arabic": Language(
        "Arabic",
        "في المدينة القديمة يبيع {a} الأقلام إلى {n} تلميذا، ثم يبيع {a} نصف هذا العدد من الأقلام لأصدقاء {b}. في الربيع اشترى "
        "صاحب المتجر {m} كيلوغراما من الورق وأعطى ثلاثة صناديق منه للمدرسة المجاورة، حيث طلب الأطفال أكثر من لون منذ الشتاء. "
        "حسب القاعدة (f(x) + y)، كم قلما باع {a} و {b} قبل الصيف؟",
        ("محمد", "محمود", "سعيد", "سعيدة", "يوسف", "خالد"), ("كيلوغراما", "غراما"), ("ثلاثة", "أربعة", "3"),
        ("حيث طلب", "حيث لم يطلب"), ("أكثر", "أقل"), "من فضلك: ", ("ثم يبيع", "يبيع"),
        ("في الربيع", "في الربيع،"), ("الأقلام", "الاقلام"), "٠",
    ),
    "Hindi": Language(
        "Devanagari",
        "पुराने शहर में {a} ने {n} छात्रों को कलम बेचे और फिर {a} ने {b} के दोस्तों को उससे आधे कलम बेचे। वसंत में मालिक ने {m} किलोग्राम "
        "कागज़ खरीदा और उसके तीन डिब्बे पास के स्कूल को दिए जहाँ बच्चे सर्दी से ज़्यादा रंग माँग रहे थे। नियम (f(x) + y) के अनुसार {a} और {b} ने "
        "गर्मी से पहले कुल कितने कलम बेचे?",
        ("राजेश", "राकेश", "कविता", "सविता", "दिनेश", "दानिश"), ("किलोग्राम", "ग्राम"), ("तीन", "चार", "3"),
        ("माँग रहे", "नहीं माँग रहे"), ("ज़्यादा", "कम"), "कृपया ", ("और फिर", "और"),
        ("वसंत में", "वसंत में,"), ("कागज़", "कागज"), "०",
    ),
    "Chinese": Language(
        "Han",
        "在古老的城镇里，{a}把钢笔卖给了{n}个学生，然后{a}又把一半数量的钢笔卖给了{b}的朋友们。春天的时候店主买了{m}公斤的纸，并且把其中的三个箱子送给了"
        "隔壁的学校，因为那里的孩子们从冬天开始就想要更多的颜色和材料。按照规则（f(x) + y）计算，请问{a}和{b}在夏天之前一共卖出了多少支钢笔？",
        ("小明", "小红", "王芳", "李娜", "张伟", "刘洋"), ("公斤", "公克"), ("三个", "四个", "3个"),
        ("就想要", "就不想要"), ("之前", "之后"), "请问，", ("的时候", "时候"), ("然后", "然后，"), ("想要更多的", "想要更多"), "０",
    ),
    "Japanese": Language(
        "Han and kana",
        "古い町の店で{a}さんは{n}人の生徒にペンを売って、それから{a}さんは{b}さんの友だちにその半分のペンを売りました。春になると店の主人は{m}キログラムの紙を"
        "買い、そのうち三つの箱を隣の学校に贈りました。そこの子どもたちは冬からもっと多くの色や材料を欲しがりました。規則（f(x) + y）によると、{a}さんと{b}さんは"
        "夏の前に全部で何本のペンを売りましたか。",
        ("田中", "鈴木", "佐藤", "高橋", "山本", "中村"), ("キログラム", "グラム"), ("三つ", "四つ", "3つ"),
        ("欲しがりました", "欲しがりませんでした"), ("夏の前", "夏の後"), "さて、", ("それから", "それからは"),
        ("それから", "それから、"), ("何本のペンを", "何本のペン、"), "０",
    ),
}  # fmt: skip

Slots = dict[str, str]
Edit = Callable[[Language, Slots, random.Random], tuple[str, str]]


def row(language: Language, slots: Slots) -> str:
    return language.text.format(**slots)


def replaced(part: str) -> Edit:
    """One of the language's pairs: its first stands in the text, its second comes in its place."""

    def edit(language: Language, slots: Slots, rng: random.Random) -> tuple[str, str]:
        old, new = getattr(language, part)[:2]
        text = row(language, slots)
        assert old in text, (language.script, part)
        return text, text.replace(old, new, 1)

    return edit


def put(slot: str) -> Edit:
    """Another name or number in one slot, as like the old one as another of the kind can be."""

    def edit(language: Language, slots: Slots, rng: random.Random) -> tuple[str, str]:
        others = [n for n in language.names if n not in slots.values()]
        new = rng.choice(others) if slot in "ab" else slots[slot][::-1] if rng.random() < 0.5 else slots[slot] + "0"
        new = str(int(slots[slot]) + 1) if slot not in "ab" and new == slots[slot] else new
        return row(language, slots), row(language, {**slots, slot: new})

    return edit


def swapped(one: str, other: str) -> Edit:
    def edit(language: Language, slots: Slots, rng: random.Random) -> tuple[str, str]:
        return row(language, slots), row(language, {**slots, one: slots[other], other: slots[one]})

    return edit


def changed(change: Callable[[str, Language], str]) -> Edit:
    def edit(language: Language, slots: Slots, rng: random.Random) -> tuple[str, str]:
        text = row(language, slots)
        return text, change(text, language)

    return edit


def other_digits(text: str, language: Language) -> str:
    return "".join(chr(ord(language.zero) + int(c)) if c.isascii() and c.isdigit() else c for c in text)


SAME: dict[str, Edit] = {
    "a comma": replaced("comma"),
    "politeness": changed(lambda text, language: language.polite + text),
    "a light word": replaced("light"),
    "a spelling or a typing error": replaced("spelling"),
    "other digits": changed(other_digits),
    "a number in digits": changed(lambda text, lang: text.replace(lang.number_word[0], lang.number_word[2], 1)),
    "decomposed characters": changed(lambda text, _: unicodedata.normalize("NFD", text)),
    "spacing and a last mark": changed(lambda text, _: " " + text[:-1].replace(" ", "  ") + " ."),
    "letter case": changed(
        lambda text, _: text[0].lower() + text[1:].replace(" old ", " OLD ").replace("старом", "СТАРОМ")
    ),
    "quotes": lambda language, slots, _: (row(language, slots), row(language, {**slots, "b": f"“{slots['b']}”"})),
}
DIFFERENT: dict[str, Edit] = {
    "a number": put("n"),
    "another number": put("m"),
    "a number word": replaced("number_word"),
    "a negation": replaced("negated"),
    "a name": put("b"),
    "a name, everywhere": put("a"),
    "names swapped": swapped("a", "b"),
    "numbers swapped": swapped("n", "m"),
    "a unit": replaced("unit"),
    "a word that turns it": replaced("turned"),
    "a sign": changed(lambda text, _: text.replace(" + ", " - ")),
    "a prime": changed(lambda text, _: text.replace("f(x)", "f'(x)")),
    "a factorial": changed(lambda text, _: text.replace("+ y", "+ y!")),
    "a variable": changed(lambda text, _: text.replace("+ y", "+ Y")),
    "the answer": changed(lambda text, _: text),
}


@dataclass(frozen=True)
class Pair:
    language: str
    edit: str
    same: bool
    one: str
    other: str


def pairs(count: int, seed: int) -> list[Pair]:
    """`count` pairs, languages and edits in turn, half of them the same question."""
    rng = random.Random(seed)
    kinds = [
        (name, same, edit) for same in (True, False) for name in LANGUAGES for edit in (SAME if same else DIFFERENT)
    ]
    same, different = ([k for k in kinds if k[1] is wanted] for wanted in (True, False))
    return [
        _pair(*(same if i % 2 else different)[i // 2 % len(same if i % 2 else different)], rng) for i in range(count)
    ]


def _pair(name: str, same: bool, edit: str, rng: random.Random) -> Pair:
    language = LANGUAGES[name]
    a, b = rng.sample(language.names, 2)
    n, m = rng.sample(range(12, 100), 2)
    one, other = (SAME if same else DIFFERENT)[edit](language, {"a": a, "b": b, "n": str(n), "m": str(m)}, rng)
    answer = str(rng.randrange(100, 1_000))
    return Pair(name, edit, same, f"{one}\n{answer}", f"{other}\n{int(answer) + (edit == 'the answer')}")


def jaccard(one: str, other: str) -> float:
    a, b = ({t[i : i + 3] for i in range(max(len(t) - 2, 1))} for t in (normalised(one), normalised(other)))
    return len(a & b) / len(a | b)


def scores(found: list[Pair], dropped: list[bool]) -> tuple[float, float]:
    """Precision and recall of dropping."""
    right = sum(pair.same and drop for pair, drop in zip(found, dropped, strict=True))
    return right / max(sum(dropped), 1), right / max(sum(pair.same for pair in found), 1)


def main() -> None:
    given = options(__doc__, 2_000, 1)
    made = pairs(given.size, seed=1)
    ours = [1 in near_duplicates([pair.one, pair.other], THRESHOLD) for pair in made]
    alike = [jaccard(pair.one, pair.other) >= THRESHOLD for pair in made]
    print(f"{'':12s} {'pairs':>6s} {'precision':>10s} {'recall':>8s}   by likeness alone")
    for name in (*LANGUAGES, ""):
        places = [i for i, pair in enumerate(made) if name in ("", pair.language)]
        shown = [scores([made[i] for i in places], [by[i] for i in places]) for by in (ours, alike)]
        print(
            f"{name or 'all':12s} {len(places):6,d} {shown[0][0]:10.4f} {shown[0][1]:8.4f}   {shown[1][0]:.4f} {shown[1][1]:.4f}"
        )
    wrong = Counter((p.language, p.edit) for p, drop in zip(made, ours, strict=True) if p.same != drop)
    print("wrong: " + (", ".join(f"{edit} in {lang} x{n}" for (lang, edit), n in wrong.most_common()) or "none"))
    print(footer())


if __name__ == "__main__":
    main()
