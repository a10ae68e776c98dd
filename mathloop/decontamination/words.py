"""The vocabulary of math problems: stop words, synonyms, number words and word frequencies.

Stems are those of `tokenization.stem`. These lists are the only knowledge of language. They are fixed, so
that a decision on two texts does not depend on the other items of an index.
"""

from __future__ import annotations

from functools import lru_cache

from mathloop.decontamination.tokenization import stem

_STOP = """
    a an the of to in on at is are was were be been being it its this that these those and or for with by from
    as if then than so such there their they them he she his her him i me my we you your our us which what who
    whom whose how when where why do does did has have had having can could will would shall should may might
    must not no each every all any some into out over under up down let given suppose find determine compute
    calculate evaluate express answer value values number numbers form simplify write much many more less also
    only just about after before between through per get got make made take taken give gives show shown denote
    denoted assume consider respectively using use used obtain obtained exactly problem question certain
    particular precisely whenever whatever someone somebody thus hence itself themselves among along again
    apiece called call named namely whereas while but however yet either neither since because though although
    instead already still happen happens exist exists following follows follow example instance written state
    stated describe described
"""
_NAMES = """
    john james tom mary bob jack mrs mr tim mike jerry peter sam jason sarah janet tony matt jim michael steve
    jenny joe jane billy ben martha sally carla harry paul jake anna frank hannah josh susan lisa emily adam
    jill alex maria carl jackson karen jacob betty alice andy nancy jimmy rachel jeff kim ryan tina george
    annie randy amanda julia andrew henry ali jessica rick kevin tommy brian greg marcus jenna thomas kyle
    david jeremy chris beth johnny emma fred smith julie ken sara roger toby megan amy danny janice justin
    linda martin kelly dave lucy jordan aaron nadia priya lena omar mei luc ana maya hugo renee dario greta
    pavel mara yara elena sofia amir ravi liam noah olivia ava mia ethan mateo carlos diego zoe felix ines
    clara marta lukas jonas theo leo ella ivy nora
"""
STOP = frozenset((_STOP + _NAMES).split())
"""Words of every problem, question words, and names, which rephrasing rarely keeps."""

_SYNONYMS = """
    sum total altogether add added adding addition plus combined together, product multiply multiplied
    multiplying multiplication times, difference subtract subtracted subtracting subtraction minus, quotient
    divide divided dividing division share split distribute factor divisor divisible, ratio proportion,
    remainder modulo leftover rest residue remaining left remain leave leaves, probability chance likelihood
    likely odds, maximum largest greatest biggest maximal maximize highest most max exceed exceeds, minimum
    smallest least minimal minimize lowest fewest, whole integer, root zero solution solve satisfy satisfies
    satisfying fulfil fulfill hold valid, equal equivalent same identical equals equally evenly, different
    distinct, triangle triangular, circle circular disk disc circumference circumscribed circumcircle, square
    squared squaring, cube cubic, consecutive successive, sequence progression series, side edge leg, vertex
    vertices corner turning, perimeter boundary outline border, midpoint halfway middle center centre, long
    length, wide width, tall height high altitude, distance far apart, cost price pay paid spend spent worth
    charge fee, buy bought purchase purchased, sell sold, average mean, percent percentage, digit numeral,
    half halves halved, double twice doubled, triple thrice tripled, random randomly blindly, perpendicular
    orthogonal right, degree degrees, speed rate velocity fast pace, undefined domain, intersect cross meet
    crosses intersection, tangent touch touches, inside within enclosed, inscribed incircle, people person
    member guest individual participant friend buddy, student pupil, child children kid son daughter, volume
    capacity, way ways arrangement arrangements manner seating arrange ordered order lined, choose select pick
    chosen picked selected draw drawn, female woman women girl, male man men boy, number count, coin coins,
    card cards, dice die, game match play played contest, team group club, road path route, dollar money buck,
    foot feet ft, inch inches, meter meters metre, kilometer kilometers km, mile miles, hour hours hr, minute
    minutes min, second seconds, week weekly weeks, day daily days, month monthly months, year yearly years
    annual, gram grams, kilogram kilograms kg, liter liters litre, begin start starts initially initial
    originally first, end finish finally last, increase grow grew gain rise, decrease shrink reduce drop lose
    lost fall fell, own have possess, give gave gift donate, eat ate consume, move travel go went walk drive
    drove run ran crawl, work job labor task, earn wage salary, save savings, polynomial expression, term
    terms, inverse reciprocal, function map, line straight, diagonal opposite, radius radii, box container jar
    bag basket urn crate pouch sack, car vehicle automobile truck van, book novel, tree trees, throw toss flip
    rolled roll, fair unbiased, remove removed discard, color paint painted colour coloured, photo photograph
    picture selfie snapshot image, neighbor neighbour adjacent beside, seat sit sits chair, roommate flatmate,
    shelf bookcase, choir chorus ensemble, concert performance performed, bus coach, sing sang singer song,
    wallet purse, bill banknote, gender sex, drama theater theatre, teacher instructor tutor, test exam quiz,
    movie film cinema, plane airplane aircraft, ship boat vessel, bike bicycle, race runner racing, train
    railway, store shop market supermarket, customer client buyer, house home, tank reservoir cistern, pipe
    faucet, garden yard plot, farm farmer, cow cattle, chicken hen hens, candy sweets, cake pie, mother mom
    mum, father dad, brother sister sibling, dog puppy, cat kitten, worker employee staff, company firm,
    doctor physician, shirt clothing, slice portion, lunch dinner breakfast meal, glass mug, rope string cord,
    stick rod, wood wooden timber, discount rebate, loan borrow debt, tax taxes, city village town, rabbit
    bunny, positive natural, constant fixed, absolute magnitude, surjective onto, power powers
    exponent, focus foci, axis axes, rhombus diamond, rectangle rectangular oblong, cone conical, area areas
    region, slope gradient, grid lattice board chessboard, reflect reflection mirror mirrored, translate
    translated shift, nearest closest, committee panel, relatively coprime, permutation rearrange
    rearrangement reorder, phone telephone smartphone, gas gasoline fuel petrol, trash garbage rubbish, stone
    rock pebble, drink soda beverage, old older age elder aged, weigh weight mass heavy, deep depth, hire rent
    lease, cut saw chop, stack pile heap, pair couple duo, need require necessary, build built erect, collect
    gather, bring deliver carry, win won victory, cookie biscuit, donut doughnut, cent penny pennies, amount
    quantity, repeat repeating recurring, code password, tournament championship, elect election ballot vote,
    hat cap, trip journey tour voyage vacation, night evening, approximate estimate roughly, wife husband
    spouse, complete full entire, figure shape diagram, marble bead, graph curve, parabola quadratic, ellipse
    oval, sphere ball balls, sin sine, cos cosine, spinner wheel, lamp bulb, grade score mark, permit allow,
    log logarithm logarithms logs, centimeter centimetre cm
"""
SYNONYMS = {stem(word): stem(group.split()[0]) for group in _SYNONYMS.split(",") for word in group.split()}
"""Stem → the stem that represents its group."""

