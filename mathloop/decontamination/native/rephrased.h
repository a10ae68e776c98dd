/* Rule `rephrased`: the items that share a key with a statement, see candidates.py, and are likely the same. */

enum { MOST_NUMBERS = 12, RAREST = 8, LEFT_OUT = 3, KINDS = 5 };
static const double RARE_NUMBER = 0.85, INFORMATIVE = 0.5, FAMILIAR = 0.5, COMMONPLACE = 0.45;
static const double TOLERANCE = 1e-6, MARGIN = 1e-3, WORTHWHILE = 0.25;
static const uint64_t SALT_SET = 0x9FB21C651E98DF25u, SALT_LESS_ONE = 0xA24BAED4963EE407u;
static const uint64_t SALT_RARE = 0x8CB92BA72F3D8DD7u, SALT_WORD_LESS_ONE = 0xD8163841FDE6A8F9u;
static const int BITS[KINDS] = {512, 512, 256, 128, 128}, BEGIN[KINDS + 1] = {0, 8, 16, 20, 22, 24};
static const double WEIGHTS[KINDS] = {0.33, 0.72, 1.0, 0.33, 0.65};

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

/* The words, which half of all statements are passed over without. */
static const Features *with_words(State *state)
{
    if (!state->has_words)
        read_words(state->filter, &state->text, &state->features);
    state->has_words = 1;
    return &state->features;
}

static void make_sketch(State *state)
{
    Sketch *sketch = &state->sketch;
    double words = 0, formulas = 0, numbers = 0;
    if (sketch->is_made)
        return;
    const Features *features = with_words(state);
    memset(sketch, 0, sizeof *sketch);
    for (int64_t i = 1; i <= features->word_count; i++) {
        const Feature *word = features->words + i;
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

/* Whether a wanted key is one of likely items. `entries`: [keys, 2] each key, and a bit per answer of its items.
 * Each loop reads ahead for the next one: the tables fit no cache. */
static int is_any_likely(State *state, const Table *table, const uint64_t *entries)
{
    uint64_t *wanted = state->wanted;
    int64_t left = 0, found = 0;
    for (int64_t i = 0; i < state->wanted_count; i++) {
        wanted[left] = wanted[i];
        if (is_possible(table, wanted[i]))
            __builtin_prefetch(table->buckets + (wanted[left++] >> table->bucket_shift));
    }
    for (int64_t i = 0; i < left; i++)
        __builtin_prefetch(entries + 2 * bucket_of(table, wanted[i]));
    for (int64_t i = 0; i < left; i++) {
        int64_t end = table->buckets[(wanted[i] >> table->bucket_shift) + 1];
        for (int64_t at = bucket_of(table, wanted[i]); at < end; at++)
            if (entries[2 * at] == wanted[i]) {
                if (entries[2 * at + 1] & state->answer_bits) {
                    wanted[found++] = (uint64_t)at;
                    __builtin_prefetch(table->starts + at);
                }
                break;
            }
    }
    for (int64_t i = 0; i < found; i++)
        __builtin_prefetch(table->values + table->starts[wanted[i]]);
    for (int64_t i = 0; i < found; i++) {
        for (uint32_t at = table->starts[wanted[i]]; at < table->starts[wanted[i] + 1]; at++) {
            int32_t item = table->values[at];
            if (state->seen[item] == state->number)
                continue;
            state->seen[item] = state->number;
            if (rules_out(state->answer, state->filter->item_answers + 4 * item))
                continue;
            make_sketch(state);
            if (!(score(state, item) < WORTHWHILE - MARGIN))
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
    uint64_t base = mix(set);
    int64_t key = locate(&state->filter->sets, base);
    if (key < 0 || !(state->filter->set_entries[2 * key + 1] & state->answer_bits))
        return;
    const Features *features = with_words(state);
    for (int64_t i = 1; i <= features->word_count; i++)
        want(state, &state->filter->keys, mix(base + features->words[i].hash));
}

typedef struct {
    int32_t items;
    uint64_t hash;
} Rare;

static void want_word_pairs(State *state)
{
    Rare rarest[RAREST];
    const Features *features = with_words(state);
    const Table *frequency = &state->filter->frequency;
    int count = 0;
    for (int64_t i = 1; i <= features->word_count; i++) {
        uint64_t hash = features->words[i].hash;
        int64_t key = locate(frequency, hash);
        if (key < 0)
            continue;
        int32_t items = frequency->values[frequency->starts[key]];
        int at = count;
        while (at > 0 && (rarest[at - 1].items > items ||
                          (rarest[at - 1].items == items && rarest[at - 1].hash > hash)))
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
    read_kinds(filter, &state->text, features);
    state->has_words = state->sketch.is_made = 0;
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
        with_words(state);
        for (int64_t i = 1; i <= features->word_count; i++)
            want(state, &filter->rare, features->words[i].hash);
        if (is_any_likely(state, &filter->rare, filter->rare_entries))
            return 1;
    }
    if (numbers > MOST_NUMBERS)
        return 0;
    state->wanted_count = 0;
    want_sets(state, whole);
    if (few_numbers || state->symbolic)
        want_word_pairs(state);
    return is_any_likely(state, &filter->keys, filter->key_entries);
}
