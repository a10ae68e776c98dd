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
    Feature numbers[LONGEST], words[2 * LONGEST], distinct[2 * LONGEST];
    int64_t number_count, word_count, distinct_count; /* distinct words are -1 until `distinguish` */
    int64_t variables, ideographs;
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

static void read_words(const Filter *filter, const Text *text, Features *features)
{
    const uint8_t *kinds = text->kinds;
    features->word_count = features->variables = features->ideographs = 0;
    features->distinct_count = -1;
    for (int64_t token = 0; token < text->count; token++) {
        int is_variable = kinds[token] >= GREEK_LETTER && !is_article(filter, text->hashes[token]);
        features->is_variable[token] = (uint8_t)is_variable;
        features->variables += is_variable;
        features->ideographs += kinds[token] == IDEOGRAPH;
        int is_pair = kinds[token] == IDEOGRAPH && token + 1 < text->count && kinds[token + 1] == IDEOGRAPH;
        if (!is_pair && kinds[token] != LETTER)
            continue;
        uint64_t hash = is_pair ? mix(text->hashes[token] * FIRST + text->hashes[token + 1]) : stem(text, token);
        int64_t found = entry(&filter->words, hash);
        double weight = is_pair && !found ? RARE_PAIR : filter->word_weights[found];
        hash = found ? filter->representatives[found] : hash;
        if (hash)
            features->words[features->word_count++] = (Feature){hash, weight, 0};
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
        if (digits) {
            uint64_t hash = mix(parts[0] * FIRST + parts[1] * SECOND + parts[2]);
            features->words[features->word_count++] = (Feature){hash, 0, 1};
        }
    }
}

static int by_hash(const void *one, const void *other)
{
    uint64_t left = ((const Feature *)one)->hash, right = ((const Feature *)other)->hash;
    return (left > right) - (left < right);
}

/* Fills `distinct` with the words, in the order of their hashes. */
static void distinguish(Features *features)
{
    Feature *found = features->distinct;
    int64_t kept = 0;
    if (features->distinct_count >= 0)
        return;
    memcpy(found, features->words, (size_t)features->word_count * sizeof *found);
    qsort(found, (size_t)features->word_count, sizeof *found, by_hash);
    for (int64_t i = 0; i < features->word_count; i++)
        if (!i || found[i].hash != found[kept - 1].hash)
            found[kept++] = found[i];
    features->distinct_count = kept;
}
