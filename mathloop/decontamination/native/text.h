/* The tokens of one text, with the hashes of tokenization.py. */
#include "index.h"

enum { DIGIT = 1, LETTER, IDEOGRAPH, GREEK_LETTER, SINGLE };
enum { PAD = 9, REACH = 64, STEM = 5 };
static const uint64_t BASE = 0x9E3779B97F4A7C15u, GRAM_BASE = 0xD1B54A32D192ED03u, FACTOR = 0xE7037ED1A0B428DBu;

typedef struct {
    uint32_t *codes;                 /* [longest + 2 PAD] normalized characters between line ends, if wide */
    uint8_t *narrow, *classes, *gone; /* their lower bytes and classes; whether each is left out */
    int wide;
    int64_t *marks, *places;         /* [longest] positions that are looked for */
    int64_t *starts, *ends;          /* [longest] of each token, in `codes` */
    uint8_t *kinds;
    uint64_t *hashes, *bones;        /* bones: a placeholder for each number */
    uint64_t *sums, *skeletons;      /* [longest + 1] prefix sums of the n-gram polynomial */
    uint64_t *powers, *inverses;     /* [longest + 1] of its base */
    int64_t count, longest_word;     /* tokens; letters of the longest word */
    int has_greek;
} Text;

static inline uint32_t code(const Text *text, int64_t at)
{
    return text->wide ? text->codes[at] : text->narrow[at];
}

static int is_thousand(const uint8_t *classes)
{
    return classes[0] == DIGIT && classes[1] == DIGIT && classes[2] == DIGIT && classes[3] != DIGIT;
}

static int64_t reach(const Text *text, int64_t place, int step)
{
    for (int left = REACH - (step > 0); left > 0; left--, place += step) {
        uint32_t own = code(text, place);
        if (text->classes[place] != DIGIT && own != ',' && own != '.' && own != '+' && own != '-' &&
            own != 0x2212 && own != ' ')
            break;
    }
    return place;
}

/* Whether brackets around a comma enclose numbers only. */
static int in_tuple(const Text *text, int64_t comma)
{
    int64_t start = reach(text, comma - 1, -1), end = reach(text, comma + 1, 1);
    uint32_t before = code(text, start), after = code(text, end), last = code(text, end + 1);
    int opened = before == '(' || before == '[' || (before == '{' && code(text, start - 1) == '\\');
    int closed = after == ')' || after == ']' || (after == '\\' && (last == '}' || last == 'r'));
    return opened && closed;
}

/* Marks apostrophes inside words and thousands separators in `gone`; returns how many characters. */
static int64_t mark_gone(Text *text, int64_t marks)
{
    const uint8_t *classes = text->classes;
    uint8_t *gone = text->gone;
    int64_t count = 0;
    for (int64_t mark = 0; mark < marks; mark++) {
        int64_t at = text->marks[mark], first = at, last = at - 1;
        if (code(text, at) == '\'') {
            if (classes[at - 1] == LETTER && classes[at + 1] == LETTER)
                last = at;
        } else if (code(text, at) == ',' && classes[at - 1] == DIGIT) {
            if (is_thousand(classes + at + 1) && !in_tuple(text, at))
                last = at;
            else if (code(text, at + 1) == '\\' && code(text, at + 2) == '!' && is_thousand(classes + at + 3))
                last = at + 2;
        } else if (code(text, at) == ',' && code(text, at - 1) == '{' && code(text, at + 1) == '}' &&
                   classes[at - 2] == DIGIT && is_thousand(classes + at + 2)) {
            first = at - 1, last = at + 1;
        }
        for (; first <= last; first++, count++)
            gone[first] = 1;
    }
    return count;
}

/* Fills codes and classes; returns how many characters may be apostrophes, commas or dots of a number. */
static int64_t load_wide(const Filter *filter, Text *text, const uint32_t *raw, int64_t size)
{
    int64_t marks = 0;
    for (int64_t i = 0; i < size; i++) {
        uint32_t own = raw[i];
        own += (uint32_t)(own - 'A' < 26u) << 5;
        text->codes[PAD + i] = own;
        text->narrow[PAD + i] = (uint8_t)own;
        if (own < 0x10000)
            text->classes[PAD + i] = filter->classes[own];
        else
            text->classes[PAD + i] = own >= 0x20000 && own <= 0x3FFFF ? IDEOGRAPH : 0;
        if (own == ',' || own == '.' || own == '\'')
            text->marks[marks++] = PAD + i;
    }
    for (int64_t i = 0; i < PAD; i++)
        text->codes[i] = text->codes[PAD + size + i] = '\n';
    return marks;
}

