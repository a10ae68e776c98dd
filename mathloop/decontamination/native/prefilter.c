/* Marks the texts of which a rule may find a match: at least all that `Rule.candidates` and `decide` accept.
 *
 * Numbers, words and hashes are those of the Python code; only a similarity is compared with a margin. */
#include "features.h"

enum { CONTAINED = 8, MOST_NUMBERS = 12, RAREST = 8, LEFT_OUT = 3, SHARED = 7, JOINED = 16, FEW = 16, KINDS = 5 };
enum { EDGE = 48, MATCHES = 1, PROMPTED = 2, MOST_WANTED = 5 * 2 * LONGEST + 64 };
static const double RARE_NUMBER = 0.85, INFORMATIVE = 0.5, FAMILIAR = 0.5, COMMONPLACE = 0.45;
static const double TOLERANCE = 1e-6, MARGIN = 1e-3, DENSE = 6.5;
static const uint64_t SALT_SET = 0x9FB21C651E98DF25u, SALT_LESS_ONE = 0xA24BAED4963EE407u;
static const uint64_t SALT_RARE = 0x8CB92BA72F3D8DD7u, SALT_WORD_LESS_ONE = 0xD8163841FDE6A8F9u;
static const int BITS[KINDS] = {512, 512, 256, 128, 128}, BEGIN[KINDS + 1] = {0, 8, 16, 20, 22, 24};
static const double WEIGHTS[KINDS] = {0.33, 0.72, 1.0, 0.33, 0.65};

typedef struct {
    uint64_t bits[24];
    float masses[3];
    int is_made;
} Sketch;

typedef struct {
    const Filter *filter;
    Text text;
    Features features;
    Sketch sketch;
    int symbolic;
    double answer;
    uint64_t answer_bits; /* all if it is unknown */
    uint64_t wanted[MOST_WANTED]; /* keys under which items are looked up */
    int64_t wanted_count;
    int32_t *seen; /* [items] the last `number` with which each was looked at */
    int32_t number;
    uint8_t hint_pairs[1 << 13]; /* a bit per first two letters of a hint */
} State;

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

static int has_item(const Filter *filter, const Text *text)
{
    uint64_t *pairs = (uint64_t *)text->marks; /* not used any more */
    if (text->count && locate(&filter->whole, gram(text, text->sums, 0, text->count)) >= 0)
        return 1;
    for (int64_t at = 0; at + 2 <= text->count; at++) {
        pairs[at] = gram(text, text->sums, at, 2);
        prepare(&filter->anchors, pairs[at]);
    }
    for (int64_t at = 0; at + 2 <= text->count; at++) {
        int64_t key = locate(&filter->anchors, pairs[at]);
        if (key < 0)
            continue;
        for (uint32_t i = filter->anchors.starts[key]; i < filter->anchors.starts[key + 1]; i++) {
            int32_t item = filter->anchors.values[i];
            int64_t place = at - filter->anchor_places[item];
            int64_t size = filter->item_offsets[item + 1] - filter->item_offsets[item];
            if (place < 0 || place + size > text->count ||
                gram(text, text->sums, place, size) != filter->item_runs[item])
                continue;
            if (size >= CONTAINED || size == text->count || !place || ends_sentence(text, place))
                return 1;
        }
    }
    return 0;
}

