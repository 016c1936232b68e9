/* prepare_state: what `prepare` keeps beside its chunks: the saved position while it runs, the manifest when it is
 * done.
 *
 * prepare_{set}.json: position, counts and identity (a digest of settings, files and tokenizer); beside it, for each
 * stream, prepare_{set}.{stream}.{generation}.tail: the tokens not yet in a chunk, as a chunk file. The json file names
 * its generation and is replaced atomically, so tails and position always belong together. None of these names looks
 * like a chunk's. */
#ifndef MDM_DATA_PREPARE_STATE_H
#define MDM_DATA_PREPARE_STATE_H
#include <stdint.h>
#include "data/prepare.h"

struct chunk_writer;

struct prepare_state {
    const struct prepare_settings *s;
    const struct tokenizer *tokenizer;
    char set[200];                     /* {split}_{name} */
    char prefix[PREPARE_STREAMS][200]; /* {split}_{name}, validation_{name} */
    int streams;                       /* 1, or 2 with a validation share */
    char identity[17];
    int lock; /* of the folder */
    int64_t generation;
    struct chunk_writer *writer[PREPARE_STREAMS];
    struct prepare_counts counts;
};

/* By all ranks, which must see the same; rank 0 alone has the folder, and saves and finishes. Names and identity; makes the
 * folder and locks it; opens the writers, at the saved position when there is one (*resumed). When the manifest has this
 * set already, *complete. Other settings' remains, another tokenizer's data, streams that another set has, and chunks
 * that are gone are errors. Also after an error prepare_state_close() must be called. */
int prepare_state_open(struct prepare_state *st, const struct prepare_settings *s, const struct tokenizer *t,
                       bool *resumed, bool *complete, struct err *err);
int prepare_state_save(struct prepare_state *st, struct err *err);
/* Last chunks, the tokenizer's files, manifest, then the state files are removed. Fills last[] (see struct prepare_result). */
int prepare_state_finish(struct prepare_state *st, int64_t last[PREPARE_STREAMS], struct err *err);
void prepare_state_close(struct prepare_state *st); /* writers; what is saved stays */
/* Remove what was saved (a run that found nothing). */
void prepare_state_forget(struct prepare_state *st);

#endif