/* A bit for each of 64 bytes, which are 0 or 1. */
static inline uint64_t bits_of(const uint8_t *flags)
{
    uint64_t result = 0, eight;
    for (int i = 0; i < 8; i++) {
        memcpy(&eight, flags + 8 * i, 8);
        result |= (eight * 0x0102040810204080u >> 56) << (8 * i);
    }
    return result;
}

/* Appends `first` plus the place of each bit to `places`; returns their new number. */
static inline int64_t spread(int64_t *places, int64_t count, int64_t first, uint64_t bits)
{
    for (; bits; bits &= bits - 1)
        places[count++] = first + __builtin_ctzll(bits);
    return count;
}

static int64_t load_narrow(Text *text, const uint8_t *raw, int64_t size)
{
    uint8_t *narrow = text->narrow + PAD, *classes = text->classes + PAD, flags[64];
    int64_t marks = 0;
    for (int64_t i = 0; i < size; i++) { /* without a table, so that the compiler can take many at once */
        uint8_t own = raw[i], upper = (uint8_t)(own - 'A') < 26;
        own = (uint8_t)(own + (upper << 5));
        narrow[i] = own;
        classes[i] = (uint8_t)(((uint8_t)(own - '0') < 10) * DIGIT + ((uint8_t)(own - 'a') < 26) * LETTER);
    }
    memset(narrow + size, 0, 64); /* there is room, see `prepared` */
    for (int64_t i = 0; i < size; i += 64) {
        for (int at = 0; at < 64; at++)
            flags[at] = (narrow[i + at] == ',') | (narrow[i + at] == '.') | (narrow[i + at] == '\'');
        marks = spread(text->marks, marks, PAD + i, bits_of(flags));
    }
    return marks;
}

/* Returns where the text ends. */
static int64_t load(const Filter *filter, Text *text, const void *raw, int64_t size)
{
    int64_t end = PAD + size, dots = 0;
    int64_t marks = text->wide ? load_wide(filter, text, raw, size) : load_narrow(text, raw, size);
    for (int64_t i = 0; i < PAD; i++) {
        text->narrow[i] = text->narrow[end + i] = '\n';
        text->classes[i] = text->classes[end + i] = 0;
    }
    int64_t gone = mark_gone(text, marks);
    for (int64_t mark = 0; mark < marks; mark++) {
        int64_t at = text->marks[mark];
        if (text->narrow[at] == '.' && text->classes[at - 1] == DIGIT && text->classes[at + 1] == DIGIT)
            text->marks[dots++] = at;
    }
    for (int64_t dot = 0; dot < dots; dot++)
        text->classes[text->marks[dot]] = DIGIT;
    if (!gone)
        return end;
    int64_t kept = PAD, stop = end + PAD;
    for (int64_t at = PAD; at < stop; at++) { /* a few are left out: the others move together */
        const uint8_t *next = memchr(text->gone + at, 1, (size_t)(stop - at));
        int64_t size = (next ? next - text->gone : stop) - at;
        if (text->wide)
            memmove(text->codes + kept, text->codes + at, (size_t)size * sizeof *text->codes);
        memmove(text->narrow + kept, text->narrow + at, (size_t)size);
        memmove(text->classes + kept, text->classes + at, (size_t)size);
        kept += size, at += size;
        if (next)
            text->gone[at] = 0;
    }
    return end - gone;
}

/* `size` is at least 1, and 8 bytes can be read from every letter. */
static inline uint64_t hash_narrow(const uint8_t *letters, int64_t size)
{
    uint64_t eight, value = 0;
    for (; size > 8; letters += 8, size -= 8) {
        memcpy(&eight, letters, 8);
        value = mix((value + eight) * FACTOR);
    }
    memcpy(&eight, letters, 8);
    return mix((value + (eight & ~(uint64_t)0 >> (64 - 8 * size))) * FACTOR);
}

static uint64_t hash_characters(const Text *text, int64_t start, int64_t end)
{
    int wide = 0;
    if (text->wide)
        for (int64_t i = start; i < end; i++)
            wide |= text->codes[i] > 127;
    if (!wide)
        return hash_narrow(text->narrow + start, end - start);
    uint64_t value = 0;
    for (int64_t i = end - 1; i >= start; i--)
        value = value * BASE + text->codes[i];
    return mix(value);
}

