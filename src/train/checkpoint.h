/* checkpoint: the whole state of a training run in one safetensors file, so that a resumed run goes on bit for bit.
 *
 * RUN/checkpoint-{step, 8 digits or more}.safetensors holds `param/<name>`, `adam_m/<name>`, `adam_v/<name>` (f32) and metadata
 * `mdm_checkpoint` = JSON {"version": 4, "step", "tokens", "flops", "sequence", "source", "validation",
 * "recent_loss", "crc32", "config"}. Written whole under a temporary name, then renamed: a crash leaves the old files or
 * the new one. "crc32" covers the tensors' data and then the metadata as compact JSON with sorted keys, itself left out.
 * Nothing in it depends on time or on the machine's load. Version 3 had "seconds", the time of training.
 * Version 2 had no "validation", and a checksum of the tensors alone.
 * Version 1 had "data", a fingerprint that left out the contents and the mixture, in place of "source". */
#ifndef MDM_TRAIN_CHECKPOINT_H
#define MDM_TRAIN_CHECKPOINT_H
#include <stdbool.h>
#include <stdint.h>

#include "train/shards.h"

struct err;

struct checkpoint {
    int64_t step; /* optimizer steps done */
    double tokens, flops;
    uint64_t sequence;   /* next example of the run: the data's position */
    uint64_t source;     /* fingerprint of the source; */
    bool source_known;   /* false: a file of version 1 */
    uint64_t validation; /* fingerprint of what was validated on; 0: nothing yet, or a file before version 3 */
    double recent_loss;  /* smoothed loss that the divergence check goes on from */
};

/* Write RUN/checkpoint-….safetensors, then remove all but the newest `keep`. w, m, v: what each rank keeps (shards.h).
 * Called by all ranks; fails on all when it fails on one. */
int checkpoint_save(const char *run, const struct checkpoint *c, const struct shards *s, const struct config *config,
                    const float *w, const float *m, const float *v, int keep, struct err *err);
/* Newest checkpoint of the run into w, m, v: 1 loaded, 0 there is none, -1 err (damaged, or of another model). Called by
 * all ranks, likewise. */
int checkpoint_load(const char *run, struct checkpoint *c, const struct shards *s, const struct config *config,
                    float *w, float *m, float *v, struct err *err);
/* What a checkpoint file says of itself; verifies its checksum. For `mdm inspect`. */
int checkpoint_inspect(const char *path, struct checkpoint *c, struct err *err);
/* Path of the newest checkpoint in `run`: 1 and out, 0 none, -1 err. */
int checkpoint_newest(const char *run, char *out, struct err *err);

#endif
