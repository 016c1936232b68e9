/* chunk: the `.bin` files of packed token ids that the published loader reads and writes (docs/formats.md), byte for byte.
 *
 * Layout, little-endian: "LITPKDS", u64 version 1, u8 dtype code (1 u8, 2 i8, 3 i16, 4 i32, 5 i64, 6 f32, 7 f64, 8
 * u16), u64 chunk length in tokens: 24 bytes; then the tokens. A last, partial chunk (ours) is simply a shorter file:
 * its header states its own length. */
#ifndef MDM_DATA_CHUNK_H
#define MDM_DATA_CHUNK_H
#include <stdbool.h>
#include <stdint.h>
#include "base/file.h"

struct err;

enum { CHUNK_HEADER = 24 };
enum { CHUNK_NAME_MAX = 320 };
#define CHUNK_TOKENS (2049 * 1024) /* published chunk length */
#define CHUNK_TOKENS_MAX (1 << 26) /* longest chunk the writer makes: it is held in memory until it is full */

/* What a writer's file is called: {prefix}_{worker}_{0000000000}.bin. */
void chunk_name(char out[CHUNK_NAME_MAX], const char *prefix, int worker, int64_t number);
bool chunk_named(const char *name); /* does it end as those do? */

struct chunk { /* one file, mapped */
    struct file_map map;
    int64_t tokens; /* as the header says, checked against the file's size */
    int dtype;      /* code as above; integers only are accepted */
    const void *data;
};

int chunk_open(struct chunk *c, const char *path, struct err *err);
void chunk_close(struct chunk *c);
/* ids of tokens [first, first + n) to out; an id outside [0, vocab) is an error that names file and place. */
int chunk_read(const struct chunk *c, int64_t first, int64_t n, int32_t *out, int64_t vocab, const char *path,
               struct err *err);

/* Writes files of chunk_tokens each into dir, as chunk_name() calls them; tokens below 2^16 use u16 when
 * vocab < 65500, else i32. */
struct chunk_writer;
struct chunk_writer *chunk_writer_open(const char *dir, const char *prefix, int worker, int64_t vocab,
                                       int64_t chunk_tokens, struct err *err);
int chunk_writer_add(struct chunk_writer *w, const int32_t *ids, int64_t n, struct err *err);
/* For a job that stops and goes on: chunk files finished so far (in all runs), and the tokens not yet in one, as ids. A
 * fresh writer takes both over with _restore(): the next file gets number `files` and begins with those ids. */
int64_t chunk_writer_files(const struct chunk_writer *w);
int64_t chunk_writer_pending(const struct chunk_writer *w);
int chunk_writer_save_pending(const struct chunk_writer *w, const char *path, struct err *err); /* as a chunk file */
int chunk_writer_restore(struct chunk_writer *w, int64_t files, const int32_t *ids, int64_t n, struct err *err);
/* Writes the last, shorter chunk (if any tokens are left). Frees w, also on failure. *files, *tokens may be NULL; they
 * count what restored runs wrote too. */
int chunk_writer_close(struct chunk_writer *w, int64_t *files, int64_t *tokens, struct err *err);
void chunk_writer_abort(struct chunk_writer *w); /* finished chunks stay, the current one is dropped; NULL is fine */

#endif