_COMMON = """
    sum cost remai begin time equal day buy maxim move dolla doubl box whole end minim hour half long root
    need posit year diffe week facto secon insid peopl state avera minut sell speed want point arran frien
    now other choos amoun new but third decid schoo while decre team eat month incre proba game stude work
    colle set class dista store earn seque take possi water durin book produ give squar both tall true real
    equat polyn foot mile compa old anoth child car funct pair pound recei side house road area rando make
    numbe corre weigh ball piece perce resul compl ratio put found red line const best elect male femal off
    inch next examp stand digit curre apple get chang plane midpo fewer parti perpe conse broth lunch clas
    trip bring quoti monda color dog away sale mothe use took famil shirt cut cake drink cooki save alrea
    blue throw boxe garde tuesd quart plant still bill teach page tree back bottl disco fourt own makin
    morni selli pack farm candy green read build night birth wedne see food field appro able goe test
"""
COMMON = frozenset(_COMMON.split())
"""Stems in more than one problem in a hundred."""

_FAMILIAR = """
    becau measu defin norma speci syste home trian volum inclu previ cup descr relat eleme place repre
    proce table consi circl room commo verte requi every mass age sampl type angle below light size orang
    unit distr party inver trans certa degre round popul short shop anima park energ base direc being allow
    enoug today regul score siste flowe varia radiu calle reach share assum what cell row card prope ticke
    fract profi exist tempe havin kilog neare surfa call exper force bird prime data come readi part turn
    after simpl wide gallo condi aroun going earth break longe tripl circu fill egg recta neede later react
    among perim dozen excep custo full graph block conti objec close weeke learn expec once model older
    came compu math cube meter estim expla cover white singl raise like gener mom organ writt movie fruit
    plan howev extra know space yello worki marke chick split peach case conve packa leave bus paral creat
    frequ canno entir gas level conce harve baker groce rose enter stop occur one ounce shoe cent stick
    choco paren even conte conne paper favor local quadr item perfo fish inter again mark ride opera paint
    buyin cat watch sugar contr magne servi neigh since check dinne broug machi prese remov compo young
    visit term diago playi quest pizza event separ phone stati black earne acros list runni expen prepa
    deliv obser regio passe asked linea train offer retur effec top lie figur above keep rache tange witho
    based fifth until slice atten penci farme worke arith city power fille suppl acid resta struc molec
    geome eithe big guest open bake tryin alway ring flour ballo thurs frida satur sunda fathe seat win sin
    photo th plann bike liter grade ii tank saved bar cos goal catch log race adult can hire grand ago
    offic floor toy takin seaso reali bread wante rope iii grid clean herse livin milk inste brown chees
    shopp ice due pen good hat banan arriv cream libra agree kilom scien manag eatin free accou chip cm
    busin serve hand very pet wife yeste chris candi leg sandw summe pract baseb potat video gram tomat
    love proje butte coin cow stone faste bakin drivi stack bank carri study coffe wall find recor repla
    well sent straw live veget sever notic walke
"""
FAMILIAR = frozenset(_FAMILIAR.split())
"""Stems in more than one problem in three hundred."""

