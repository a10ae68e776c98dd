"""Words after a number: nouns, which may be left out, and all others, which change its meaning."""

from __future__ import annotations

import re

_NOUNS_WORDS = """
    acre action adult age album amount angle animal apartment apple aunt axis axe baby bacterium bag bale
    ball balloon banana band bar barrel base basket bead bean bear beaver bed bee bench bike bill bird
    biscuit block blouse boat bolt book boot bottle bowl box boy bracelet branch bread brick bridge brother
    brownie brush bucket building bulb bunch bundle bus bush bushel business button cabin cake call camel
    can candle candy cap car card cargo carrot cart case cat cattle cell cent center centre chair chapter
    cheese cherry chick chicken child children chip chocolate choice city class clip clock club coat coconut
    code coin color colour column combination comic company computer cone container cookie corner couch
    count country couple course court cow cracker crate crayon cube cup cupcake curve customer cycle
    cylinder dancer data date daughter day deck deer desk diagonal diamond digit dinner dish dog doll dollar
    donut door dose doughnut dress dresser drink driver drop duck ear edge egg element elephant employee
    engine entry envelope episode eraser error event exam example eye face factor factory family fan farm
    farmer fence field figure file film finger fish flag flavor flight floor flower foot feet forest fork
    form frog fruit function gallon game garden gift girl glass glove goal goat goose geese grade grain
    grandchild grape graph green group guest guitar gum hair hand handshake hat head heap heart helper hen
    hexagon hole home horse hose hotel house hour human ice inch integer invitation island item jacket jar
    job joke jug juice kangaroo key kid kind king kite kitten knife ladder lamp lane lap leaf leaves leg
    lemon length lesson letter level light line lion list liter loaf loaves log lollipop machine magazine
    man men map marble mark marker mat match meal meat member message meter mice mile milk minute mirror
    molecule money monkey monster month motorcycle mouse movie mug muffin multiple nail name necklace
    neighbor nest night node notebook number nut object office onion option orange orchid order oscar
    outcome owl ox oxen package packet page paint painting pair pan pancake paper parent park part
    participant particle partition party passenger patient pattern pea peach peanut pear pen penalty pencil
    penny pennies pentagon people percent perimeter period permutation person phone photo piano picture pie
    piece pig pile pill pillow pineapple pitcher pizza place plane planet plant plate play player pleat plum
    point pole polygon pond pony pool post postcard pot potato pottery pound present president prism prize
    problem product program puppy purse puzzle quart queen question rabbit race rack radius rain rectangle
    region result ribbon rice ride ring river road robot rock room rope rose round route row ruler runner
    sailor salad sale salesman sandwich scarf school seat second seashell section segment sequence
    series set shape sheep sheet shelf shelves shell ship shirt shoe shop shot shrimp side sign singer
    sister site size skirt slice snack sneaker sock soda sofa soldier solid solution son song space spider
    spoon sport spot square stack staff stair stamp star state station stem step stick sticker stitch stone
    store story strand strawberry street string student subject subset suit sum sweater sweet swimmer symbol
    table tablet tail tank tape task taxi teacher team teaspoon tablespoon tent term test text ticket tie
    tile time tire token tomato ton tooth teeth tour towel tower town toy track tractor train tray tree
    triangle tribe trick trip truck trumpet tube turkey turn turtle twin type uncle unit value van vase
    vegetable vertex vertices video view village violin visit visitor vote voter wage wagon wall water watch
    watermelon way week weight wheel whale wheat wife wives win window wolf wolves woman women word work
    worker worm yard year zebra zoo zero root prime divisor pet profit probability solution cases children
    birds points feet sides possibility arrangement committee sum total speed distance area volume price
    cost rate ratio ounce gram kilogram liter litre degree radian cup mph bit byte kilobyte megabyte
    gigabyte mb gb kb
"""
_NOUNS = frozenset(_NOUNS_WORDS.split())
"""Singular nouns, and plural ones that do not end in s."""

_VERBS_WORDS = """
    fails works exceeds equals divides excludes misses lacks remains needs gives makes does has goes becomes
    holds applies satisfies contradicts violates succeeds vanishes repeats recurs differs seems appears
    contains includes adds subtracts yields leaves counts is was his its this thus plus minus less times
    halves doubles triples overcounts undercounts overestimates underestimates always sometimes besides
    perhaps unless as us whereas ones tens dozens hundreds thousands millions billions trillions thirds
    fourths fifths sixths sevenths eighths ninths tenths elevenths twelfths hundredths thousandths
    millionths quarters fractions ish bases modulus radius reciprocals inverses opposites negatives logs
    exponents factorials powers eliminates rejects disqualifies cancels means
"""
_VERBS = frozenset(_VERBS_WORDS.split()) - {"leaves", "radius", "counts"}  # fmt: skip
"""Words in s that are no plain plurals."""

