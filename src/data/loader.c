/* loader: the endless stream of training blocks as a function of the block's number. Nothing is remembered between
 * calls but a few open files, so any block can be asked for at any time, by one thread at a time.
 *
 * Mixing: weights become whole shares of 1000; one arrangement of 1000 slots, the same for every round, says whose turn
 * it is, so any 1000 blocks in a row hold the exact shares. A share is never rounded to nothing.
 * Shuffling: the files of a source are put in an order drawn once from the seed; `window` of them in a row form a
 * window; inside it blocks are permuted by a small cipher (rng_permute), keyed by source, epoch and window: no table, no
 * state.
 * Without a window there is neither: the files of a source in their order, the sources one behind the other. */
#include "data/loader.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/rng.h"
#include "data/chunk.h"
#include "base/hash.h"

enum { SLOTS = 1000, SOURCES_MAX = 256, OPEN_MAX = 256 };

struct file {
    char *path;
    int64_t blocks;
    int64_t first; /* blocks of this source before this file, in the shuffled order of files */
};

struct mixed_source {
    struct file *files;
    int64_t n, capacity, blocks;
    double weight;
    int share; /* slots of every round */
};

struct open_file {
    const struct file *file;
    struct chunk chunk;
    int64_t used; /* when */
};

struct loader {
    struct loader_settings s;
    struct mixed_source *sources;
    int n;
    char tokenizer[CHUNKSET_DIGEST]; /* of the sources opened so far */
    uint64_t fingerprint;
    int16_t slot_source[SLOTS]; /* whose turn it is */
    int16_t slot_rank[SLOTS];   /* how many of this source's slots come before */
    struct open_file open[OPEN_MAX];
    int nopen, open_limit;
    int64_t clock;
};

/* What is shuffled, as the generator's sample number: the files of a source once, its windows in every epoch. */
static uint64_t shuffle_sample(uint64_t source, uint64_t epoch, uint64_t window) {
    uint64_t key[3] = {source, epoch, window};
    return hash_finish(hash_add(HASH_START, key, sizeof key));
}

/* The set's files that have a block. */
static int take_files(struct loader *l, struct mixed_source *src, struct chunkset *set, struct err *err) {
    for (int64_t i = 0; i < set->n; i++) {
        int64_t blocks = set->files[i].tokens / l->s.block;
        if (blocks == 0) continue;
        if (mem_grow(&src->files, &src->capacity, src->n + 1, sizeof *src->files, "list of chunk files", err) < 0)
            return -1;
        src->files[src->n++] = (struct file){.path = set->files[i].path, .blocks = blocks};
        src->blocks += blocks;
        set->files[i].path = NULL; /* it is the source's now */
    }
    return 0;
}

/* Ids mean something in their tokenizer alone. */
static int check_tokenizer(struct loader *l, const struct chunkset *set, const char *path, struct err *err) {
    if (!set->tokenizer[0]) return 0;
    if (set->vocab > l->s.vocab)
        return err_set(err, "%s: prepared with a vocabulary of %lld, expected at most the model's %lld", path,
                       (long long)set->vocab, (long long)l->s.vocab);
    if (l->s.tokenizer && strcmp(l->s.tokenizer, set->tokenizer) != 0)
        return err_set(err, "%s: prepared with another tokenizer (digest %s) than the run's (%s)", path, set->tokenizer,
                       l->s.tokenizer);
    if (l->tokenizer[0] && strcmp(l->tokenizer, set->tokenizer) != 0)
        return err_set(err, "%s: prepared with another tokenizer (digest %s) than the data before it (%s)", path,
                       set->tokenizer, l->tokenizer);
    memcpy(l->tokenizer, set->tokenizer, sizeof l->tokenizer);
    return 0;
}

/* Put the files in the order drawn from the seed and count what comes before each. */
static int arrange_files(struct loader *l, int number, struct err *err) {
    struct mixed_source *src = &l->sources[number];
    struct file *order = mem_alloc(src->n, sizeof *order, "list of chunk files", err);
    if (!order) return -1;
    uint64_t sample = shuffle_sample((uint64_t)number, UINT64_MAX, 0);
    for (int64_t i = 0; i < src->n; i++) {
        int64_t j = i;
        if (l->s.window > 0) j = (int64_t)rng_permute((uint64_t)i, (uint64_t)src->n, l->s.seed, RNG_SHUFFLE, sample);
        order[i] = src->files[j];
        order[i].first = i == 0 ? 0 : order[i - 1].first + order[i - 1].blocks;
    }
    mem_free(src->files);
    src->files = order;
    return 0;
}

