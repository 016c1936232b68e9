/* chunkset: which chunk files are there to train on, or to validate with, and what is known of them.
 *
 *     struct chunkset set;
 *     chunkset_open(&set, "data", SPLIT_TRAIN, &err);
 *     for (i < set.n) use(set.files[i].path, set.files[i].tokens);
 *     chunkset_free(&set);
 *
 * A folder with a manifest.json (data/prepare) holds what that lists, each file with the length it should have. Without
 * one, as the published scripts leave it, the names decide. A name's first part, up to the first '_', is its split.
 * Training takes the split "train", or everything where there is none; never "validation", "valid" or "val", which
 * are what validation takes. A path to one file is a set of that file. */
#ifndef MDM_DATA_CHUNKSET_H
#define MDM_DATA_CHUNKSET_H
#include <jansson.h>
#include <stdint.h>

struct err;

enum split { SPLIT_TRAIN, SPLIT_VALIDATION };
enum { CHUNKSET_DIGEST = 32 };

struct chunkset_file {
    char *path;
    int64_t tokens;
};
struct chunkset {
    struct chunkset_file *files; /* in byte order of their names */
    int64_t n, capacity;
    char tokenizer
        [CHUNKSET_DIGEST]; /* digest of the tokenizer whose ids these are, as manifest.json says; "": not known */
    int64_t vocab;         /* of it; 0: not known */
    uint64_t fingerprint; /* of names, lengths and contents: of small sets whole, of large ones samples of every file */
};

/* Every file is opened and its header checked. No file is an error for SPLIT_TRAIN, and n = 0 for SPLIT_VALIDATION. */
int chunkset_open(struct chunkset *s, const char *path, enum split split, struct err *err);
void chunkset_free(struct chunkset *s); /* a zeroed one is fine */

/* A manifest.json: of the format and version that this program knows, with the object "sets". Caller json_decref()s. */
json_t *chunkset_manifest(const char *path, struct err *err);
/* Are the files of one set of the manifest in `dir`, each with its tokens? `where` begins messages about the set. */
int chunkset_check(const char *dir, json_t *set, const char *where, struct err *err);

#endif
