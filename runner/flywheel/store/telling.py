"""What two texts that are nearly alike must share to be one: numbers, signs, negations, words that turn a question.

Two rows of one template are near-duplicates by any measure of likeness; `48` against `84` in them is another question.
`Telling` names the tokens that have to be equal, in order; `worded_alike` looks at what else differs. The word lists
hold the closed classes (number words, negations, quantifiers, comparisons; articles and politeness, which say nothing)
of English, German, French, Spanish, Russian, Arabic, Hindi, Chinese and Japanese. Numbers, signs, single letters,
capitals and answers are looked at in every language.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

_NUMBERS = """
zero null zéro cero ноль صفر शून्य 零 〇 0
one eins un une uno una один одна одно واحد واحدة एक 一 1
two zwei deux dos два две اثنان اثنين दो 二 两 兩 2
three drei trois tres три ثلاثة ثلاث तीन 三 3
four vier quatre cuatro четыре أربعة أربع चार 四 4
five fünf cinq cinco пять خمسة خمس पाँच पांच 五 5
six sechs seis шесть ستة ست छह छः 六 6
seven sieben sept siete семь سبعة سبع सात 七 7
eight acht huit ocho восемь ثمانية ثمان आठ 八 8
nine neun neuf nueve девять تسعة تسع नौ 九 9
ten zehn dix diez десять عشرة عشر दस 十 10
eleven elf onze once одиннадцать ग्यारह 11
twelve zwölf douze doce двенадцать बारह 12
thirteen dreizehn treize trece тринадцать तेरह 13
fourteen vierzehn quatorze catorce четырнадцать चौदह 14
fifteen fünfzehn quinze quince пятнадцать पंद्रह 15
sixteen sechzehn seize dieciséis шестнадцать सोलह 16
seventeen siebzehn diecisiete семнадцать सत्रह 17
eighteen achtzehn dieciocho восемнадцать अठारह 18
nineteen neunzehn diecinueve девятнадцать उन्नीस 19
twenty zwanzig vingt veinte двадцать عشرون عشرين बीस 20
thirty dreißig trente treinta тридцать ثلاثون ثلاثين तीस 30
forty vierzig quarante cuarenta сорок أربعون أربعين चालीस 40
fifty fünfzig cinquante cincuenta пятьдесят خمسون خمسين पचास 50
sixty sechzig soixante sesenta шестьдесят ستون ستين साठ 60
seventy siebzig setenta семьдесят سبعون سبعين सत्तर 70
eighty achtzig ochenta восемьдесят ثمانون ثمانين अस्सी 80
ninety neunzig noventa девяносто تسعون تسعين नब्बे 90
hundred hundert cent cien ciento сто مئة مائة सौ 百 100
thousand tausend mille mil тысяча тысячи тысяч ألف हज़ार हजार 千 1000
million millionen millions millón millones миллион миллиона миллионов مليون million
lakh लाख lakh
万 萬 10000
亿 億 100000000
half halb hälfte halbe moitié demi mitad medio половина половину половины نصف आधा आधे आधी 半 half
twice doppelt deux-fois doble вдвое дважды ضعف दोगुना दुगुना 倍 twice
double verdoppelt doubled verdoppeln удвоить double
triple dreifach втрое तिगुना triple
third drittel dritte dritten dritter drittes tercio tercera треть третий третья третье ثلث तिहाई तीसरा तीसरी third
fourth vierte vierten quatrième cuarto четвёртый четвертый fourth
fifth fünfte fünften cinquième quinto пятый fifth
tenth zehnte zehnten dixième décimo десятый tenth
quarter viertel четверть ربع चौथाई quarter
dozen dutzend douzaine docena дюжина दर्जन dozen
couple paar pair пара couple
second zweite zweiten zweiter zweites deuxième segundo segunda второй вторая второе الثاني الثانية दूसरा दूसरी second
"""

_TURNS = """
not no none cannot kein keine keinen keiner keines nicht ne pas aucun aucune не нет not
لا ليس ليست لم لن غير नहीं मत न ना 不 没 沒 無 无 非 未 别 안 못 not
never nie niemals jamais nunca никогда أبدا कभी 从 never
without ohne sans sin без بدون دون बिना without
neither nor weder ni ни neither
or oder ou o или либо أو या 或 or
but except außer sauf excepto кроме إلا सिवाय 除 except
only nur seulement solo sólo только فقط केवल सिर्फ 只 仅 のみ only
if wenn falls si если إذا لو यदि अगर 如 若 if
unless
all every each alle jeder jede jedes tous toutes chaque todos todas cada all
все каждый каждая كل جميع सभी सब हर 全 各 每 all
any some einige quelques algunos algunas некоторые بعض कुछ some
more mehr plus más больше более أكثر ज़्यादा ज्यादा अधिक 多 more
less fewer weniger moins menos меньше менее أقل कम 少 less
most meisten most
least fewest wenigsten mindestens least
at_least least
largest biggest greatest größte größten größter самый наибольший наибольшее أكبر सबसे 最 大 largest
smallest lowest kleinste kleinsten наименьший наименьшее أصغر छोटा छोटी 小 smallest
highest tallest longest höchste längste самая самое أعلى أطول highest
shortest kürzeste أقصر shortest
large big huge groß grand grande большой большая كبير बड़ा बड़ी large
small little tiny klein petit petite pequeño маленький صغير small
maximum max максимум maximum
minimum min минимум minimum
before vor bevor avant antes до перед прежде قبل पहले 前 before
after nach nachdem après después после بعد बाद 後 后 after
above over über oberhalb sur encima над выше فوق ऊपर 上 above
below under unter sous debajo под ниже تحت नीचे 下 below
first erste ersten premier première primero primera первый первая первое الأول الأولى पहला पहली first
last letzte letzten dernier dernière último última последний последняя последнее الأخير الأخيرة आखिरी अंतिम last
left links gauche izquierda слева левый يسار बाएँ बाएं 左 left
right rechts droite derecha справа правый يمين दाएँ दाएं 右 right
inside innen dedans dentro внутри داخل अंदर 内 內 inside
outside außen dehors fuera снаружи خارج बाहर 外 outside
true wahr vrai verdadero верно истина صحيح सही 真 true
false falsch faux falso неверно ложь خطأ गलत 假 false
increase increased increases increasing erhöht увеличить увеличилось زاد increase
decrease decreased decreases decreasing verringert уменьшить уменьшилось نقص decrease
add added addieren сложить add
subtract subtracted subtrahieren вычесть subtract
multiply multiplied multiplizieren умножить multiply
divide divided dividieren разделить divide
sum summe somme suma сумма сумму مجموع योग 和 sum
difference differenz différence diferencia разность разницу فرق अंतर 差 difference
larger bigger greater größer größere größeren mayor larger
smaller kleiner kleinere kleineren menor smaller
higher taller longer höher länger higher
lower shorter niedriger kürzer lower
start starts starting begin begins beginning beginnt anfängt commence empieza начинается start
end ends ending finish finishes endet finit termina заканчивается end
ascending aufsteigend возрастанию ascending
descending absteigend убыванию descending
who wer qui quién кто कौन 谁 誰 who
when wann quand cuándo когда متى कब when
where wo où dónde где أين कहाँ कहां where
why warum pourquoi warum почему لماذا क्यों why
with mit avec con с مع with
from von aus से from
"""

#: Names that some languages write in lower case, and symbols of units: each is itself.
_NAMES = """
lundi mardi mercredi jeudi vendredi samedi dimanche lunes martes miércoles jueves viernes sábado domingo
понедельник вторник среда среду четверг пятница пятницу суббота субботу воскресенье
janvier février mars avril juin juillet août septembre octobre novembre décembre
enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre
январь января февраль февраля март марта апрель апреля май мая июнь июня июль июля август августа
сентябрь сентября октябрь октября ноябрь ноября декабрь декабря
kg mg lb lbs oz km cm mm nm ft yd ml cl dl hl kb mb gb tb hz khz mhz ghz kw mw kwh mph kph kmh rpm sec ms ns
км см мм кг мг мл мин сек
"""

_LIGHT = """
a an the this that these those of in on at to is are was were be so then and also just well now please
kindly very really find compute calculate determine give tell show list provide answer
question solve hi hello hey dear thanks me us can could would you
exactly here there following given which what that's it its his her their our your
der die das den dem des ein eine einen einem einer und bitte also dann nun doch mal auch ist sind war waren welche was
le la les l' de du des d' et alors donc s'il vous plaît svp est sont quel quelle
el los las y entonces pues por favor es son qué cuál del al
и а же ли в на то пожалуйста тогда потом затем это этот эта ведь уж вот также ещё еще у к
و ثم من فضلك رجاء رجاءً الذي التي هذا هذه ذلك قد في هل ما
है हैं था थे थी और तो फिर भी कृपया जी का के की को में ने पर यह वह क्या ज़रा जरा ही कि
的 了 吧 呢 啊 请 請 吗 嗎 呀 嘛 就 也 那 您 你 问 問 们
は が を に へ と ね よ か の も で 、 さ
"""


def _grouped(lines: str) -> dict[str, str]:
    """Each word of a line → the line's last word."""
    return {word: line.split()[-1] for line in lines.strip().splitlines() for word in line.split()}


