"""Near-duplicates and contamination, against what plain Python says."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flywheel.store.similarity import Signatures, _signatures, contaminated, near_duplicates
from flywheel.text import normalised

WORDS = [
    f"{a}{b}" for a in ("ka", "lo", "mu", "ru", "ti", "vu", "shi", "bra") for b in ("n", "rt", "sk", "ll", "mp", "x")
]


def sentence(rng: random.Random, length: int = 20) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(length))


def jaccard(a: str, b: str) -> float:
    one, other = ({text[i : i + 3] for i in range(max(1, len(text) - 2))} for text in (normalised(a), normalised(b)))
    return len(one & other) / len(one | other)


def test_planted_near_duplicates_are_found_and_unrelated_texts_are_not() -> None:
    rng = random.Random(1)
    texts = [sentence(rng) for _ in range(400)]
    planted = [text.replace(text.split()[7], "changed", 1) for text in texts[:100]]
    likely = [i for i in range(100) if jaccard(texts[i], planted[i]) >= 0.8]

    found = near_duplicates([*texts, *planted], 0.8)

    assert {400 + i for i in likely} == set(found)
    assert len(likely) > 50
    assert all(found[400 + i][0] == i for i in likely)


def test_what_is_dropped_does_not_drop_others() -> None:
    """b repeats a, c repeats b but not a: c stays."""
    rng = random.Random(2)
    a = sentence(rng, 30).split()
    b = [*a[:-2], "nova", "nova"]
    c = ["prima", "prima", *b[2:]]
    texts = [" ".join(words) for words in (a, b, c)]
    threshold = 0.85
    assert jaccard(texts[0], texts[1]) >= threshold
    assert jaccard(texts[1], texts[2]) >= threshold > jaccard(texts[0], texts[2])

    assert set(near_duplicates(texts, threshold)) == {1}


def test_a_template_that_many_texts_share_does_not_hide_their_copies() -> None:
    texts = [f"how many things of kind {i} are there in shop number {i * 7919}" for i in range(1_500)]
    texts.append(texts[3])

    assert near_duplicates(texts, 0.99)[1_500][0] == 3


ROW = (
    "A shop in the old town sold pens to 48 pupils in March, and then it sold half as many pens to friends of Anna. In "
    "May the owner bought 5 kilograms of paper and gave three of the boxes to the school next door, where pupils had "
    "asked for more of them since the winter. How many pens did the shop sell by (x + y)?\n72"
)


@pytest.mark.parametrize(
    ("part", "other"),
    [
        ("48", "84"), ("three", "four"), ("had asked", "had not asked"), ("more", "fewer"), ("Anna", "Maria"),
        ("kilograms", "grams"), ("x + y", "x - y"), ("x + y", "x + y!"), ("+ y", "+ Y"), ("\n72", "\n73"),
        ("pens to 48", "48 pens to"), ("where pupils", "unless pupils"),
    ],
)  # fmt: skip
def test_what_says_something_else_is_no_near_duplicate(part: str, other: str) -> None:
    assert part in ROW
    assert near_duplicates([ROW, ROW.replace(part, other)], 0.8) == {}


ROWS = {
    "code": "Write a function total(items, limit) that returns the price per kg of the second list of items, each"
    " larger than limit, and starts with the first of them; of an empty list it returns nothing at all.\n7",
    "German": "Ein Bauer hält am Fluss 36 Hühner und sammelt jeden zweiten Morgen ihre Eier ein, bevor er die"
    " übrigen Tiere füttert und den Rest auf dem Markt verkauft. Wie viel verdient er damit am Sonntag?\n7",
    "Spanish": "Un granjero cerca del río cría 36 gallinas y recoge cada mañana sus huevos. El domingo regala unos"
    " pocos a su vecino y vende el resto en el mercado. ¿Cuánto dinero gana así durante el mes de mayo?\n7",
    "Japanese": "川のそばに住む農夫は36羽の鶏を飼っていて、毎朝卵を集めてから他の動物に餌をやります。"
    "天気が悪くないとき、日曜日に彼はいくら稼ぎますか？\n7",
    "Thai": "ชาวนาคนหนึ่งริมแม่น้ำเลี้ยงไก่ 36 ตัวและเป็ดหลายตัว ทุกเช้าเขาเก็บไข่และขายส่วนที่เหลือที่ตลาด"
    " ถ้าอากาศไม่แย่ เขาได้เงินเท่าไรในวันอาทิตย์\n7",
    "Korean": "강가에 사는 농부는 닭 36마리를 키우고 매일 아침 달걀을 모아 나머지를 시장에서 팝니다."
    " 날씨가 안 나쁘면 그는 일요일에 얼마를 법니까?\n7",
}


@pytest.mark.parametrize(
    ("row", "part", "other"),
    [
        ("code", "total(", "count("), ("code", "kg", "lb"), ("code", "second", "third"), ("code", "larger", "smaller"),
        ("code", "starts", "ends"),
        ("German", "bevor", "nachdem"), ("German", "zweiten", "dritten"), ("German", "jeden zweiten", "jeden"),
        ("Spanish", "domingo", "lunes"), ("Spanish", "mayo", "junio"),
        ("Japanese", "悪くない", "悪い"), ("Thai", "ไม่แย่", "แย่"), ("Korean", "안 나쁘면", "나쁘면"),
    ],
)  # fmt: skip
def test_what_says_something_else_in_other_languages_is_no_near_duplicate(row: str, part: str, other: str) -> None:
    assert part in ROWS[row]
    assert near_duplicates([ROWS[row], ROWS[row].replace(part, other)], 0.8) == {}


@pytest.mark.parametrize(
    ("row", "part", "other"),
    [
        ("Thai", "36", "๓๖"),
        ("German", "ein, bevor", "ein – bevor"),
        ("Japanese", "36", "３６"),
        ("code", " each", "  each"),
    ],
)
def test_another_layout_in_other_languages_is_a_near_duplicate(row: str, part: str, other: str) -> None:
    assert set(near_duplicates([ROWS[row], ROWS[row].replace(part, other)], 0.8)) == {1}


@pytest.mark.parametrize(
    ("part", "other"),
    [
        ("In May", "In May,"), ("A shop", "Please: a shop"), ("pupils had", "pupls had"), ("three", "3"),
        (" and ", "  AND "), ("the boxes", "these boxes"), ("48", "４８"), ("Anna", "“Anna”"), ("to the", "to this"),
    ],
)  # fmt: skip
def test_what_only_says_it_again_is_a_near_duplicate(part: str, other: str) -> None:
    assert set(near_duplicates([ROW, ROW.replace(part, other)], 0.8)) == {1}


def test_a_schema_that_many_rows_share_is_no_content() -> None:
    schema = "CREATE TABLE orders(id INT, customer INT, total DOUBLE); CREATE TABLE customers(id INT, name VARCHAR)"
    rng = random.Random(5)
    asked = [f"{schema}\n{sentence(rng, 12)}\nyes" for _ in range(40)]

    found = near_duplicates([*asked, asked[3].replace("\nyes", " please\nyes")], 0.85)

    assert set(found) == {40}
    assert found[40][0] == 3


def test_an_instruction_before_and_after_every_question_is_no_content() -> None:
    rng = random.Random(6)
    asked = [f"Answer the question in one word only: {sentence(rng, 8)} . Say nothing else at all" for _ in range(40)]

    assert near_duplicates(asked, 0.7) == {}


@pytest.mark.slow
def test_a_family_larger_than_a_crowd_does_not_slip_through() -> None:
    """1,200 wordings of one question share their bands: each is compared with some of them."""
    rng = random.Random(7)
    base = sentence(rng, 60)
    family = [f"{base} {sentence(rng, 2)}" for _ in range(1_200)]

    assert len(near_duplicates(family, 0.8)) >= len(family) - 5  # the same two last words in turn are other wordings


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.text(alphabet="ab c", min_size=0, max_size=12), min_size=2, max_size=8),
    st.sampled_from([0.5, 0.8, 1.0]),
)
def test_whatever_is_dropped_is_as_alike_as_it_is_said(texts: list[str], threshold: float) -> None:
    for later, (earlier, similarity) in near_duplicates(texts, threshold).items():
        assert earlier < later
        assert similarity == pytest.approx(jaccard(texts[earlier], texts[later]))
        assert similarity >= threshold


@settings(max_examples=25, deadline=None)
@given(st.lists(st.text(alphabet="ab c", min_size=0, max_size=12), min_size=2, max_size=8))
def test_equal_texts_are_always_found(texts: list[str]) -> None:
    found = near_duplicates([*texts, *texts], 1.0)

    assert {len(texts) + i for i in range(len(texts))} <= set(found)


def signing(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that are signed from now on."""
    seen: list[str] = []
    monkeypatch.setattr("flywheel.store.similarity._signatures", lambda texts: seen.extend(texts) or _signatures(texts))
    return seen


