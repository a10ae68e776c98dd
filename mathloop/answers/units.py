"""Units of answers, in English and Chinese, and their conversion."""

from __future__ import annotations

import re
from fractions import Fraction

_TABLE = """
length: mm 1/1000 millimeter millimeters millimetre millimetres 毫米 | cm 1/100 centimeter
  centimeters centimetre centimetres 厘米 | dm 1/10 decimeter decimeters 分米 | m 1 meter meters
  metre metres 米 | km 1000 kilometer kilometers kilometre kilometres 千米 公里 | in 127/5000 inch
  inches 英寸 | ft 381/1250 foot feet 英尺 | yd 1143/1250 yard yards 码 | mi 201168/125 mile miles
  英里
mass: mg 1/1000 milligram milligrams 毫克 | g 1 gram grams 克 | kg 1000 kilogram kilograms kilo kilos 千克
  公斤 | 斤 500 市斤 | 两 50 | t 1000000 ton tons tonne tonnes 吨 | lb 45359237/100000 lbs pound
  pounds 磅 | oz
  45359237/1600000 ounce ounces 盎司
time: ms 1/1000 millisecond milliseconds 毫秒 | s 1 sec secs second seconds 秒 秒钟 | min 60 mins
  minute minutes 分钟 分 | h 3600 hr hrs hour hours 小时 时 | day 86400 days 天 日 | week 604800
  weeks 周 星期
month: month 1 months 个月 | year 12 years yr yrs 年
length^3: ml 1/1000000 cc milliliter milliliters millilitre millilitres 毫升 | cl 1/100000 | dl 1/10000
  | l 1/1000 liter liters litre litres 升 公升
length^2: hectare 10000 hectares 公顷 | 亩 2000/3
gallon: gallon 1 gallons gal 加仑
dollar: cent 1/100 cents ¢ | dollar 1 dollars usd ＄ 美元 | dime 1/10 dimes | nickel 1/20 nickels
yuan: fen 1/100 | jiao 1/10 角 | yuan 1 元 块 块钱 rmb ¥ 元钱 人民币
euro: euro 1 euros €  欧元
sterling: pence 1/100 | £ 1 gbp quid 英镑
rupee: paise 1/100 paisa | ₹ 1 rs inr rupee rupees 卢比
won: ₩ 1 krw won 韩元
rouble: ₽ 1 rub ruble rubles rouble roubles 卢布
yen: jpy 1 yen 日元
angle: deg 1 degree degrees 度
radian: radian 1 radians rad 弧度
fahrenheit: °f 1 fahrenheit degreesfahrenheit 华氏度
temperature: °c 1 celsius degreescelsius 摄氏度
newton: N 1 newton newtons 牛顿 | kilonewton 1000 kilonewtons
joule: J 1 joule joules 焦耳 | kj 1000 kilojoule kilojoules 千焦 | erg 1/10000000 ergs
  | kwh 3600000 | calorie 4184/1000 calories cal | kcal 4184
electronvolt: ev 1 electronvolt electronvolts | kev 1000 | mev 1000000 | gev 1000000000
watt: W 1 watt watts 瓦 瓦特 | kw 1000 kilowatt kilowatts 千瓦
coulomb: C 1 coulomb coulombs 库仑
volt: V 1 volt volts 伏特 | kv 1000 kilovolt kilovolts
ampere: A 1 ampere amperes amp amps 安培 | ma 1/1000 milliampere milliamperes
ohm: ohm 1 ohms 欧姆 | kilohm 1000 kilohms kiloohms
hertz: hz 1 hertz 赫兹 | khz 1000 kilohertz | mhz 1000000 megahertz | ghz 1000000000
pascal: pa 1 pascal pascals 帕斯卡 | kpa 1000 kilopascal kilopascals | atm 101325 atmospheres
kelvin: K 1 kelvin kelvins 开尔文
mole: mol 1 mole moles 摩尔
percent: ‰ 1/10 permille | % 1 percent pct percentage
"""
_SQUARE = re.compile(r"^(?:square|sq\.?|平方)\s*(.+)$")
_CUBE = re.compile(r"^(?:cubic|立方)\s*(.+)$")
_POWER = re.compile(r"^(.+?)\s*\^?\s*\{?\s*([23])\s*\}?$")
_DEGREES = re.compile(r"^degrees?\s+(?=celsius|fahrenheit)")
_PER = re.compile(r"\s*(?:/|\bper\b|每)\s*")
_HOUR_ABBREVIATIONS = {"mph": "mile/hour", "kph": "km/h", "kmh": "km/h"}


