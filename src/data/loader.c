/* loader: the endless stream of training blocks as a function of the block's number. Nothing is remembered between
 * calls but a few open files, so any block can be asked for at any time, by one thread at a time.
 *
 * Mixing: weights become whole shares of 1000; one arrangement of 1000 slots, the same for every round, says whose turn
 * it is, so any 1000 blocks in a row hold the exact shares. A share is never rounded to nothing.
 * Shuffling: the files of a source are put in an order drawn once from the seed; `window` of them in a row form a
 * window; inside it blocks are permuted by a small cipher (below), keyed by source, epoch and window: no table, no
 * state. */
#include "data/loader.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/rng.h"
#include "data/chunk.h"
#include "base/hash.h"

enum { SLOTS = 1000, SOURCES_MAX = 256, OPEN_MAX = 256 };

struct file {
    char *path;
    int64_t blocks;
    int64_t first; /* blocks of this source before this file, in the shuffled order of files */
};

struct source {
    struct file *files;
    int64_t n, capacity, blocks;
    int share; /* slots of every round */
};

struct open_file {
    const struct file *file;
    struct chunk chunk;
    int64_t used; /* when */
};

struct loader {
    struct loader_settings s;
    struct source *sources;
    int n;
    uint64_t fingerprint;
    int16_t slot_source[SLOTS]; /* whose turn it is */
    int16_t slot_rank[SLOTS];   /* how many of this source's slots come before */
    struct open_file open[OPEN_MAX];
    int nopen, open_limit;
    int64_t clock;
};

/* A permutation of [0, n): a Feistel network on 2^(2·half) >= n numbers with rounds from the counter-based generator,
 * followed until it lands below n. The domain is at least 2^10 so that short ranges are mixed as well as long ones. */
static uint64_t permute(uint64_t i, uint64_t n, uint64_t seed, enum rng_purpose purpose, uint64_t sample) {
    int half = 5;
    while (half < 31 && (1ull << (2 * half)) < n) half++;
    uint64_t mask = (1ull << half) - 1;
    do {
        uint64_t left = i >> half, right = i & mask;
        for (uint64_t round = 0; round < 6; round++) {
            uint32_t bits[4];
            rng_bits(bits, seed, purpose, sample, round << 32 | right);
            uint64_t next = left ^ (bits[0] & mask);
            left = right, right = next;
        }
        i = left << half | right;
    } while (i >= n);
    return i;
}

/* What is shuffled, as the generator's sample number: the files of a source once, its windows in every epoch. */
static uint64_t shuffle_sample(uint64_t source, uint64_t epoch, uint64_t window) {
    uint64_t key[3] = {source, epoch, window};
    return hash_finish(hash_add(HASH_START, key, sizeof key));
}

static int add_file(struct loader *l, struct source *src, const char *path, const char *name, struct err *err) {
    struct chunk c;
    if (mem_grow(&src->files, &src->capacity, src->n + 1, sizeof *src->files, "list of chunk files", err) < 0)
        return -1;
    if (chunk_open(&c, path, err) < 0) return -1;
    int64_t blocks = c.tokens / l->s.block, size = (int64_t)c.map.size;
    l->fingerprint = hash_add(l->fingerprint, name, strlen(name) + 1);
    l->fingerprint = hash_add(l->fingerprint, &size, sizeof size);
    l->fingerprint = hash_add(l->fingerprint, c.map.data, CHUNK_HEADER);
    chunk_close(&c);
    if (blocks == 0) return 0;
    char *copy = mem_strdup(path, err);
    if (!copy) return -1;
    src->files[src->n++] = (struct file){.path = copy, .blocks = blocks};
    src->blocks += blocks;
    return 0;
}

static bool wanted(const char *name, const char *prefix) {
    size_t n = strlen(name);
    return n > 4 && strcmp(name + n - 4, ".bin") == 0 && (!prefix || strncmp(name, prefix, strlen(prefix)) == 0);
}

static int list_files(struct loader *l, struct source *src, const struct loader_source *from, struct err *err) {
    if (!file_is_dir(from->path)) {
        const char *slash = strrchr(from->path, '/');
        return add_file(l, src, from->path, slash ? slash + 1 : from->path, err);
    }
    char **names, path[FILE_PATH_MAX];
    int64_t count, found = 0;
    int r = 0;
    if (file_list(&names, &count, from->path, err) < 0) return -1;
    for (int64_t i = 0; i < count && r == 0; i++) {
        if (!wanted(names[i], from->prefix)) continue;
        found++;
        r = file_join(path, from->path, names[i], err);
        if (r == 0) r = add_file(l, src, path, names[i], err);
    }
    file_list_free(names, count);
    if (r == 0 && found == 0)
        return err_set(err, "%s: no chunk files '%s*.bin' there: make some with `mdm prepare`", from->path,
                       from->prefix ? from->prefix : "");
    return r;
}