/* 1: opened; 0: it has no chunks of the split. */
static int open_source(struct loader *l, int number, const struct loader_source *from, struct err *err) {
    struct mixed_source *src = &l->sources[number];
    struct chunkset set;
    src->weight = from->weight;
    if (chunkset_open(&set, from->path, l->s.split, err) < 0) return -1;
    bool any = set.n > 0;
    int r = any ? check_tokenizer(l, &set, from->path, err) : 0;
    if (r == 0) r = take_files(l, src, &set, err);
    l->fingerprint = hash_add(l->fingerprint, &set.fingerprint, sizeof set.fingerprint);
    chunkset_free(&set);
    if (r == 0 && any && src->blocks == 0)
        r = err_set(err,
                    "%s: no %schunk file there holds one block of %lld tokens: prepare more text or use shorter blocks",
                    from->path, l->s.split == SPLIT_VALIDATION ? "validation " : "", (long long)l->s.block);
    if (r == 0 && any) r = arrange_files(l, number, err);
    return r < 0 ? -1 : any;
}

/* Weights → whole shares of the slots (largest remainder, none below one), then one arrangement of the slots. */
static void mix(struct loader *l) {
    double total = 0, rest[SOURCES_MAX];
    int left = SLOTS;
    for (int i = 0; i < l->n; i++) total += l->n > 1 ? l->sources[i].weight : 1;
    for (int i = 0; i < l->n; i++) {
        double exact = SLOTS * ((l->n > 1 ? l->sources[i].weight : 1) / total);
        int share = (int)exact;
        l->sources[i].share = share > 0 ? share : 1;
        rest[i] = exact - l->sources[i].share;
        left -= l->sources[i].share;
    }
    for (; left != 0; left += left > 0 ? -1 : 1) {
        int best = 0, step = left > 0 ? 1 : -1; /* to whom most is due, or who has most to give */
        for (int i = 1; i < l->n; i++) {
            bool can = step > 0 || l->sources[i].share > 1, best_can = step > 0 || l->sources[best].share > 1;
            if (can && (!best_can || step * rest[i] > step * rest[best])) best = i;
        }
        l->sources[best].share += step;
        rest[best] -= step;
    }
    int first[SOURCES_MAX + 1] = {0}, seen[SOURCES_MAX] = {0};
    for (int i = 0; i < l->n; i++) first[i + 1] = first[i] + l->sources[i].share;
    for (int slot = 0; slot < SLOTS; slot++) {
        int p = (int)rng_permute((uint64_t)slot, SLOTS, l->s.seed, RNG_MIX, 0), s = 0;
        while (p >= first[s + 1]) s++;
        l->slot_source[slot] = (int16_t)s;
        l->slot_rank[slot] = (int16_t)seen[s]++;
    }
    /* Several in order have no shares; theirs differs from the one of versions that mixed them too. */
    if (l->s.window == 0 && l->n > 1) {
        l->fingerprint = hash_add(l->fingerprint, "in order", 8);
        return;
    }
    for (int i = 0; i < l->n; i++) l->fingerprint = hash_add(l->fingerprint, &l->sources[i].share, sizeof(int));
}

static int open_sources(struct loader *l, const struct loader_source *sources, int n, struct err *err) {
    for (int i = 0; i < n; i++) {
        if (n > 1 && !(sources[i].weight > 0 && sources[i].weight < 1e300))
            return err_set(err, "%s: weight %g, expected a number above 0", sources[i].path, sources[i].weight);
        l->n++;
        int r = open_source(l, l->n - 1, &sources[i], err);
        if (r < 0) return -1;
        if (r == 0) l->n--;
    }
    return 0;
}

int loader_open(struct loader **out, const struct loader_source *sources, int n, const struct loader_settings *s,
                struct err *err) {
    *out = NULL;
    if (n < 1 || n > SOURCES_MAX || s->block < 1 || s->take < 0 || s->take > s->block || s->vocab < 1 || s->window < 0)
        return err_set(err,
                       "loader: %d sources, block %lld, vocabulary %lld, window %d: out of range (1 to %d sources)", n,
                       (long long)s->block, (long long)s->vocab, s->window, SOURCES_MAX);
    struct loader *l = mem_alloc(1, sizeof *l, "loader", err);
    if (!l) return -1;
    l->s = *s;
    if (l->s.take == 0) l->s.take = s->block;
    l->fingerprint = HASH_START;
    l->sources = mem_alloc(n, sizeof *l->sources, "loader's sources", err);
    l->open_limit = s->window > 0 && s->window < OPEN_MAX / n ? (s->window + 1) * n : n + 1;
    if (l->open_limit > OPEN_MAX) l->open_limit = OPEN_MAX;
    int r = l->sources ? open_sources(l, sources, n, err) : -1;
    if (r < 0 || l->n == 0) {
        loader_close(l);
        return r;
    }
    mix(l);
    *out = l;
    return 0;
}