_STOP_CHARACTERS = """
    的了是在有和与个一二三四五六七八九十百千万零两半这那么多少求为若则且已知设下列如果中上后前些其他它她你我们把被用到得
    出来去从给对于等于都也就还再每各共请问答几什么怎样可能要会说分别以及或者之所因此时候成作做让使过着吗呢吧将当
"""
STOP_CHARACTERS = frozenset("".join(_STOP_CHARACTERS.split()))
"""Characters of every Chinese problem."""

_COMMON_CHINESE = """
    多少  已知  一个  有多  一共  函数  共有  可以  是多  平均  少元  其中
    了多  面积  率为  值为  少千  直线  需要  少个  如果  的最  满足  分别
    同学  曲线  千克  均每  焦点  少米  集合  还剩  学校  那么  长方  数是
    米的  两个  最大  每天  方程  计算  千米  少人  的一  至少  方形  的面
    现在  要多  这个  数列  甲乙  一条  平方  小时  的概  概率  第一  最小
    大值  两点  积为  下列  第二  厘米  形的  积是  妈妈  的是  数的  范围
    取值  双曲  买了  年级  分钟  正方  展开  围是  数为  平面  坐标  抛物
    物线  交于  每个  这样  方体  的直  的取  值范  小明  老师  同的  式中
    离心  心率  小值  开式  几分  每小  的正  程为  顶点  的离  一次  少本
    剩下  个小
"""
COMMON_CHINESE = frozenset(_COMMON_CHINESE.split())
"""Pairs of characters in more than one Chinese problem in fifty."""

_UNITS = """
    zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
    seventeen eighteen nineteen
"""
UNITS = {word: value for value, word in enumerate(_UNITS.split())}
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
TENS = {word: 10 * value for value, word in enumerate(_TENS.split(), 2)}
SPELLED = {
    "half": 2,
    "twice": 2,
    "double": 2,
    "doubled": 2,
    "both": 2,
    "second": 2,
    "quadratic": 2,
    "binary": 2,
    "triple": 3,
    "thrice": 3,
    "third": 3,
    "thirds": 3,
    "cubic": 3,
    "quarter": 4,
    "quarters": 4,
    "fourth": 4,
    "first": 1,
    "once": 1,
    "single": 1,
    "unit": 1,
    "fifth": 5,
    "fifths": 5,
    "pentagon": 5,
    "sixth": 6,
    "hexagon": 6,
    "seventh": 7,
    "heptagon": 7,
    "eighth": 8,
    "octagon": 8,
    "octal": 8,
    "ninth": 9,
    "nonagon": 9,
    "tenth": 10,
    "decagon": 10,
    "dozen": 12,
    "dodecagon": 12,
    "hundred": 100,
    "thousand": 1000,
    "million": 10**6,
    "billion": 10**9,
}
"""Words, other than plain number words, that rephrasing may write as a number."""

CHINESE_DIGITS = {digit: value for value, digit in enumerate("零一二三四五六七八九")} | {"两": 2, "〇": 0}
CHINESE_POWERS = {"十": 10, "百": 100, "千": 1000, "万": 10000}


def chinese_number(numeral: str) -> int:
    """The value of a numeral such as 二十五 or 三千万."""
    total = digit = 0
    for character in numeral:
        if character in CHINESE_DIGITS:
            digit = CHINESE_DIGITS[character]
        elif character == "万":
            total, digit = (total + digit or 1) * 10000, 0
        else:
            total, digit = total + (digit or 1) * CHINESE_POWERS[character], 0
    return total + digit


_LONGEST_NUMERAL = 16


def numeral_value(numeral: str) -> str | None:
    """The value of a Chinese numeral, in digits; None for powers alone (百) and for very long numerals."""
    has_digit = any(character in CHINESE_DIGITS or character == "十" for character in numeral)
    return str(chinese_number(numeral)) if has_digit and len(numeral) <= _LONGEST_NUMERAL else None


@lru_cache(1 << 16)
def number_weight(number: str) -> float:
    """How informative a number is: the rarer among problems, the higher."""
    if not number.isdecimal():
        return 0.75
    value = int(number) if len(number) < 10 else 10**9 + 7
    if value <= 2:
        return 0.15
    if value <= 10:
        return 0.3 if value <= 5 or value == 10 else 0.38
    if value <= 20 or value in (25, 30, 40, 50, 60, 100):
        return 0.5
    if value < 100 or value % 50 == 0:
        return 0.62
    return 0.85


_CHARACTER_WEIGHT = 0.3
"""Weight of a single Chinese character."""


@lru_cache(1 << 16)
def word_weight(word: str) -> float:
    """How informative a stem, or one or two Chinese characters, is: the rarer, the higher."""
    if word[0] > "\u3040":
        if len(word) == 1:
            return _CHARACTER_WEIGHT
        return 0.3 if word in COMMON_CHINESE else 0.6
    if word in COMMON:
        return 0.25
    return 0.42 if word in FAMILIAR else 0.75