/* Fills `marks` with the places where the class changes, and every ideograph; returns how many. A separator is
 * before and after every text. Without branches, which would depend on the text. */
static int64_t find_wide_edges(Text *text, int64_t stop)
{
    const uint8_t *classes = text->classes;
    int64_t *edges = text->marks, count = 0;
    for (int64_t at = PAD; at <= stop; at++) {
        edges[count] = at;
        count += (classes[at] != classes[at - 1]) | (classes[at] >= IDEOGRAPH);
    }
    return count;
}

/* The same for the classes 0 to 2, 64 characters at a time. */
static int64_t find_edges(Text *text, int64_t stop)
{
    uint8_t *classes = text->classes, flags[64];
    int64_t count = 0;
    if (text->wide)
        return find_wide_edges(text, stop);
    memset(classes + stop, 0, 64); /* a separator */
    for (int64_t at = PAD; at <= stop; at += 64) {
        for (int i = 0; i < 64; i++)
            flags[i] = classes[at + i] != classes[at + i - 1];
        count = spread(text->marks, count, at, bits_of(flags));
    }
    return count;
}

/* The position of a sorted key, or -1. */
static int64_t place_of(const uint64_t *keys, int64_t count, uint64_t key)
{
    int64_t low = 0, high = count;
    while (low < high) {
        int64_t middle = (low + high) / 2;
        if (keys[middle] < key)
            low = middle + 1;
        else
            high = middle;
    }
    return low < count && keys[low] == key ? low : -1;
}

static uint64_t greek_name(const Filter *filter, uint32_t letter)
{
    for (int64_t i = 0; i < filter->greek_count; i++)
        if (filter->greek_letters[i] == letter)
            return filter->greek_names[i];
    return 0;
}

static void tokenize(const Filter *filter, Text *text, const void *raw, int64_t size)
{
    int64_t edges = find_edges(text, load(filter, text, raw, size)), count = 0, longest_word = 0;
    const Text to = *text; /* a copy that no byte written below can change */
    uint64_t sum = 0, skeleton = 0, has_greek = 0;
    to.sums[0] = to.skeletons[0] = 0;
    for (int64_t edge = 0; edge < edges; edge++) {
        int64_t start = to.marks[edge], end = to.marks[edge + 1];
        uint8_t kind = to.classes[start];
        if (!kind)
            continue;
        uint64_t hash = !to.wide ? hash_narrow(to.narrow + start, end - start)
                        : kind == GREEK_LETTER ? greek_name(filter, to.codes[start])
                                               : hash_characters(text, start, end);
        if (kind == LETTER && to.narrow[start - 1] == '\\' && code(text, start - 1) == '\\') {
            int64_t command = place_of(filter->command_keys, filter->command_count, hash);
            if (command < 0)
                continue;
            hash = filter->command_values[command];
        }
        if (kind == LETTER && end - start > longest_word)
            longest_word = end - start;
        has_greek |= kind == GREEK_LETTER;
        to.starts[count] = start;
        to.ends[count] = end;
        to.kinds[count] = kind == LETTER && end - start == 1 ? SINGLE : kind;
        to.hashes[count] = hash;
        to.bones[count] = kind == DIGIT ? filter->number : hash;
        sum += hash * to.powers[count];
        skeleton += to.bones[count] * to.powers[count];
        count++;
        to.sums[count] = sum, to.skeletons[count] = skeleton;
    }
    text->count = count, text->longest_word = longest_word, text->has_greek = has_greek != 0;
}

/* The hash of `size` tokens from `start`. */
static inline uint64_t gram(const Text *text, const uint64_t *sums, int64_t start, int64_t size)
{
    return (sums[start + size] - sums[start]) * text->inverses[start];
}

/* The hash of a word's stem; of another token its own. */
static uint64_t stem(const Text *text, int64_t token)
{
    int64_t start = text->starts[token], size = text->ends[token] - start;
    if (text->kinds[token] != LETTER || code(text, start - 1) == '\\')
        return text->hashes[token];
    int plural = size > 3 && size <= STEM && code(text, start + size - 1) == 's';
    int64_t kept = (size < STEM ? size : STEM) - plural;
    return text->wide ? hash_characters(text, start, start + kept) : hash_narrow(text->narrow + start, kept);
}