void loader_close(struct loader *l) {
    if (!l) return;
    for (int i = 0; i < l->nopen; i++) chunk_close(&l->open[i].chunk);
    for (int i = 0; i < l->n; i++) {
        for (int64_t j = 0; j < l->sources[i].n; j++) mem_free(l->sources[i].files[j].path);
        mem_free(l->sources[i].files);
    }
    mem_free(l->sources);
    mem_free(l);
}

/* The file's mapping, from the few kept open; the one unused for longest makes room. */
static const struct chunk *opened(struct loader *l, const struct file *f, struct err *err) {
    int oldest = 0;
    for (int i = 0; i < l->nopen; i++) {
        if (l->open[i].file == f) {
            l->open[i].used = ++l->clock;
            return &l->open[i].chunk;
        }
        if (l->open[i].used < l->open[oldest].used) oldest = i;
    }
    struct chunk c;
    if (chunk_open(&c, f->path, err) < 0) return NULL;
    if (c.tokens / l->s.block != f->blocks) {
        err_set(err, "%s: holds %lld block%s now, and held %lld when the run began", f->path,
                (long long)(c.tokens / l->s.block), plural(c.tokens / l->s.block), (long long)f->blocks);
        chunk_close(&c);
        return NULL;
    }
    int at = l->nopen < l->open_limit ? l->nopen++ : oldest;
    chunk_close(&l->open[at].chunk);
    l->open[at] = (struct open_file){.file = f, .chunk = c, .used = ++l->clock};
    return &l->open[at].chunk;
}

/* The last file whose first block is <= block. */
static int64_t file_of(const struct mixed_source *src, int64_t block) {
    int64_t low = 0, high = src->n - 1;
    while (low < high) {
        int64_t mid = (low + high + 1) / 2;
        if (src->files[mid].first <= block)
            low = mid;
        else
            high = mid - 1;
    }
    return low;
}

/* Where the k-th block of a source is, counting from 0 through all epochs, as a block of the files' order. */
static int64_t shuffled(const struct loader *l, int number, int64_t k) {
    const struct mixed_source *src = &l->sources[number];
    int64_t epoch = k / src->blocks, block = k % src->blocks;
    if (l->s.window == 0) return block;
    int64_t window = file_of(src, block) / l->s.window, next = (window + 1) * l->s.window;
    int64_t first = src->files[window * l->s.window].first, end = next < src->n ? src->files[next].first : src->blocks;
    uint64_t sample = shuffle_sample((uint64_t)number, (uint64_t)epoch, (uint64_t)window);
    return first +
           (int64_t)rng_permute((uint64_t)(block - first), (uint64_t)(end - first), l->s.seed, RNG_SHUFFLE, sample);
}

/* The source whose turn block `number` is; *k: how many blocks of it come before. */
static int turn(const struct loader *l, int64_t number, int64_t *k) {
    int source = 0;
    if (l->s.window > 0) {
        const int slot = (int)(number % SLOTS);
        source = l->slot_source[slot];
        *k = number / SLOTS * l->sources[source].share + l->slot_rank[slot];
        return source;
    }
    const int64_t all = loader_blocks(l), pass = number / all;
    int64_t rest = number % all;
    while (rest >= l->sources[source].blocks) rest -= l->sources[source++].blocks;
    *k = pass * l->sources[source].blocks + rest;
    return source;
}

int loader_block(struct loader *l, int64_t number, int32_t *tokens, struct err *err) {
    BUG_ON(number < 0);
    int64_t k;
    const int source = turn(l, number, &k);
    const struct mixed_source *src = &l->sources[source];
    const int64_t block = shuffled(l, source, k);
    const struct file *f = &src->files[file_of(src, block)];
    const struct chunk *c = opened(l, f, err);
    if (!c) return -1;
    return chunk_read(c, (block - f->first) * l->s.block, l->s.take, tokens, l->s.vocab, f->path, err);
}

int64_t loader_take(const struct loader *l) {
    return l->s.take;
}

int64_t loader_blocks(const struct loader *l) {
    int64_t blocks = 0;
    for (int i = 0; i < l->n; i++) blocks += l->sources[i].blocks;
    return blocks;
}

double loader_epoch(const struct loader *l, int64_t number) {
    if (l->s.window == 0) return (double)number / (double)loader_blocks(l);
    double most = 0;
    for (int i = 0; i < l->n; i++) {
        int64_t k = number / SLOTS * l->sources[i].share;
        for (int slot = 0; slot < number % SLOTS; slot++) k += l->slot_source[slot] == i;
        double epoch = (double)k / (double)l->sources[i].blocks;
        if (epoch > most) most = epoch;
    }
    return most;
}

uint64_t loader_fingerprint(const struct loader *l) {
    return hash_finish(l->fingerprint);
}
