/* shard_file: one safetensors file of tensors that stand as in the flat buffer, written and read by all ranks together,
 * each its slices (shards.h). The bytes are the same whatever the ranks.
 *
 * Group g of the file holds, under names with its prefix, the first `rows` parameters of the table out of kept[g], what a
 * rank keeps of one flat buffer. All calls are made by all ranks, and fail on all when they fail on one. */
#ifndef MDM_TRAIN_SHARD_FILE_H
#define MDM_TRAIN_SHARD_FILE_H
#include "model/safetensors.h"
#include "train/shards.h"

struct err;

struct shard_file {
    const struct shards *shards;
    const char *const *prefixes;
    int groups, rows;
};

/* CRC-32 of the data of all tensors in the file's order: of what ranks keep, or, where that is NULL, of a mapped file that
 * shard_file_check() found right. */
uint32_t shard_file_crc(const struct shard_file *f, float *const *kept, const struct safetensors *mapped);
/* Atomically, as file_out_commit() says. metadata: as in safetensors_header(); that of rank 0 counts. */
int shard_file_write(const char *path, const struct shard_file *f, float *const *kept, const char *const *metadata,
                     struct err *err);
/* Has the file these tensors, in this order? On this rank alone. */
int shard_file_check(const struct shard_file *f, const struct safetensors *s, const char *path, struct err *err);
/* What this rank keeps, out of such a file. */
void shard_file_read(const struct shard_file *f, const struct safetensors *s, float *const *kept);

#endif
