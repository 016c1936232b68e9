/* kvstore: the past of one sequence: rotated keys and values of all layers.
 *
 *     struct kvstore *s;
 *     kvstore_open(&s, &config, 2048, DTYPE_BF16, &err);
 *     batch.past = &s, batch.append = true;      // transformer.h
 *     transformer_body(m, &batch);               // wrote keys and values behind the past
 *     kvstore_commit(s, batch.n);                // now they are the past; without it they never were
 *
 * A store belongs to one sequence and outlives every batch that names it. What lies below its length is not changed by a
 * batch, so a sequence may be taken back to any earlier length and go on from there. */
#ifndef MDM_MODEL_KVSTORE_H
#define MDM_MODEL_KVSTORE_H
#include <stdbool.h>
#include <stdint.h>

#include "compute/keys.h"
#include "model/config.h"

struct err;
struct kvstore;

/* For up to `capacity` positions, kept as f32 or bf16. -1 with err when the model has fewer positions or there is no
 * memory; nothing later can fail. */
int kvstore_open(struct kvstore **out, const struct config *c, int64_t capacity, enum dtype t, struct err *err);
void kvstore_close(struct kvstore *s); /* NULL is fine */
/* Bytes that opening one takes: for planning how many. */
int64_t kvstore_bytes(const struct config *c, int64_t capacity, enum dtype t);

int64_t kvstore_capacity(const struct kvstore *s);
int64_t kvstore_length(const struct kvstore *s);          /* committed positions */
void kvstore_commit(struct kvstore *s, int64_t n);        /* n of the positions last appended become past */
void kvstore_truncate(struct kvstore *s, int64_t length); /* to at most its length */

/* For transformer.c: is it of this shape; one layer of it; n positions were written behind the length. */
bool kvstore_fits(const struct kvstore *s, const struct config *c);
struct keys kvstore_layer(const struct kvstore *s, int64_t layer);
void kvstore_appended(struct kvstore *s, int64_t n);

#endif
