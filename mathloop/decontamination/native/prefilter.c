/* Marks the texts of which a rule may find a match: at least all that `Rule.candidates` and `decide` accept.
 *
 * Numbers, words and hashes are those of the Python code; only a similarity is compared with a margin. */
#include "copies.h"
#include "rephrased.h"

enum { EDGE = 48, MATCHES = 1, PROMPTED = 2 };

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

static void learn_hints(State *state)
{
    for (const char *hint = state->filter->hints; *hint; hint += strlen(hint) + 1) {
        unsigned pair = (uint8_t)hint[0] | (unsigned)(uint8_t)hint[1] << 8;
        state->hint_pairs[pair >> 3] |= (uint8_t)(1 << (pair & 7));
    }
}

/* Whether the first and last characters of an ASCII text have a hint, see prompts.py. */
static int has_hint(const State *state, const uint8_t *raw, int64_t size)
{
    char edges[2 * EDGE + 1] = {0};
    int64_t own = size < EDGE ? size : EDGE;
    memcpy(edges, raw, (size_t)own);
    memcpy(edges + own, raw + size - own, (size_t)own);
    for (int64_t at = 0; at + 1 < 2 * own; at++) {
        unsigned pair = (uint8_t)edges[at] | (unsigned)(uint8_t)edges[at + 1] << 8;
        if (state->hint_pairs[pair >> 3] >> (pair & 7) & 1)
            for (const char *hint = state->filter->hints; *hint; hint += strlen(hint) + 1)
                if (!strncmp(edges + at, hint, strlen(hint)))
                    return 1;
    }
    return 0;
}

/* Sets in marks[i] MATCHES where a rule may match text i, of codes[offsets[i]] to codes[offsets[i + 1] - 1] less
 * one separator, and PROMPTED where a statement has a hint of a prompt, unless it is wide. `wide`: codes have four
 * bytes. `answers` are NaN where unknown. Returns -1 without memory. */
int mark_texts(const Filter *filter, const void *codes, int64_t wide, const int64_t *offsets, int64_t texts,
               const uint8_t *are_statements, const double *answers, const uint64_t *answer_bits,
               uint8_t *marks)
{
    int64_t longest = 0, result = -1;
    for (int64_t i = 0; i < texts; i++)
        if (offsets[i + 1] - offsets[i] > longest)
            longest = offsets[i + 1] - offsets[i];
    size_t size = (size_t)longest + 4 * PAD;
    State *state = calloc(1, sizeof *state);
    int32_t *seen = calloc((size_t)filter->item_count + 1, sizeof *seen);
    uint64_t *eights = calloc(size, 10 * 8);
    uint8_t *bytes = calloc(size, 4 + 4);
    if (state && seen && eights && bytes) {
        Text *text = &state->text;
        state->filter = filter, state->seen = seen, text->wide = wide != 0;
        learn_hints(state);
        text->marks = (int64_t *)eights, text->starts = text->marks + size, text->ends = text->starts + size;
        text->hashes = eights + 3 * size, text->sums = eights + 4 * size, text->skeletons = eights + 5 * size;
        text->powers = eights + 6 * size, text->inverses = eights + 7 * size, text->bones = eights + 8 * size,
        text->places = (int64_t *)eights + 9 * size;
        text->codes = (uint32_t *)bytes, text->narrow = bytes + 4 * size, text->classes = bytes + 5 * size;
        text->gone = bytes + 6 * size, text->kinds = bytes + 7 * size;
        uint64_t inverse = GRAM_BASE; /* Newton's iteration modulo 2**64 */
        for (int i = 0; i < 6; i++)
            inverse *= 2 - GRAM_BASE * inverse;
        text->powers[0] = text->inverses[0] = 1;
        for (size_t i = 1; i < size; i++) {
            text->powers[i] = text->powers[i - 1] * GRAM_BASE;
            text->inverses[i] = text->inverses[i - 1] * inverse;
        }
        for (int64_t i = 0; i < texts; i++) {
            const char *raw = (const char *)codes + (wide ? 4 : 1) * offsets[i];
            int64_t length = offsets[i + 1] - offsets[i] - 1;
            tokenize(filter, text, raw, length);
            state->answer = answers[i], state->answer_bits = answer_bits[i];
            marks[i] = may_match(state, are_statements[i]) ? MATCHES : 0;
            if (!wide && are_statements[i] && has_hint(state, (const uint8_t *)raw, length))
                marks[i] |= PROMPTED;
        }
        result = 0;
    }
    free(state), free(seen), free(eights), free(bytes);
    return (int)result;
}
