/* The numbers and words of one statement, with the hashes and weights of hashed_features.py. */
#include "text.h"

enum { LONGEST = 1000, MOST_NUMERALS = 16 }; /* tokens of a statement, characters of a Chinese numeral */
static const double RARE_PAIR = 0.6;
static const uint64_t VARIABLE = 0x9FB21C651E98DF25u, FIRST = 0xA24BAED4963EE407u, SECOND = 0x8CB92BA72F3D8DD7u;

typedef struct {
    uint64_t hash;
    double weight;
    int is_formula;
} Feature;

typedef struct {
    Feature numbers[LONGEST], words[2 * LONGEST + 2]; /* each once; words after a first one that means none */
    int64_t number_count, word_count, variables, ideographs;
    uint16_t slots[4096]; /* the place of a word, or 0; the first `slot_mask` + 1 are probed linearly */
    uint64_t slot_mask;
    uint8_t is_variable[LONGEST];
} Features;

static int is_article(const Filter *filter, uint64_t hash)
{
    for (int64_t i = 0; i < filter->article_count; i++)
        if (filter->articles[i] == hash)
            return 1;
    return 0;
}

static void add_number(const Filter *filter, Features *features, uint64_t hash)
{
    double weight = filter->counted_weights[entry(&filter->counted, hash)];
    if (weight <= 0)
        return;
    for (int64_t i = 0; i < features->number_count; i++)
        if (features->numbers[i].hash == hash)
            return;
    features->numbers[features->number_count++] = (Feature){hash, weight, 0};
}

static int64_t numeral(const Filter *filter, const Text *text, int64_t token)
{
    if (text->kinds[token] != IDEOGRAPH)
        return -1;
    for (int64_t i = 0; i < filter->numeral_count; i++)
        if (filter->numerals[i] == text->codes[text->starts[token]])
            return filter->numeral_values[i];
    return -1;
}

/* Adds the value of a run of Chinese numerals, see words.numeral_value; 0 if it is too large to tell. */
static int add_numeral(const Filter *filter, const Text *text, Features *features, int64_t start, int64_t end)
{
    int64_t total = 0, digit = 0;
    int has_digit = 0;
    for (int64_t token = start; token < end; token++) {
        int64_t value = numeral(filter, text, token);
        has_digit |= value <= 10;
        if (value < 10) {
            digit = value;
        } else {
            if (value == 10000)
                total = (total + digit ? total + digit : 1) * value;
            else
                total += (digit ? digit : 1) * value;
            digit = 0;
        }
        if (total > (int64_t)1e13)
            return 0;
    }
    if (!has_digit || end - start > MOST_NUMERALS)
        return 1;
    uint8_t letters[32] = {0}, digits[24];
    int64_t value = total + digit, size = 0;
    do
        digits[size++] = (uint8_t)('0' + value % 10);
    while (value /= 10);
    for (int64_t i = 0; i < size; i++)
        letters[i] = digits[size - 1 - i];
    add_number(filter, features, hash_narrow(letters, size));
    return 1;
}

/* Returns 0 if a number cannot be read here. */
static int read_numbers(const Filter *filter, const Text *text, Features *features)
{
    int64_t before = 0; /* index of the tens right before this token */
    features->number_count = 0;
    for (int64_t token = 0; token < text->count; token++) {
        if (text->kinds[token] == DIGIT) {
            before = 0;
            add_number(filter, features, text->hashes[token]);
            continue;
        }
        if (numeral(filter, text, token) >= 0) {
            int64_t end = token + 1;
            while (end < text->count && numeral(filter, text, end) >= 0)
                end++;
            if (!add_numeral(filter, text, features, token, end))
                return 0;
            token = end - 1, before = 0;
            continue;
        }
        if (text->kinds[token] != LETTER) {
            before = 0;
            continue;
        }
        int64_t own = entry(&filter->spelled, text->hashes[token]);
        int64_t following = 0;
        if (filter->is_tens[own] && token + 1 < text->count)
            following = entry(&filter->spelled, text->hashes[token + 1]);
        if (own && filter->is_tens[own] && following && filter->is_unit[following])
            add_number(filter, features, filter->compounds[own * filter->spelled_count + following]);
        else if (own && !(before && filter->is_unit[own]))
            add_number(filter, features, filter->spelled_values[own]);
        before = filter->is_tens[own] ? own : 0;
    }
    return 1;
}

/* Of equal words the first stays; 0 is none. A token adds at most one word and one formula, so a slot is free.
 * Without a branch on whether the word is new, which nobody can foresee. */
static inline void add_word(Features *features, uint64_t hash, double weight, int is_formula)
{
    int64_t count = features->word_count;
    uint64_t slot = hash & features->slot_mask;
    while ((features->slots[slot] != 0) & (features->words[features->slots[slot]].hash != hash))
        slot = (slot + 1) & features->slot_mask;
    int is_new = (features->slots[slot] == 0) & (hash != 0);
    features->words[count + 1] = (Feature){hash, weight, is_formula};
    features->slots[slot] = (uint16_t)(is_new ? count + 1 : features->slots[slot]);
    features->word_count = count + is_new;
}

static void clear_words(Features *features, int64_t tokens)
{
    uint64_t slots = 64;
    while (slots <= 2 * (uint64_t)tokens)
        slots *= 2;
    memset(features->slots, 0, slots * sizeof *features->slots);
    features->slot_mask = slots - 1, features->word_count = 0;
}

/* Counts variables and ideographs of a text of at most LONGEST tokens. */
static void read_kinds(const Filter *filter, const Text *text, Features *features)
{
    const uint8_t *kinds = text->kinds;
    features->variables = features->ideographs = 0;
    for (int64_t token = 0; token < text->count; token++) {
        int is_variable = kinds[token] >= GREEK_LETTER && !is_article(filter, text->hashes[token]);
        features->is_variable[token] = (uint8_t)is_variable;
        features->variables += is_variable;
        features->ideographs += kinds[token] == IDEOGRAPH;
    }
}

/* After `read_kinds`. */
static void read_words(const Filter *filter, const Text *text, Features *features)
{
    const uint8_t *kinds = text->kinds;
    clear_words(features, text->count);
    for (int64_t token = 0; token < text->count; token++) {
        int is_pair = kinds[token] == IDEOGRAPH && token + 1 < text->count && kinds[token + 1] == IDEOGRAPH;
        if (!is_pair && kinds[token] != LETTER)
            continue;
        uint64_t hash = is_pair ? mix(text->hashes[token] * FIRST + text->hashes[token + 1]) : stem(text, token);
        int64_t found = entry(&filter->words, hash);
        double weight = is_pair && !found ? RARE_PAIR : filter->word_weights[found];
        add_word(features, found ? filter->representatives[found] : hash, weight, 0);
    }
    for (int64_t token = 0; token + 2 < text->count; token++) {
        const uint8_t *own = kinds + token, *variable = features->is_variable + token;
        uint64_t parts[3];
        int digits = 0;
        if (own[2] != DIGIT && !variable[2]) {
            token += 2; /* no formula of three has this token */
            continue;
        }
        if ((own[0] != DIGIT && !variable[0]) || (own[1] != DIGIT && !variable[1]))
            continue;
        for (int i = 0; i < 3; i++) {
            digits += own[i] == DIGIT;
            parts[i] = variable[i] ? VARIABLE : text->hashes[token + i];
        }
        if (digits)
            add_word(features, mix(parts[0] * FIRST + parts[1] * SECOND + parts[2]), 0, 1);
    }
}
