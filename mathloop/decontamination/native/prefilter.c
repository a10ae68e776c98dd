/* Marks the texts of which a rule may find a match: at least all that `Rule.candidates` and `decide` accept.
 *
 * Numbers, words and hashes are those of the Python code; only a similarity is compared with a margin. */
#include "copies.h"
#include "rephrased.h"

enum { EDGE = 48, MATCHES = 1, PROMPTED = 2, UNREAD = 4 };

static int may_match(State *state, int is_statement)
{
    const Filter *filter = state->filter;
    const Text *text = &state->text;
    if ((filter->ngram || filter->exact || filter->structure_ratio > 0) && shares_run(state, is_statement))
        return 1;
    if (filter->exact && (has_short_item(filter, text) || may_lack_spaces(text, is_statement)))
        return 1;
    if (!is_statement)
        return 0;
    return filter->rephrased && may_rephrase(state);
}

/* The place of the bit of three letters. */
static inline uint32_t hint_bit(const char *letters)
{
    uint32_t three = (uint8_t)letters[0] | (uint32_t)(uint8_t)letters[1] << 8 | (uint32_t)(uint8_t)letters[2] << 16;
    return three * 0x9E3779B1u >> 16;
}

static void learn_hints(State *state)
{
    for (const char *hint = state->filter->hints; *hint; hint += strlen(hint) + 1)
        for (int third = 0; third < 256; third++) { /* any, after a hint of two letters */
            char three[] = {hint[0], hint[1], hint[2] ? hint[2] : (char)third};
            uint32_t bit = hint_bit(three);
            state->hint_bits[bit >> 3] |= (uint8_t)(1 << (bit & 7));
        }
}

/* Whether the first and last characters of an ASCII text have a hint, see prompts.py. */
static int has_hint(const State *state, const uint8_t *raw, int64_t size)
{
    char edges[2 * EDGE + 2] = {0};
    int64_t own = size < EDGE ? size : EDGE;
    memcpy(edges, raw, (size_t)own);
    memcpy(edges + own, raw + size - own, (size_t)own);
    for (int64_t at = 0; at + 1 < 2 * own; at++) {
        uint32_t bit = hint_bit(edges + at);
        if (state->hint_bits[bit >> 3] >> (bit & 7) & 1)
            for (const char *hint = state->filter->hints; *hint; hint += strlen(hint) + 1)
                if (!strncmp(edges + at, hint, strlen(hint)))
                    return 1;
    }
    return 0;
}

static void discard(State *state)
{
    free(state->text.marks), free(state->text.codes), free(state->seen), free(state);
}

/* A string's letters, see prefilter.py; NULL without memory. */
typedef const char *(*Letters)(void *string, intptr_t *size);

/* The state for texts of up to `longest` characters, or NULL without memory; `discard` it. */
static State *prepared(const Filter *filter, int64_t longest, int wide)
{
    size_t size = (size_t)longest + 4 * PAD + 2 * 64; /* characters are read 64 at a time */
    State *state = calloc(1, sizeof *state);
    if (!state)
        return NULL;
    Text *text = &state->text;
    uint64_t *eights = calloc(size, 10 * 8);
    uint8_t *bytes = calloc(size, 4 + 4);
    state->filter = filter, state->seen = calloc((size_t)filter->item_count + 1, sizeof *state->seen);
    text->marks = (int64_t *)eights, text->codes = (uint32_t *)bytes;
    if (!eights || !bytes || !state->seen) {
        discard(state);
        return NULL;
    }
    text->wide = wide;
    learn_hints(state);
    text->starts = text->marks + size, text->ends = text->starts + size;
    text->hashes = eights + 3 * size, text->sums = eights + 4 * size, text->skeletons = eights + 5 * size;
    text->powers = eights + 6 * size, text->inverses = eights + 7 * size, text->bones = eights + 8 * size,
    text->places = (int64_t *)eights + 9 * size;
    text->narrow = bytes + 4 * size, text->classes = bytes + 5 * size;
    text->gone = bytes + 6 * size, text->kinds = bytes + 7 * size;
    uint64_t inverse = GRAM_BASE; /* Newton's iteration modulo 2**64 */
    for (int i = 0; i < 6; i++)
        inverse *= 2 - GRAM_BASE * inverse;
    text->powers[0] = text->inverses[0] = 1;
    for (size_t i = 1; i < size; i++) {
        text->powers[i] = text->powers[i - 1] * GRAM_BASE;
        text->inverses[i] = text->inverses[i - 1] * inverse;
    }
    return state;
}

