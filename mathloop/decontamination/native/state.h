/* What is known of one text, and what is kept between texts. */
#include "features.h"

enum { MOST_WANTED = 5 * 2 * LONGEST + 64 };

typedef struct {
    uint64_t bits[24];
    float masses[3];
    int is_made;
} Sketch;

typedef struct {
    const Filter *filter;
    Text text;
    Features features;
    int has_words; /* whether the words of `features` are read */
    Sketch sketch;
    int symbolic;
    double answer;
    uint64_t answer_bits; /* all if it is unknown */
    uint64_t wanted[MOST_WANTED]; /* keys under which items are looked up */
    int64_t wanted_count;
    int32_t *seen; /* [items] the last `number` with which each was looked at */
    int32_t number;
    uint8_t hint_bits[1 << 13]; /* a bit per hash of the first three letters of a hint */
} State;