_CANONICAL = {**_grouped(_TURNS), **_grouped(_NUMBERS), **{word: word for word in _NAMES.split()}}
LIGHT = frozenset(_LIGHT.split()) - _CANONICAL.keys()
#: Short answers, and such as are a tenth signs, say what they say in every word.
SHORT, FORMAL = 30, 0.1


class Telling(dict[str, str]):
    """Token of a normalised text → what of it has to be equal ("48", "not", "="), "" where nothing has."""

    def __missing__(self, token: str) -> str:
        self[token] = found = _telling(token)
        return found


def _telling(token: str) -> str:
    lower = token.lower()
    if lower in _CANONICAL or lower.endswith("n't"):
        return _CANONICAL.get(lower, "not")
    if any(map(str.isdigit, token)):
        return _number(token)
    if token == lower and (token in LIGHT or len(token) > 1 or not _has_case(token)):
        return "" if any(map(str.isalnum, token)) else token
    return token  # a variable, a unit, an acronym


def _number(token: str) -> str:
    """In ASCII digits and without commas between thousands: here two ways to write a number are one."""
    plain = "".join(str(unicodedata.decimal(character, character)) for character in token)
    return plain.replace(",", "") if re.fullmatch(r"\d{1,3}(,\d{3})+(\.\d+)?", plain) else plain


