/* The arrays of an index and of the lexicon, as `prefilter.py` passes them. Every field has eight bytes. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct { /* tables.Table */
    const uint64_t *keys;
    const uint32_t *starts;
    const int32_t *values;
    const uint8_t *bits;
    const uint32_t *buckets;
    int64_t count, bit_shift, bucket_shift;
} Table;

typedef struct {
    const uint64_t *keys;            /* after a first entry that means none */
    const uint16_t *slots;           /* [mask + 1] the entry of each, or 0; probed linearly */
    uint64_t mask;
} Vocabulary;

typedef struct {
    const char *hints;               /* of prompts, see prompts.py; each ends with a zero, the last with two */
    /* Characters and tokens, see tokenization.py. */
    const uint8_t *classes;          /* [65536] */
    const uint32_t *greek_letters;   /* sorted */
    const uint64_t *greek_names;
    const uint64_t *command_keys;    /* sorted */
    const uint64_t *command_values;
    int64_t greek_count, command_count;
    uint64_t number;                 /* the placeholder of a number in a skeleton */
    const uint64_t *runs;            /* two bits per run of SHARED tokens of an item, without its numbers */
    int64_t run_shift;
    /* Rules, and whether each applies: n-gram length or 0, 0 or 1, ratio or 0, 0 or 1. */
    int64_t ngram, exact;
    double structure_ratio;
    int64_t rephrased;
    Table grams, whole, anchors, heads, skeletons, keys, rare, sets, frequency;
    const int64_t *item_offsets;     /* [items + 1] */
    const uint64_t *item_bones;      /* [tokens] without numbers */
    const int32_t *anchor_places;    /* [items] */
    const uint64_t *item_runs;       /* [items] */
    const double *item_answers;      /* [items, 4] */
    const uint64_t *key_entries;     /* [keys, 2] a key, and a bit per answer of its items, see `answer_bits` */
    const uint64_t *rare_entries, *set_entries;
    const uint64_t *sketch_bits;     /* [items, 24] */
    const float *sketch_masses;      /* [items, 3] */
    const uint8_t *sketch_symbolic;  /* [items] */
    const double *coarse;            /* [2, 9] */
    int64_t item_count;
    /* lexicon.Lexicon */
    Vocabulary spelled, counted, words;
    const uint64_t *spelled_values;
    const uint8_t *is_tens, *is_unit;
    const uint64_t *compounds;       /* [spelled, spelled] */
    int64_t spelled_count;
    const double *counted_weights;
    const uint64_t *representatives;
    const double *word_weights;
    const uint64_t *articles;
    int64_t article_count;
    const uint32_t *numerals;        /* Chinese digits and powers */
    const int64_t *numeral_values;
    int64_t numeral_count;
} Filter;

static inline uint64_t mix(uint64_t value)
{
    value ^= value >> 32;
    value *= 0xD6E8FEB86659FD93u;
    return value ^ (value >> 32);
}

/* Reads ahead what `is_possible` reads. */
static inline void prepare(const Table *table, uint64_t hash)
{
    __builtin_prefetch(table->bits + (hash >> table->bit_shift >> 3));
}

/* Whether a hash may be a key: false for most of those that are not. */
static inline int is_possible(const Table *table, uint64_t hash)
{
    uint64_t slot = hash >> table->bit_shift;
    return (table->bits[slot >> 3] >> (slot & 7)) & 1;
}

/* The first key of the hash's bucket. */
static inline int64_t bucket_of(const Table *table, uint64_t hash)
{
    return table->buckets[hash >> table->bucket_shift];
}

/* The position of a key, or -1. */
static inline int64_t locate(const Table *table, uint64_t hash)
{
    if (!is_possible(table, hash))
        return -1;
    int64_t end = table->buckets[(hash >> table->bucket_shift) + 1];
    for (int64_t at = bucket_of(table, hash); at < end; at++)
        if (table->keys[at] == hash)
            return at;
    return -1;
}

static inline void prepare_run(const Filter *filter, uint64_t hash)
{
    __builtin_prefetch(filter->runs + (hash >> filter->run_shift));
}

/* Whether an item may have this run. */
static inline int is_run(const Filter *filter, uint64_t hash)
{
    uint64_t bits = (uint64_t)1 << (hash & 63) | (uint64_t)1 << (hash >> 6 & 63);
    return (filter->runs[hash >> filter->run_shift] & bits) == bits;
}

/* 1 + the position of a key, or 0. */
static inline int64_t entry(const Vocabulary *vocabulary, uint64_t hash)
{
    const uint64_t *keys = vocabulary->keys;
    uint64_t at = hash & vocabulary->mask;
    int64_t found = vocabulary->slots[at], same = keys[found] == hash;
    while ((found != 0) & !same) { /* rarely: nobody can foresee which words are known */
        at = (at + 1) & vocabulary->mask;
        found = vocabulary->slots[at], same = keys[found] == hash;
    }
    return same ? found : 0;
}