def _read_table() -> dict[str, tuple[str, Fraction]]:
    units: dict[str, tuple[str, Fraction]] = {}
    for line in _TABLE.strip().replace("\n  ", " ").splitlines():
        dimension, _, entries = line.partition(": ")
        for entry in entries.split("|"):
            name, factor, *synonyms = entry.split()
            for word in (name, *synonyms):
                units[word] = (dimension, Fraction(factor))
    return units


UNITS = _read_table()
_PRODUCTS = frozenset(
    [
        "kj",
        "ev",
        "kev",
        "mev",
        "gev",
        "kw",
        "kv",
        "ma",
        "pa",
        "hz",
        "khz",
        "mhz",
        "ghz",
        "kpa",
        "cal",
        "atm",
        "mol",
    ]
)
"""Units that without `\\text{}` may be products of letters: 2ma."""
SINGLE = frozenset("NJWCVAK")
"""Letters that are units only within `\\text{}`."""
WORDS = (
    frozenset(word for word in UNITS if len(word) > 1 and word not in _PRODUCTS)
    | _HOUR_ABBREVIATIONS.keys()
    | {"sq", "square", "cubic"}
)
"""Words that are units even without `\\text{}`; a single letter may be a variable."""


def scale(unit: str) -> tuple[str, Fraction] | None:
    """The unit's dimension and its size in the dimension's base unit, or None for a noun ("apples")."""
    unit = unit.strip().strip(".")
    if len(unit) == 2 and unit[0] == "M" and unit not in UNITS:
        return None  # megagrams are not milligrams
    unit = unit.lower() if len(unit) > 1 or unit == "L" else unit
    unit = _DEGREES.sub("degrees", unit)
    unit = _HOUR_ABBREVIATIONS.get(unit, unit)
    if unit in UNITS:
        return UNITS[unit]
    parts = _PER.split(unit)
    if len(parts) == 2 and all(parts):
        top, bottom = scale(parts[0]), scale(parts[1])
        if top and bottom:
            return f"{top[0]}/{bottom[0]}", top[1] / bottom[1]
        return None
    for pattern, exponent in ((_SQUARE, 2), (_CUBE, 3)):
        if (match := pattern.match(unit)) and (inner := scale(match.group(1))):
            return f"{inner[0]}^{exponent}", inner[1] ** exponent
    if (match := _POWER.match(unit)) and (inner := UNITS.get(match.group(1).strip())):
        exponent = int(match.group(2))
        return f"{inner[0]}^{exponent}", inner[1] ** exponent
    return None


_UNIT_LETTER = re.compile(
    r"(?<=[\d})i])((?:\s|\\[,;:! ]|~)*)\\(?:text|mathrm|mbox|textrm|rm)\s*\{\s*([mgshLlt])\s*\}"
)
_SPELLED = {
    "m": "meters",
    "g": "grams",
    "s": "seconds",
    "h": "hours",
    "L": "liters",
    "l": "liters",
    "t": "tons",
}


_CAPITAL = re.compile(
    r"(?<=[\d})])(?<!\\circ\})((?:\s|\\[,;:! ]|~)*)"
    r"(?:\\(?:text|mathrm|mbox|textrm|rm)\s*\{\s*([NJWCVAK])\s*\}|(?:\\(?:text|mathrm)\s*\{\s*([kM])\s*\}\s*)?\\Omega)"
    r"(?=[\s.$)]*$)"
)
"""Units in capitals at the end of an answer."""
_CAPITALS = {
    "N": "newtons", "J": "joules", "W": "watts", "C": "coulombs", "V": "volts", "A": "amperes",
    "K": "kelvins",
}  # fmt: skip


_HOLDING = ("text", "mathrm", "mbox", "\\rm", "Omega")


def spelled_out(text: str) -> str:
    r"""The text with one-letter units in LaTeX text spelled out: 5\text{ m}, but 5m may be 5·m."""
    if not any(name in text for name in _HOLDING):
        return text
    text = _UNIT_LETTER.sub(lambda match: rf"{match[1]}\text{{ {_SPELLED[match[2]]} }}", text)
    return _CAPITAL.sub(_spelled_capital, text)


def _spelled_capital(match: re.Match[str]) -> str:
    unit = _CAPITALS[match[2]] if match[2] else {"k": "kilohms", "M": "megohms", None: "ohms"}[match[3]]
    return rf"{match[1]}\text{{ {unit} }}"