def test_what_was_signed_before_is_not_signed_again_and_the_same_pairs_are_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = random.Random(8)
    texts = [sentence(rng) for _ in range(60)]
    texts += [text.replace(text.split()[7], "changed", 1) for text in texts[:10]]
    signed = Signatures()
    near_duplicates(texts[:50], 0.8, signed=signed)
    seen = signing(monkeypatch)

    found = near_duplicates(texts, 0.8, signed=signed)

    assert len(seen) == 20
    assert signed.rows["copy"].all()
    assert len(signed.anew) == 70
    assert found == near_duplicates(texts, 0.8)
    assert found


def test_a_text_is_signed_again_when_a_line_of_it_became_a_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line stands in 15 texts, then in 30: it is no content any more, of the first ones either."""
    rng = random.Random(9)
    line = sentence(rng, 30)
    texts = [f"{line}\n{sentence(rng, 12)}\nyes" for _ in range(15)] + [sentence(rng) for _ in range(10)]
    further = [f"{line}\n{sentence(rng, 12)}\nyes" for _ in range(15)]
    further[0] = texts[3].replace("\nyes", " please\nyes")
    signed = Signatures()
    near_duplicates(texts, 0.85, signed=signed)
    seen = signing(monkeypatch)

    found = near_duplicates([*texts, *further], 0.85, signed=signed)

    assert len(seen) == 30
    assert found == near_duplicates([*texts, *further], 0.85) == {25: (3, found[25][1])}


class Watched(list[str]):
    """Notes the places that are looked at."""

    def __init__(self, texts: list[str]) -> None:
        super().__init__(texts)
        self.seen: set[int] = set()

    def __getitem__(self, place: Any) -> Any:
        self.seen.add(place)
        return super().__getitem__(place)

    def __iter__(self) -> Iterator[str]:
        return (self[place] for place in range(len(self)))


def test_of_texts_that_are_signed_those_alone_are_looked_at_that_another_may_repeat() -> None:
    rng = random.Random(10)
    texts = [f"{sentence(rng)}\nlabel{place % 2}" for place in range(60)]
    signed = Signatures()
    near_duplicates(texts, 0.8, signed=signed)
    packed = [signed.get(place, 1) for place in range(60)]
    known = Signatures.packed([row for row, _ in packed], [lines for _, lines in packed])
    repeated = texts[7].replace(texts[7].split()[7], "changed", 1)
    plain = [*texts, *[f"{sentence(rng)}\nlabel0" for _ in range(5)], repeated]
    everything = Watched(plain)
    announced: list[int] = []

    found = near_duplicates(everything, 0.8, signed=known, ahead=announced.extend)

    assert found == near_duplicates(plain, 0.8) == {65: (7, found[65][1])}
    assert 7 in everything.seen
    assert len(everything.seen & set(range(60))) < 5
    assert everything.seen <= set(announced)


@pytest.mark.parametrize("first", ["", "Translate this into simple English, please: "])
def test_an_instruction_that_only_the_further_texts_share_is_content(first: str) -> None:
    """Where all share it, what is signed already is signed by the rest of it, too."""
    rng = random.Random(11)
    texts = [f"{first}{sentence(rng, 20)}" for _ in range(30)]
    further = [f"Translate this into simple English, please: {sentence(rng, 20)}" for _ in range(5)]
    signed = Signatures()
    near_duplicates(texts, 0.8, signed=signed)

    found = near_duplicates([*texts, *further, texts[2]], 0.8, signed=signed)

    assert found == near_duplicates([*texts, *further, texts[2]], 0.8) == {35: (2, 1.0)}


@pytest.mark.parametrize("texts", [[], ["only one text is here"]])
def test_few_texts_have_no_near_duplicates_and_are_signed(texts: list[str]) -> None:
    signed = Signatures()

    assert near_duplicates(texts, 0.8, signed=signed) == {}
    assert signed.anew == list(range(len(texts)))


# --- contamination ----------------------------------------------------------------------------------------------------

ITEM = "Which of the customers in Lisbon have bought more than three green chairs since the spring of last year"


@pytest.mark.parametrize(
    ("question", "how"),
    [
        (ITEM, "exact"),
        (ITEM.upper().replace(" ", "  ") + "?!", "normalised"),
        ("Tell me: " + ITEM + " and why", "13-gram"),
        (" ".join(ITEM.split()[:13]), "13-gram"),
        (" ".join(ITEM.split()[:12]), None),
        ("How many lamps are there", None),
    ],
)
def test_overlap_is_found_in_three_ways(question: str, how: str | None) -> None:
    found = contaminated([(question, question)], [("holdout", "item", ITEM, ITEM)], 13)

    assert (found[0].how if found else None) == how
    assert not found or (found[0].suite, found[0].item_id) == ("holdout", "item")


@pytest.mark.parametrize(
    ("question", "how"),
    [(f"{ITEM} now", "95%"), (ITEM.replace("a", "aa", 1), "95%"), (f"now, {ITEM} if you can tell me", None)],
)
def test_with_a_ratio_a_question_that_is_nearly_an_items_overlaps_whatever_the_answers(
    question: str, how: str | None
) -> None:
    items = [("far", "other", "How many lamps are there", "How many lamps are there"), ("holdout", "item", ITEM, ITEM)]

    assert contaminated([(question, question)], items, 50) == {}
    found = contaminated([(question.upper(), f"{question} 5")], items, 50, 0.95)

    assert {place: (one.suite, one.item_id, one.how) for place, one in found.items()} == (
        {0: ("holdout", "item", how)} if how else {}
    )


def test_the_likeness_that_is_asked_for_is_not_rounded() -> None:
    found = contaminated([(f"{ITEM} 5", "")], [("holdout", "item", ITEM, ITEM)], 50, 0.955)
    assert found[0].how == "95.5%"


CHINESE = "小明有四十八个苹果，他把其中的一半分给了三个朋友，然后又买了十二个苹果，请问他现在一共有多少个苹果？"
JAPANESE = "太郎さんはりんごを四十八個持っていて、その半分を三人の友だちに分けました。いま何個のりんごがありますか。"
THAI = "สมชายมีแอปเปิ้ลสี่สิบแปดผลและแบ่งครึ่งหนึ่งให้เพื่อนสามคนแล้วซื้อเพิ่มอีกสิบสองผล ตอนนี้เขามีแอปเปิ้ลกี่ผล"


@pytest.mark.parametrize("item", [CHINESE, JAPANESE, THAI])
def test_scripts_without_blanks_overlap_by_characters(item: str) -> None:
    lessons = [
        f"请回答：{item}",
        f"{item} 123",
        item[: len(item) * 3 // 4],
        item[:10],
        "天气很好，我们去公园吧，你想一起来吗？",
    ]

    found = contaminated([(text, text) for text in lessons], [("s", "i", item, item)], 13)

    assert set(found) == {0, 1, 2}


@pytest.mark.parametrize(
    ("item", "lesson"), [("What is C?", "What is C#?"), ("What is 5?", "What is 5!"), ("x + y", "x - y")]
)
def test_a_mark_that_says_something_makes_another_question(item: str, lesson: str) -> None:
    assert contaminated([(lesson, lesson)], [("s", "i", item, item)], 13) == {}


def test_letter_case_does_not_hide_a_leak() -> None:
    assert (
        contaminated([("what is c", "what is c")], [("s", "i", "What is C?", "What is C?")], 13)[0].how == "normalised"
    )


def test_an_ngram_may_lie_in_the_answer() -> None:
    gold = "SELECT name, count(*) FROM customers JOIN orders USING (id) WHERE city = 'Lisbon' GROUP BY name"

    found = contaminated([("q one", f"q one\n{gold}")], [("s", "i", "another", f"another\n{gold}")], 8)

    assert found[0].how == "8-gram"


def test_only_the_guilty_are_named() -> None:
    lessons = [(f"lesson number {i}", f"lesson number {i}") for i in range(50)]
    items = [("a", "x", "lesson number 7", "lesson number 7"), ("b", "y", "lesson number 9", "lesson number 9")]

    assert {index: found.suite for index, found in contaminated(lessons, items, 13).items()} == {7: "a", 9: "b"}


def test_nothing_overlaps_nothing() -> None:
    assert contaminated([], [("s", "i", "q", "q")], 13) == {}
    assert contaminated([("q", "q")], [], 13) == {}


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from("abc"), max_size=8), min_size=1, max_size=4),
    st.lists(st.lists(st.sampled_from("abc"), max_size=8), min_size=1, max_size=4),
)
def test_ngrams_agree_with_plain_python(lessons: list[list[str]], items: list[list[str]]) -> None:
    def grams(words: list[str]) -> set[tuple[str, ...]]:
        return {tuple(words[i : i + 3]) for i in range(len(words) - 2)}

    shared = set().union(*(grams(words) for words in items))
    expected = {i for i, words in enumerate(lessons) if grams(words) & shared}

    found = contaminated(
        [(f"lesson {i}", " ".join(words)) for i, words in enumerate(lessons)],
        [("s", str(i), f"item {i}", " ".join(words)) for i, words in enumerate(items)],
        3,
    )

    assert set(found) == expected


#: Tokens that normalising changes, joins, cuts or leaves out.
_AWKWARD = (
    "don't 3.14 1,000 x a well-known != C# f(x) (word) \"quoted\" 'q' **bold** snake_case naïve Ｆｕｌｌ 東京 ５ -- "
    "... #tag 12:30 e.g. U.S. 5! x_1 -> don’t l’eau 9 Zürich [a] {b} a/b -x ≠ * -"
)


@pytest.mark.parametrize("ngram", [2, 5, 8, 13])
def test_what_is_soon_seen_to_share_nothing_shares_nothing(ngram: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The look at letters and digits alone leaves out no overlap that the whole look finds."""
    rng, tokens = random.Random(ngram), _AWKWARD.split()

    def text(most: int) -> str:
        return " ".join(rng.choice(tokens) + rng.choice(["", ".", ",", "?", "!"]) for _ in range(rng.randint(2, most)))

    def lesson(items: list[tuple[str, str, str, str]]) -> tuple[str, str]:
        words, first = rng.choice(items)[3].split(), rng.randrange(4)
        whole = f"{text(20)} {' '.join(words[first : first + rng.randint(1, 16)])}".swapcase()
        if rng.random() < 0.5:
            whole = whole.encode("ascii", "ignore").decode()
        return (rng.choice(items)[2].upper() if rng.random() < 0.2 else whole), whole

    items = [("s", str(i), asked, asked) for i in range(30) for asked in [text(40)]]
    lessons = [lesson(items) for _ in range(400)]
    found = contaminated(lessons, items, ngram)
    monkeypatch.setattr("flywheel.store.similarity._Grams._may_share", lambda self, text: True)
    monkeypatch.setattr("flywheel.store.similarity._pieces", lambda text: [])

    assert found == contaminated(lessons, items, ngram)
    assert {one.how for one in found.values()} >= {"normalised", f"{ngram}-gram"}
    assert len(found) < len(lessons)
