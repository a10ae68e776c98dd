/* Rules `exact`, `ngram_lcs` and `structure`: what a text has of an item as it is, or with other numbers. */
#include "state.h"

enum { CONTAINED = 8, SHARED = 7, JOINED = 16, FEW = 16 };
static const double DENSE = 6.5;

static int ends_sentence(const Text *text, int64_t token)
{
    for (int64_t at = text->ends[token - 1]; at < text->starts[token]; at++)
        switch (code(text, at)) {
        case '.': case '!': case '?': case ':': case ';': case '\n':
        case 0x3002: case 0xFF01: case 0xFF1F: case 0xFF1A: case 0xFF1B:
            return 1;
        }
    return 0;
}

/* Whether the item is in the text from token `place` on, and may be there as a part. */
static int is_inside(const Filter *filter, const Text *text, int32_t item, int64_t place)
{
    int64_t size = filter->item_offsets[item + 1] - filter->item_offsets[item];
    if (place < 0 || place + size > text->count || gram(text, text->sums, place, size) != filter->item_runs[item])
        return 0;
    return size >= CONTAINED || size == text->count || !place || ends_sentence(text, place);
}

/* The text is an item, or has one of fewer than CONTAINED tokens as a sentence. */
static int has_short_item(const Filter *filter, const Text *text)
{
    const Table *anchors = &filter->anchors;
    if (text->count && locate(&filter->whole, gram(text, text->sums, 0, text->count)) >= 0)
        return 1;
    uint64_t *pairs = (uint64_t *)text->marks; /* not used any more */
    int64_t *places = text->places, found = 0;
    for (int64_t at = 0; at + 2 <= text->count; at++) {
        pairs[found] = gram(text, text->sums, at, 2), places[found] = at;
        found += is_possible(anchors, pairs[found]);
    }
    for (int64_t pair = 0; pair < found; pair++) {
        int64_t at = places[pair], key = locate(anchors, pairs[pair]);
        if (key < 0)
            continue;
        for (uint32_t i = anchors->starts[key]; i < anchors->starts[key + 1]; i++) {
            int32_t item = anchors->values[i];
            if (is_inside(filter, text, item, at - filter->anchor_places[item]))
                return 1;
        }
    }
    return 0;
}

/* An item of CONTAINED or more tokens begins at this token. */
static int has_item_at(const Filter *filter, const Text *text, int64_t at)
{
    const Table *heads = &filter->heads;
    if (at + CONTAINED > text->count)
        return 0;
    int64_t key = locate(heads, gram(text, text->sums, at, CONTAINED));
    if (key < 0)
        return 0;
    for (uint32_t i = heads->starts[key]; i < heads->starts[key + 1]; i++)
        if (is_inside(filter, text, heads->values[i], at))
            return 1;
    return 0;
}

/* Between its first and its last token. */
static int has_character(const Text *text, uint32_t wanted)
{
    for (int64_t at = text->starts[0]; at < text->ends[text->count - 1]; at++)
        if (code(text, at) == wanted)
            return 1;
    return 0;
}

/* Where spaces between words may be missing, see spaceless.py. */
static int may_lack_spaces(const Text *text, int is_statement)
{
    if (text->longest_word >= JOINED)
        return 1;
    if (!is_statement)
        return 0;
    if (text->has_greek || text->count <= FEW ||
        (double)(text->ends[text->count - 1] - text->starts[0]) > DENSE * (double)text->count)
        return 1;
    return !has_character(text, ' ') && (text->longest_word > 1 || has_character(text, '\\'));
}

/* No two skeletons have more tokens in common. */
static int64_t most_common(const Text *text, const uint64_t *wanted, int64_t size)
{
    uint16_t counts[256] = {0};
    int64_t result = 0;
    if (text->count > LONGEST)
        return text->count;
    for (int64_t at = 0; at < text->count; at++)
        counts[text->bones[at] >> 56]++;
    for (int64_t at = 0; at < size; at++) {
        uint16_t *left = counts + (wanted[at] >> 56);
        result += *left > 0;
        *left -= *left > 0;
    }
    return result;
}