/* Where spaces between words may be missing, see spaceless.py. */
static int may_lack_spaces(const Text *text, int is_statement)
{
    if (text->longest_word >= JOINED)
        return 1;
    if (!is_statement)
        return 0;
    return text->count <= FEW || (double)(text->ends[text->count - 1] - text->starts[0]) > DENSE * (double)text->count;
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

/* Rules `ngram_lcs`, whose n-grams consist of runs of SHARED tokens, and `structure`. */
static int shares_run(State *state, int is_statement)
{
    const Filter *filter = state->filter;
    const Text *text = &state->text;
    uint64_t *runs = (uint64_t *)text->marks; /* not used any more */
    int64_t ngram = filter->ngram, together = 0;
    int structure = is_statement && filter->structure_ratio > 0;
    if (ngram && ngram < SHARED)
        return 1;
    state->number++;
    for (int64_t at = 0; at + SHARED <= text->count; at++) {
        runs[at] = gram(text, text->skeletons, at, SHARED);
        prepare_run(filter, runs[at]);
    }
    for (int64_t at = 0; at + SHARED <= text->count; at++) {
        if (!is_run(filter, runs[at])) {
            together = 0;
            continue;
        }
        int64_t start = at + SHARED - ngram;
        if (ngram && ++together > ngram - SHARED && locate(&filter->grams, gram(text, text->sums, start, ngram)) >= 0)
            return 1;
        if (structure && is_structure(state, runs[at]))
            return 1;
    }
    return 0;
}

static int differ(double one, double other)
{
    double largest = fmax(fmax(fabs(one), fabs(other)), 1.0);
    return fabs(one - other) > TOLERANCE * largest; /* unknown answers do not */
}

static int rules_out(double own, const double *theirs)
{
    if (!differ(own, theirs[0]))
        return 0;
    for (int i = 1; i < 4; i++)
        if (!isnan(theirs[i]) && !differ(own, theirs[i]))
            return 0;
    return 1;
}

static void set_bit(Sketch *sketch, int kind, uint64_t hash)
{
    uint64_t bit = (hash >> 40) & (uint64_t)(BITS[kind] - 1);
    ((uint8_t *)(sketch->bits + BEGIN[kind]))[bit >> 3] |= (uint8_t)(0x80 >> (bit & 7));
}

static void make_sketch(State *state)
{
    Sketch *sketch = &state->sketch;
    Features *features = &state->features;
    double words = 0, formulas = 0, numbers = 0;
    if (sketch->is_made)
        return;
    memset(sketch, 0, sizeof *sketch);
    distinguish(features);
    for (int64_t i = 0; i < features->distinct_count; i++) {
        const Feature *word = features->distinct + i;
        set_bit(sketch, word->is_formula ? 2 : word->weight > FAMILIAR, word->hash);
        words += word->weight;
        formulas += word->is_formula;
    }
    for (int64_t i = 0; i < features->number_count; i++) {
        set_bit(sketch, 3 + (features->numbers[i].weight > COMMONPLACE), features->numbers[i].hash);
        numbers += features->numbers[i].weight;
    }
    sketch->masses[0] = (float)words, sketch->masses[1] = (float)formulas, sketch->masses[2] = (float)numbers;
    sketch->is_made = 1;
}

static double weighed(const uint64_t *bits, int kind)
{
    int count = 0;
    for (int i = BEGIN[kind]; i < BEGIN[kind + 1]; i++)
        count += __builtin_popcountll(bits[i]);
    return WEIGHTS[kind] * count;
}

/* sketches.score */
static double score(const State *state, int64_t item)
{
    const Filter *filter = state->filter;
    const uint64_t *ours = state->sketch.bits, *theirs = filter->sketch_bits + 24 * item;
    const float *masses = filter->sketch_masses + 3 * item;
    uint64_t both[24], lacking[24], added[24];
    double sums[3], result = 0;
    for (int i = 0; i < 24; i++) {
        both[i] = ours[i] & theirs[i];
        lacking[i] = theirs[i] & ~ours[i];
        added[i] = ours[i] & ~theirs[i];
    }
    for (int i = 0; i < 3; i++)
        sums[i] = (double)state->sketch.masses[i] + (double)masses[i];
    double words = weighed(both, 0) + weighed(both, 1), formulas = weighed(both, 2);
    double lost = weighed(lacking, 3) + weighed(lacking, 4), more = weighed(added, 3) + weighed(added, 4);
    double similar = fmin(2 * words / (sums[0] + 1e-3), 1), alike = fmin(2 * formulas / (sums[1] + 1e-3), 1);
    double numbers = fmax((sums[2] - lost - more) / 2, 0);
    double agreement = (numbers + 0.3) / (sums[2] / 2 + 0.3);
    double inputs[9] = {1, similar, log1p(words), log1p(numbers), log1p(lost), log1p(more), agreement * similar,
                        alike, log1p(formulas)};
    const double *weights = filter->coarse + 9 * (state->symbolic && filter->sketch_symbolic[item]);
    for (int i = 0; i < 9; i++)
        result += weights[i] * inputs[i];
    return result;
}

/* Whether a key is one of likely items. Each loop reads ahead for the next one: the tables fit no cache. */
static int is_any_likely(State *state, const Table *table, const uint64_t *answers)
{
    uint64_t *wanted = state->wanted;
    int64_t left = 0, found = 0;
    for (int64_t i = 0; i < state->wanted_count; i++) {
        wanted[left] = wanted[i];
        if (is_possible(table, wanted[i]))
            __builtin_prefetch(table->buckets + (wanted[left++] >> table->bucket_shift));
    }
    for (int64_t i = 0; i < left; i++)
        __builtin_prefetch(table->keys + bucket_of(table, wanted[i]));
    for (int64_t i = 0; i < left; i++) {
        int64_t key = locate(table, wanted[i]);
        if (key < 0)
            continue;
        wanted[found++] = (uint64_t)key;
        __builtin_prefetch(answers + key), __builtin_prefetch(table->starts + key);
    }
    left = found, found = 0;
    for (int64_t i = 0; i < left; i++) {
        if (!(answers[wanted[i]] & state->answer_bits))
            continue;
        __builtin_prefetch(table->values + table->starts[wanted[i]]);
        wanted[found++] = wanted[i];
    }
    for (int64_t i = 0; i < found; i++) {
        for (uint32_t at = table->starts[wanted[i]]; at < table->starts[wanted[i] + 1]; at++) {
            int32_t item = table->values[at];
            if (state->seen[item] == state->number)
                continue;
            state->seen[item] = state->number;
            if (rules_out(state->answer, state->filter->item_answers + 4 * item))
                continue;
            make_sketch(state);
            if (!(score(state, item) < -MARGIN))
                return 1;
        }
    }
    return 0;
}

static void want(State *state, const Table *table, uint64_t hash)
{
    state->wanted[state->wanted_count++] = hash;
    prepare(table, hash);
}

static void want_set_and_words(State *state, uint64_t set)
{
    const Features *features = &state->features;
    uint64_t base = mix(set);
    if (locate(&state->filter->sets, base) >= 0)
        for (int64_t i = 0; i < features->word_count; i++)
            want(state, &state->filter->keys, mix(base + features->words[i].hash));
}

typedef struct {
    int32_t items;
    uint64_t hash;
} Rare;

static void want_word_pairs(State *state)
{
    Rare rarest[RAREST];
    Features *features = &state->features;
    const Table *frequency = &state->filter->frequency;
    int count = 0;
    distinguish(features);
    for (int64_t i = 0; i < features->distinct_count; i++) {
        uint64_t hash = features->distinct[i].hash;
        int64_t key = locate(frequency, hash);
        if (key < 0)
            continue;
        int32_t items = frequency->values[frequency->starts[key]];
        int at = count;
        while (at > 0 && rarest[at - 1].items > items) /* words come in the order of their hashes */
            at--;
        if (at == RAREST)
            continue;
        count += count < RAREST;
        for (int place = count - 1; place > at; place--)
            rarest[place] = rarest[place - 1];
        rarest[at] = (Rare){items, hash};
    }
    for (int one = 0; one < count; one++)
        for (int other = one + 1; other < count; other++)
            want(state, &state->filter->keys, mix(mix(rarest[one].hash) + mix(rarest[other].hash)));
}

/* The keys of the numbers, whose hashes have the sum `whole`. */
static void want_sets(State *state, uint64_t whole)
{
    const Features *features = &state->features;
    const Table *keys = &state->filter->keys;
    int64_t numbers = features->number_count;
    if (numbers > 0) {
        want_set_and_words(state, whole * SALT_RARE);
        want_set_and_words(state, whole * SALT_WORD_LESS_ONE);
    }
    if (numbers > 1) {
        want(state, keys, mix(whole + SALT_SET));
        want(state, keys, mix(whole + SALT_LESS_ONE));
    }
    for (int64_t i = 0; i < numbers; i++) {
        double weight = features->numbers[i].weight;
        uint64_t hash = features->numbers[i].hash, less = whole - mix(hash);
        if (weight >= RARE_NUMBER)
            want(state, keys, mix(hash + SALT_RARE));
        if (numbers == 1 && weight >= INFORMATIVE)
            want(state, keys, mix(whole + SALT_SET));
        if (numbers > 2)
            want(state, keys, mix(less + SALT_SET));
        if (numbers > 1 && numbers <= LEFT_OUT)
            want_set_and_words(state, less * SALT_RARE);
    }
}

/* candidates.py and `unnumbered`. */
static int may_rephrase(State *state)
{
    const Filter *filter = state->filter;
    Features *features = &state->features;
    if (state->text.count > LONGEST)
        return 0;
    if (!read_numbers(filter, &state->text, features))
        return 1;
    read_words(filter, &state->text, features);
    state->sketch.is_made = 0;
    state->number++;
    state->symbolic = 2 * features->ideographs + features->variables > 1;
    int64_t numbers = features->number_count;
    int informative = 0;
    uint64_t whole = 0;
    for (int64_t i = 0; i < numbers; i++) {
        informative += features->numbers[i].weight < INFORMATIVE ? 1 : 2;
        whole += mix(features->numbers[i].hash);
    }
    int few_numbers = informative < 2;
    if (few_numbers && features->variables > 1)
        return 1;
    state->wanted_count = 0;
    if (state->symbolic) {
        for (int64_t i = 0; i < features->word_count; i++)
            want(state, &filter->rare, features->words[i].hash);
        if (is_any_likely(state, &filter->rare, filter->rare_answers))
            return 1;
    }
    if (numbers > MOST_NUMBERS)
        return 0;
    state->wanted_count = 0;
    want_sets(state, whole);
    if (few_numbers || state->symbolic)
        want_word_pairs(state);
    return is_any_likely(state, &filter->keys, filter->key_answers);
}

static int may_match(State *state, int is_statement)
{
    const Filter *filter = state->filter;
    const Text *text = &state->text;
    if ((filter->ngram || filter->structure_ratio > 0) && shares_run(state, is_statement))
        return 1;
    if (filter->exact && (has_item(filter, text) || may_lack_spaces(text, is_statement)))
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
    uint64_t *eights = calloc(size, 9 * 8);
    uint8_t *bytes = calloc(size, 4 + 4);
    if (state && seen && eights && bytes) {
        Text *text = &state->text;
        state->filter = filter, state->seen = seen, text->wide = wide != 0;
        learn_hints(state);
        text->marks = (int64_t *)eights, text->starts = text->marks + size, text->ends = text->starts + size;
        text->hashes = eights + 3 * size, text->sums = eights + 4 * size, text->skeletons = eights + 5 * size;
        text->powers = eights + 6 * size, text->inverses = eights + 7 * size, text->bones = eights + 8 * size;
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
