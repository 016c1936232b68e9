/* prepare: files of documents → chunk files of token ids, with every core, resumable, and the same for any number of
 * them.
 *
 *     struct prepare_settings s = {.out = "data", .split = "train", .name = "plain", .sources = &sources, .eos = true,
 *                                  .chunk_tokens = CHUNK_TOKENS, .threads = 8};
 *     prepare_run(&s, tokenizer, &result, &err);
 *
 * One thread reads records, `threads` take their text out and tokenize it, the caller's thread deals documents to the
 * splits in their order and writes. With finished chunks the position and the tokens not yet in a chunk are saved in
 * `prepare_*` files; a run that was stopped or killed goes on from there and ends with the same bytes. At the end
 * `manifest.json` tells what was made of what, and the `prepare_*` files go. Of several ranks each reads all files and
 * tokenizes its share; rank 0 writes. */
#ifndef MDM_DATA_PREPARE_H
#define MDM_DATA_PREPARE_H
#include <stdbool.h>
#include <stdint.h>
#include "data/reader.h"
#include "data/sources.h"

struct err;
struct tokenizer;

struct prepare_settings {
    const char *out;          /* folder, made if missing */
    const char *split, *name; /* chunk files are {split}_{name}_0_{number}.bin */
    const struct sources *sources;
    struct reader_settings reader;
    double validation; /* share of documents, chosen by their hash, that go to validation_{name}_0_{number}.bin */
    bool bos, eos;     /* ids before and after each document */
    int64_t limit_documents, limit_tokens; /* 0: none. The document in which tokens run out is cut. */
    int64_t chunk_tokens;
    int threads;
    double save_seconds; /* the position is saved with a finished chunk, but not more often than this */
};

enum { PREPARE_MAIN, PREPARE_VALIDATION, PREPARE_STREAMS };

struct prepare_counts {
    int64_t file, record; /* the next record to read */
    int64_t documents, skipped, empty, text_bytes, tokens;
    struct {
        int64_t documents, tokens, files;
    } stream[PREPARE_STREAMS];
};

struct prepare_result {
    struct prepare_counts counts;
    int64_t bytes_read;            /* of the files, in this run, from the beginning of the one it went on in */
    int64_t tokens_before;         /* from earlier runs that this one continued */
    int64_t last[PREPARE_STREAMS]; /* tokens of the last chunk where it is shorter than the others, else 0 */
    double seconds;
    bool resumed;  /* went on from a saved position */
    bool stopped;  /* stop_asked(): the position is saved */
    bool limited;  /* ended by a limit, not by the end of the files */
    bool complete; /* was finished before this run, with the same settings and files: nothing done */
};

int prepare_run(const struct prepare_settings *s, const struct tokenizer *t, struct prepare_result *result,
                struct err *err);

#endif