def _has_case(word: str) -> bool:
    return word.lower() != word.upper()


def must_agree(question: Sequence[str], answer: Sequence[str], telling: Telling) -> tuple[tuple[str, ...], ...]:
    """What two near-duplicates have in common, of their tokens: the telling ones in order, and the answer."""
    strict = len(answer) <= SHORT or sum(not any(map(str.isalnum, t)) for t in answer) >= FORMAL * len(answer)
    said = tuple(telling[token] or token for token in answer) if strict else ()
    return tuple(filter(None, map(telling.__getitem__, question))), said


# --- what else may differ ---------------------------------------------------------------------------------------------

#: Spellings of one word: vowel signs and hamza of Arabic, nukta and candrabindu of Devanagari, ё.
_SPELLINGS: dict[int, str | None] = {
    **dict.fromkeys([*range(0x64B, 0x653), 0x670, 0x93C]),
    **{ord(written): read for written, read in zip("أإآىةँё", "ااايهंе", strict=True)},
}
_OPERATORS = frozenset("+*/%=<>^")
_NEGATING_PREFIXES = ("un", "in", "im", "il", "ir", "non", "dis", "mis", "не", "без", "анти", "ir", "des", "dés", "dé")
#: Japanese verbs are negated inside the word, and Thai has no blanks around its "not".
_INNER_NEGATION = re.compile("な[いかくけ]|ません|ず|ぬ|ไม่|มิ|อย่า|ห้าม")


