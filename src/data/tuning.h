/* tuning: a fine-tuning set in memory, as examples with prompts: what training reads through a source (data/source.h).
 *
 *     struct tuning *set;
 *     tuning_open(&set, "train.jsonl", &settings, &err);
 *     tuning_split(&train, &valid, set, 0.1, seed, &err);            // a tenth of the records is held out
 *     struct source s = tuning_source(&train, 16);                   // groups of 16
 *     …
 *     tuning_part_free(&train), tuning_part_free(&valid), tuning_close(set);
 *
 * Each piece of a record's text is tokenised by itself. Every piece that is learned makes an example: all that stands
 * before it in the record is its prompt, and the end id follows where the form says so. So a conversation gives an
 * example for each answer in it, and a line of gsm8k two; they share their ids. */
#ifndef MDM_DATA_TUNING_H
#define MDM_DATA_TUNING_H
#include "data/source.h"
#include "data/tuning_file.h"

struct err;
struct tokenizer;
struct tuning;

enum tuning_begin { BEGIN_PIECES, BEGIN_RECORD, BEGIN_NONE }; /* before which texts the tokenizer's begin id stands */

struct tuning_settings {
    struct tuning_text text;
    const struct tokenizer *tokenizer;
    enum tuning_begin begin;
    int64_t length;  /* longer examples are left out; */
    bool whole;      /* then all of their record are */
    bool fill;       /* shorter ones are filled up to it with end ids */
    bool causal;     /* an example's first id is not predicted */
    int32_t mask;    /* no text may have this id; -1: none is forbidden */
    bool keep_going; /* a bad record is left out, not an error */
};
struct tuning_counts {
    int64_t records, passed, bad, too_long; /* too_long: records that lost an example or all */
};

int tuning_open(struct tuning **out, const char *path, const struct tuning_settings *s, struct err *err);
void tuning_close(struct tuning *t); /* NULL is fine */
struct tuning_counts tuning_counts(const struct tuning *t);
int64_t tuning_examples(const struct tuning *t);
/* Example i, in the file's order, as a source gives it. ids [settings.length], or NULL. */
void tuning_example(const struct tuning *t, int64_t i, int32_t *ids, struct example *e);

struct tuning_part { /* some of a set's examples */
    const struct tuning *set;
    int64_t *numbers;
    int64_t n;
    bool shuffled; /* anew in each pass; else in the file's order */
    uint64_t seed;
};
/* `held_out` of the records to valid, drawn by (seed, record), the others, shuffled, to train. */
int tuning_split(struct tuning_part *train, struct tuning_part *valid, const struct tuning *set, double held_out,
                 uint64_t seed, struct err *err);
void tuning_part_free(struct tuning_part *p);
/* One pass follows the other, so that a group may lie on both sides of the seam. The part is borrowed. */
struct source tuning_source(struct tuning_part *p, int64_t group);

#endif