/* Whether the text is read as it is, see `normalization.is_plain`. */
static int is_plain(const char *raw, int64_t size)
{
    if (memchr(raw, '\\', (size_t)size))
        return 0;
    for (const char *at = raw; (at = memchr(at, '[', (size_t)(raw + size - at))) != NULL; at++)
        if (raw + size - at >= 5 && !memcmp(at, "[asy]", 5))
            return 0;
    return 1;
}

static uint8_t mark(State *state, const void *raw, int64_t size, int is_statement, double answer, uint64_t bits)
{
    tokenize(state->filter, &state->text, raw, size);
    state->answer = answer, state->answer_bits = bits;
    uint8_t marks = may_match(state, is_statement) ? MATCHES : 0;
    if (!state->text.wide && is_statement && has_hint(state, raw, size))
        marks |= PROMPTED;
    return marks;
}

/* Sets in marks[i] MATCHES where a rule may match text i, of codes[offsets[i]] to codes[offsets[i + 1] - 1] less
 * one separator, and PROMPTED where a statement has a hint of a prompt, unless it is wide. `wide`: codes have four
 * bytes. `answers` are NaN where unknown. Returns -1 without memory. */
int mark_texts(const Filter *filter, const void *codes, int64_t wide, const int64_t *offsets, int64_t texts,
               const uint8_t *are_statements, const double *answers, const uint64_t *answer_bits,
               uint8_t *marks)
{
    int64_t longest = 0;
    for (int64_t i = 0; i < texts; i++)
        if (offsets[i + 1] - offsets[i] > longest)
            longest = offsets[i + 1] - offsets[i];
    State *state = prepared(filter, longest, wide != 0);
    if (!state)
        return -1;
    for (int64_t i = 0; i < texts; i++)
        marks[i] = mark(state, (const char *)codes + (wide ? 4 : 1) * offsets[i], offsets[i + 1] - offsets[i] - 1,
                        are_statements[i], answers[i], answer_bits[i]);
    discard(state);
    return 0;
}

/* The same for ASCII strings, read where they are; UNREAD for those that are not plain. Returns 1, and marks
 * nothing, if one has more than `most` characters. */
int mark_strings(const Filter *filter, Letters letters, int64_t most, void *const *strings, int64_t texts,
                 const uint8_t *are_statements, const double *answers, const uint64_t *answer_bits,
                 uint8_t *marks)
{
    enum { AHEAD = 8 };
    int64_t longest = 0, result = -1;
    const char **starts = calloc((size_t)texts + 1, sizeof *starts);
    intptr_t *sizes = calloc((size_t)texts + 1, sizeof *sizes);
    State *state = NULL;
    if (!starts || !sizes)
        goto end;
    for (int64_t i = 0; i < texts; i++) {
        if (i + AHEAD < texts)
            __builtin_prefetch(strings[i + AHEAD]);
        starts[i] = letters(strings[i], sizes + i);
        if (!starts[i])
            goto end;
        if (sizes[i] > longest)
            longest = sizes[i];
    }
    if (longest > most) {
        result = 1;
        goto end;
    }
    state = prepared(filter, longest, 0);
    if (!state)
        goto end;
    for (int64_t i = 0; i < texts; i++) {
        for (intptr_t at = 0; i + 1 < texts && at < sizes[i + 1]; at += 64)
            __builtin_prefetch(starts[i + 1] + at);
        marks[i] = !is_plain(starts[i], sizes[i])
                       ? UNREAD
                       : mark(state, starts[i], sizes[i], are_statements[i], answers[i], answer_bits[i]);
    }
    result = 0;
end:
    if (state)
        discard(state);
    free(starts), free(sizes);
    return (int)result;
}