def worded_alike(one: Sequence[str], other: Sequence[str], telling: Telling) -> bool:
    """Whether words with equal `must_agree` differ in wording alone: no name, no unit, no negation, nothing swapped.

    `one`, `other`: the words of two texts in their own letter case (`flywheel.normal.words`). A word that stands for
    another one says something where it may be a name (capitals, an identifier, every word of a script without case) or
    follows a number.
    """
    from rapidfuzz.distance import Levenshtein

    keys = [[telling[word.lower()] or _spelling(word) for word in words] for words in (one, other)]
    gone: set[str] = set()
    come: set[str] = set()
    for op in Levenshtein.opcodes(*keys):
        i, j, k, n = op.src_start, op.src_end, op.dest_start, op.dest_end
        if op.tag == "replace":
            if any(_differ(one, i + step, other, k + step) for step in range(j - i)):
                return False
        elif op.tag != "equal" and _tells_apart(one, (i, j), other, (k, n)):
            return False
        if op.tag != "equal":
            gone.update(key for key in keys[0][i:j] if key not in LIGHT)
            come.update(key for key in keys[1][k:n] if key not in LIGHT)
    return gone.isdisjoint(come)


def _tells_apart(one: Sequence[str], mine: tuple[int, int], other: Sequence[str], theirs: tuple[int, int]) -> bool:
    """Of words that only one has: those between the two places."""
    (i, j), (k, n) = mine, theirs
    if _says_something(one[:j], i) or _says_something(other[:n], k):
        return True
    # With the character after them: of 悪くない and 悪い what differs is くな.
    return _negates(one[: j + 1], i) != _negates(other[: n + 1], k)


def _spelling(word: str) -> str:
    return word.lower() if word.isascii() else word.lower().translate(_SPELLINGS)


def _differ(one: Sequence[str], i: int, other: Sequence[str], k: int) -> bool:
    a, b = one[i], other[k]
    low = a.lower(), b.lower()
    if low[0] in LIGHT and low[1] in LIGHT:
        return False
    if _mistyped(*low):
        return _negated(*low)
    named = _may_be_a_name(a) or _may_be_a_name(b) or _is_operand(one, i) or _is_operand(other, k)
    return named or _counted(one, i) or _counted(other, k) or _negated(*low)


def _says_something(words: Sequence[str], start: int) -> bool:
    """A name, or what a number counts where words are not apart."""
    own = [word for word in words[start:] if word.lower() not in LIGHT]
    return any(word != word.lower() for word in own) or (
        bool(own) and own[0] == words[start] and len(own[0]) == 1 and _counted(words, start)
    )


def _may_be_a_name(word: str) -> bool:
    lower = word.lower()
    return lower not in LIGHT and (word != lower or not _has_case(word) or "_" in word or "." in word)


def _is_operand(words: Sequence[str], place: int) -> bool:
    """Part of a formula or a call: `total(`, `price *`, `= limit`."""
    before, after = words[place - 1] if place else "", words[place + 1] if place + 1 < len(words) else ""
    return before in _OPERATORS or after in _OPERATORS or after in ("(", "[")


def _counted(words: Sequence[str], place: int) -> bool:
    return place > 0 and any(map(str.isdigit, words[place - 1]))


def _mistyped(one: str, other: str) -> bool:
    """A letter left out, doubled or in its neighbour's place, inside a long word: not one put for another."""
    from rapidfuzz.distance import OSA

    if min(len(one), len(other)) < 6 or one[0] != other[0] or one[-2:] != other[-2:]:
        return False
    swapped = len(one) == len(other) and sorted(one) == sorted(other)
    return (swapped or len(one) != len(other)) and OSA.distance(one, other) == 1


def _negated(one: str, other: str) -> bool:
    short, long = sorted((one, other), key=len)
    if long.endswith(short) and long[: -len(short)] in _NEGATING_PREFIXES:
        return True
    return "less" in (one[-4:], other[-4:]) and short[:3] == long[:3] and one[-4:] != other[-4:]


def _negates(words: Sequence[str], start: int) -> bool:
    return start < len(words) and _INNER_NEGATION.search("".join(words[max(0, start - 1) :])) is not None