/* Length of the longest common subsequence of two skeletons (Hyyrö, bit-parallel), or -1 if that takes long. */
static int64_t common(const Text *text, const uint64_t *wanted, int64_t size)
{
    uint64_t lacking[LONGEST / 64 + 1];
    int64_t words = (text->count + 63) / 64, result = 0;
    if (text->count > LONGEST || size > LONGEST)
        return -1;
    memset(lacking, 0xFF, sizeof lacking);
    for (int64_t at = 0; at < size; at++) {
        unsigned carry = 0;
        for (int64_t word = 0; word < words; word++) {
            int64_t first = 64 * word, count = text->count - first < 64 ? text->count - first : 64;
            uint64_t equal = 0, before = lacking[word];
            for (int64_t bit = 0; bit < count; bit++)
                equal |= (uint64_t)(text->bones[first + bit] == wanted[at]) << bit;
            uint64_t sum = before + (before & equal), more = sum + carry;
            carry = (sum < before) | (more < sum);
            lacking[word] = more | (before & ~equal);
        }
    }
    for (int64_t at = 0; at < text->count; at++)
        result += !(lacking[at / 64] >> (at % 64) & 1);
    return result;
}

/* Whether the skeleton resembles that of an item with this run. */
static int is_structure(State *state, uint64_t run)
{
    const Filter *filter = state->filter;
    const Text *text = &state->text;
    int64_t key = locate(&filter->skeletons, run);
    if (key < 0)
        return 0;
    for (uint32_t i = filter->skeletons.starts[key]; i < filter->skeletons.starts[key + 1]; i++) {
        int32_t item = filter->skeletons.values[i];
        int64_t start = filter->item_offsets[item], wanted = filter->item_offsets[item + 1] - start;
        int64_t shorter = text->count < wanted ? text->count : wanted, longer = text->count + wanted - shorter;
        double least = filter->structure_ratio * (double)longer;
        if ((double)shorter <= least || state->seen[item] == state->number)
            continue;
        state->seen[item] = state->number;
        if ((double)most_common(text, filter->item_bones + start, wanted) <= least)
            continue;
        int64_t length = common(text, filter->item_bones + start, wanted);
        if (length < 0 || (double)length > least)
            return 1;
    }
    return 0;
}

/* Rules `ngram_lcs` and `structure`, and `exact` for long items: all need runs of SHARED tokens, numbers aside. */
static int shares_run(State *state, int is_statement)
{
    const Filter *filter = state->filter;
    const Text *text = &state->text;
    uint64_t *runs = (uint64_t *)text->marks; /* not used any more */
    int64_t *places = text->places;
    int64_t ngram = filter->ngram, found = 0, together = 0;
    int structure = is_statement && filter->structure_ratio > 0;
    if (ngram && ngram < SHARED)
        return 1;
    state->number++;
    for (int64_t at = 0; at + SHARED <= text->count; at++) {
        runs[at] = gram(text, text->skeletons, at, SHARED);
        prepare_run(filter, runs[at]);
    }
    for (int64_t at = 0; at + SHARED <= text->count; at++) {
        uint64_t run = runs[at];
        if (!is_run(filter, run))
            continue;
        prepare(&filter->skeletons, run);
        places[found] = at, runs[found++] = run;
    }
    for (int64_t i = 0; i < found; i++) {
        int64_t at = places[i];
        together = i && places[i - 1] == at - 1 ? together + 1 : 1;
        if (structure && is_structure(state, runs[i]))
            return 1;
        if (filter->exact && has_item_at(filter, text, at))
            return 1;
        if (ngram && together > ngram - SHARED) {
            uint64_t hash = gram(text, text->sums, at + SHARED - ngram, ngram);
            if (locate(&filter->grams, hash) >= 0)
                return 1;
        }
    }
    return 0;
}