/* Put the files in the order drawn from the seed and count what comes before each. */
static int arrange_files(struct loader *l, int number, struct err *err) {
    struct source *src = &l->sources[number];
    struct file *order = mem_alloc(src->n, sizeof *order, "list of chunk files", err);
    if (!order) return -1;
    uint64_t sample = shuffle_sample((uint64_t)number, UINT64_MAX, 0);
    for (int64_t i = 0; i < src->n; i++) {
        int64_t j = i;
        if (l->s.window > 0) j = (int64_t)permute((uint64_t)i, (uint64_t)src->n, l->s.seed, RNG_SHUFFLE, sample);
        order[i] = src->files[j];
        order[i].first = i == 0 ? 0 : order[i - 1].first + order[i - 1].blocks;
    }
    mem_free(src->files);
    src->files = order;
    return 0;
}

static int open_source(struct loader *l, int number, const struct loader_source *from, struct err *err) {
    struct source *src = &l->sources[number];
    if (list_files(l, src, from, err) < 0) return -1;
    if (src->blocks == 0)
        return err_set(
            err, "%s: no chunk file there holds one block of %lld tokens: prepare more text or use shorter blocks",
            from->path, (long long)l->s.block);
    return arrange_files(l, number, err);
}

/* Weights → whole shares of the slots (largest remainder, none below one), then one arrangement of the slots. */
static int mix(struct loader *l, const struct loader_source *from, struct err *err) {
    double total = 0, rest[SOURCES_MAX];
    int left = SLOTS;
    for (int i = 0; i < l->n; i++) {
        if (l->n > 1 && !(from[i].weight > 0 && from[i].weight < 1e300))
            return err_set(err, "%s: weight %g, expected a number above 0", from[i].path, from[i].weight);
        total += l->n > 1 ? from[i].weight : 1;
    }
    for (int i = 0; i < l->n; i++) {
        double exact = SLOTS * ((l->n > 1 ? from[i].weight : 1) / total);
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
        int p = (int)permute((uint64_t)slot, SLOTS, l->s.seed, RNG_MIX, 0), s = 0;
        while (p >= first[s + 1]) s++;
        l->slot_source[slot] = (int16_t)s;
        l->slot_rank[slot] = (int16_t)seen[s]++;
    }
    return 0;
}

struct loader *loader_open(const struct loader_source *sources, int n, const struct loader_settings *s,
                           struct err *err) {
    if (n < 1 || n > SOURCES_MAX || s->block < 1 || s->vocab < 1 || s->window < 0) {
        err_set(err, "loader: %d sources, block %lld, vocabulary %lld, window %d: out of range (1 to %d sources)", n,
                (long long)s->block, (long long)s->vocab, s->window, SOURCES_MAX);
        return NULL;
    }
    struct loader *l = mem_alloc(1, sizeof *l, "loader", err);
    if (!l) return NULL;
    l->s = *s;
    l->fingerprint = HASH_START;
    l->sources = mem_alloc(n, sizeof *l->sources, "loader's sources", err);
    l->n = l->sources ? n : 0;
    l->open_limit = s->window > 0 && s->window < OPEN_MAX / n ? (s->window + 1) * n : n + 1;
    if (l->open_limit > OPEN_MAX) l->open_limit = OPEN_MAX;
    int r = l->sources ? 0 : -1;
    for (int i = 0; i < n && r == 0; i++) r = open_source(l, i, &sources[i], err);
    if (r == 0) r = mix(l, sources, err);
    if (r == 0) return l;
    loader_close(l);
    return NULL;
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
        err_set(err, "%s: %lld tokens now; it had %lld blocks when the run began", f->path, (long long)c.tokens,
                (long long)f->blocks);
        chunk_close(&c);
        return NULL;
    }
    int at = l->nopen < l->open_limit ? l->nopen++ : oldest;
    chunk_close(&l->open[at].chunk);
    l->open[at] = (struct open_file){.file = f, .chunk = c, .used = ++l->clock};
    return &l->open[at].chunk;
}

/* The last file whose first block is <= block. */
static int64_t file_of(const struct source *src, int64_t block) {
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
    const struct source *src = &l->sources[number];
    int64_t epoch = k / src->blocks, block = k % src->blocks;
    if (l->s.window == 0) return block;
    int64_t window = file_of(src, block) / l->s.window, next = (window + 1) * l->s.window;
    int64_t first = src->files[window * l->s.window].first, end = next < src->n ? src->files[next].first : src->blocks;
    uint64_t sample = shuffle_sample((uint64_t)number, (uint64_t)epoch, (uint64_t)window);
    return first + (int64_t)permute((uint64_t)(block - first), (uint64_t)(end - first), l->s.seed, RNG_SHUFFLE, sample);
}

int loader_block(struct loader *l, int64_t number, int32_t *tokens, struct err *err) {
    BUG_ON(number < 0);
    int slot = (int)(number % SLOTS), source = l->slot_source[slot];
    const struct source *src = &l->sources[source];
    int64_t k = number / SLOTS * src->share + l->slot_rank[slot], block = shuffled(l, source, k);
    const struct file *f = &src->files[file_of(src, block)];
    const struct chunk *c = opened(l, f, err);
    if (!c) return -1;
    return chunk_read(c, (block - f->first) * l->s.block, l->s.block, tokens, l->s.vocab, f->path, err);
}

int64_t loader_blocks(const struct loader *l) {
    int64_t blocks = 0;
    for (int i = 0; i < l->n; i++) blocks += l->sources[i].blocks;
    return blocks;
}

double loader_epoch(const struct loader *l, int64_t number) {
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