_CHANGING_WORDS = """
    zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
    seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand
    million billion trillion dozen gross third fourth fifth sixth seventh eighth ninth tenth hundredth
    thousandth half quarter double doubled twice thrice triple tripled quadruple halved squared cubed
    square-root more less fewer greater smaller larger bigger least most over under above below beyond
    between among not no non never neither nor none nothing or and but except excluding without minus plus
    negative divided multiplied increased decreased reduced added subtracted by than out if when where
    whenever for since because as unless until so although though is are was were be been being isn aren
    wasn wrong incorrect false true rejected extraneous invalid impossible discarded excluded omitted
    ignored inadmissible spurious unacceptable incorrect disallowed eliminated maybe perhaps possibly
    probably likely nearly almost even odd remainder mod modulo base factorial power exponent logarithm
    recurring repeating repeated reversed inverse inverted reciprocal opposite complement off short shy ish
    percent percentage bps another other only to from with into onto against versus vs every each any at on
    in of per a an the around about up down max min maximum minimum all some few several many much both
    either would could should might may can cannot it he she they we you i that which who what how whether
    there here then now times root below-zero past after before till th st nd rd equal equals equivalent
    approximately roughly choose factorials upward downward onward plus-minus et cetera etc e g
    score scores
"""
_CHANGING = frozenset(_CHANGING_WORDS.split())
"""Words that change a number or say something of it."""

_TAILS = re.compile(
    r"\s+(?:in total|in all|altogether|total|left over|left|remaining|each|each day|every day|overall"
    r"|(?:per|a|an|each|every)\s+(?:[a-z]+\s+)?(?P<per>[a-z]+)|(?:of|in)\s+(?:the\s+|an?\s+)?(?P<of>[a-z]+))$"
)
_LEADING = re.compile(r"^(?:any|more|other|different|distinct|total|whole|full|additional|possible|such)\s+")
_LETTERS = re.compile(r"[a-z]+")

_CLASSIFIERS = (
    "个只人本件条张组颗袋棵辆名岁支枚位次种页块片头匹朵层排行道题步圈把台双套份箱瓶杯盒间座根句首幅艘架株串"
    "筐桶盘碗捆包扇门节班户家场面粒滴段批队堆束筒架顶封盏回遍轮局盆车篮罐样项处所级级段点天年月周分秒倍"
)
_HAN = re.compile(rf"(?:[{_CLASSIFIERS}](?!分之)|小时|分钟)?([\u4e00-\u9fff]{{0,8}})")
_CHANGING_HAN = re.compile(
    "[的多余不没无非未半倍折几数第或和与及且至少加减乘除根方倒反绝补错误舍又下外零负约近分之成打双]|以[上内]|左右|出头|正确"
)
_HAN_WORDS = "人 折 学生 城市 同学 苹果 公民 种方法 种情况 倍 分 年级 次方程 单位 平方单位 立方单位"
_HAN_MORE = " 双 双鞋 双筷子 分球 种不同的方法 正确 选项"
_NOUNS_HAN = frozenset((_HAN_WORDS + _HAN_MORE).split())
_DATA = re.compile(r"[kKMGT]i?[bB]")
_NO_UNIT = re.compile(r"(?:(?:square|sq\.?|cubic) *)?units?(?:\^[23])?|(?:平方|立方)?单位")


def droppable(noun: str) -> bool:
    """Whether the words after a number may be left out: 12 apples are 12, but 3 tenths are not 3."""
    noun = " ".join(noun.split()).strip(" .,()").lower()
    if noun.startswith("mod ") or names_no_unit(noun) or noun in ("times", "time", "倍"):
        return True
    return _is_phrase(noun) if noun.isascii() else _is_han_phrase(noun)


def _is_phrase(noun: str) -> bool:
    """Whether it is adjectives, a noun and what a noun may be followed by."""
    noun = _LEADING.sub("", noun)
    for _ in range(2):
        if tail := _TAILS.search(noun):
            below = tail["per"] or tail["of"]
            if below and (len(below) < 3 or below in _CHANGING or below in _VERBS or below == "magnitude"):
                return False
            noun = noun[: tail.start()]
    words = noun.replace("-", " ").split()
    if not words or len(words) > 5 or not all(map(_LETTERS.fullmatch, words)):
        return False
    return not any(word in _CHANGING or len(word) == 1 for word in words) and _is_noun(words[-1])


def _is_noun(word: str) -> bool:
    if word in _CHANGING or word in _VERBS:
        return False
    if word in _NOUNS or word.removesuffix("s") in _NOUNS or word.removesuffix("es") in _NOUNS:
        return True
    return len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is", "wards", "wise"))


def _is_han_phrase(noun: str) -> bool:
    noun = noun.replace(" ", "")
    if noun in _NOUNS_HAN:
        return True
    match = _HAN.fullmatch(noun)
    if match is None:
        return False
    classified = len(match.group(1)) < len(noun)
    return classified and _CHANGING_HAN.search(match.group(1)) is None


def folded(noun: str) -> str:
    """A noun without case and plural ("apple" and "apples" are equal)."""
    return noun.strip(" .").lower().removesuffix("s")


def same_noun(left: str, right: str) -> bool:
    """Whether two nouns after a number are the same; Gb are bits and GB are bytes."""
    if _DATA.fullmatch(left.strip()) and _DATA.fullmatch(right.strip()):
        return left.strip()[-1] == right.strip()[-1] and folded(left) == folded(right)
    return folded(left) == folded(right)


def names_no_unit(noun: str) -> bool:
    """Whether a noun only means that there is no unit: 12 square units are 12."""
    return _NO_UNIT.fullmatch(noun.strip(" .").lower()) is not None
