/* Everything that can fail under the data layer is made to fail in turn: the n-th allocation, read, write, fsync,
 * rename. Each time there must be an error with a message, no half-written chunk, no lost memory, and the next try must
 * end as if nothing had happened. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/err.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/lock.h"
#include "base/mem.h"
#include "data/chunk.h"
#include "data/loader.h"
#include "data/prepare.h"
#include "text/tokenizer.h"
#include "unit/data_help.h"

static char *dir;
static struct sources sources;
static int64_t mem_before;

static const char *const kind_name[FAULT_KINDS] = {"alloc", "read", "write", "fsync", "rename"};

/* Calls step() with the n-th call of a kind failing, n = 1, 2, …, until it gets through without one failing. */
static void sweep(enum fault_kind kind, int (*step)(struct err *err), void (*after)(bool failed)) {
    for (long n = 1;; n++) {
        struct err err = {0};
        fault_set(kind, n, false);
        int r = step(&err);
        bool reached = fault_count(kind) >= n;
        fault_set(kind, 0, false);
        if (r < 0 && !err.msg[0]) fail_msg("%s %ld: no message", kind_name[kind], n);
        if (r < 0 && !reached) fail_msg("%s %ld: failed by itself: %s", kind_name[kind], n, err.msg);
        if (mem_in_use() != mem_before)
            fail_msg("%s %ld: %lld bytes lost", kind_name[kind], n, (long long)(mem_in_use() - mem_before));
        if (after) after(r < 0);
        if (!reached) {
            print_message("%s: %ld points\n", kind_name[kind], n - 1);
            return;
        }
    }
}

/* ---- chunk writer ---- */

static int write_chunks(struct err *err) {
    int32_t ids[250] = {0};
    for (int i = 0; i < 250; i++) ids[i] = i;
    struct chunk_writer *w = chunk_writer_open(in(dir, "w"), "t", 0, 1000, 100, err);
    if (!w) return -1;
    if (chunk_writer_add(w, ids, 250, err) == 0) return chunk_writer_close(w, NULL, NULL, err);
    chunk_writer_abort(w);
    return -1;
}

/* Whatever is there under a chunk's name is whole; nothing else is there. */
static void chunks_are_whole(bool failed) {
    struct err err = {0};
    char **names, path[4096];
    int64_t n;
    assert_int_equal(file_list(&names, &n, in(dir, "w"), &err), 0);
    if (!failed) assert_int_equal(n, 3);
    for (int64_t i = 0; i < n; i++) {
        struct chunk c;
        snprintf(path, sizeof path, "%s/w/%s", dir, names[i]);
        assert_int_equal(strlen(names[i]), strlen("t_0_0000000000.bin"));
        assert_int_equal(chunk_open(&c, path, &err), 0);
        chunk_close(&c);
        unlink(path);
    }
    file_list_free(names, n);
}

static void chunk_writer(void **state) {
    (void)state;
    mkdir(in(dir, "w"), 0777);
    for (int kind = 0; kind < FAULT_KINDS; kind++) sweep(kind, write_chunks, chunks_are_whole);
}

/* ---- loader ---- */

static int load(struct err *err) {
    int32_t t[10];
    struct loader_source s[2] = {{in(dir, "l"), 1}, {in(dir, "l/t_0_0000000000.bin"), 1}};
    struct loader *l;
    int r = loader_open(&l, s, 2, &(struct loader_settings){.block = 10, .vocab = 1000, .window = 2, .seed = 1}, err);
    for (int i = 0; i < 40 && r == 0; i++) r = loader_block(l, i, t, err);
    loader_close(l);
    return r;
}

static void loader(void **state) {
    (void)state;
    struct err err = {0};
    mkdir(in(dir, "l"), 0777);
    struct chunk_writer *w = chunk_writer_open(in(dir, "l"), "t", 0, 1000, 50, &err);
    int32_t ids[230] = {0};
    assert_int_equal(chunk_writer_add(w, ids, 230, &err), 0);
    assert_int_equal(chunk_writer_close(w, NULL, NULL, &err), 0);
    sweep(FAULT_ALLOC, load, NULL);
    sweep(FAULT_READ, load, NULL);
}

/* ---- prepare ---- */

/* With a tokenizer of its own: it keeps buffers for as many threads as happened to need some at a time. */
static int prepare_into(const char *out, struct err *err) {
    struct prepare_settings s = {.out = out,
                                 .split = "train",
                                 .name = "x",
                                 .sources = &sources,
                                 .validation = 0.3,
                                 .eos = true,
                                 .chunk_tokens = 150,
                                 .threads = 2};
    struct prepare_result r;
    struct tokenizer *tok = tokenizer_load(in(dir, "tokenizer.json"), err);
    int status = tok ? prepare_run(&s, tok, &r, err) : -1;
    tokenizer_free(tok);
    return status;
}

static int prepare(struct err *err) {
    return prepare_into(in(dir, "p"), err);
}

static void next_try_is_good(bool failed) {
    struct err err = {0};
    char **names, path[2][4096];
    int64_t n, m;
    if (failed && prepare(&err) < 0) fail_msg("the next try: %s", err.msg);
    assert_int_equal(file_list(&names, &n, in(dir, "p"), &err), 0);
    for (int64_t i = 0; i < n; i++) {
        size_t size[2];
        if (strcmp(names[i], LOCK_NAME) == 0) continue; /* tells who was there */
        for (int k = 0; k < 2; k++) snprintf(path[k], sizeof path[k], "%s/%s/%s", dir, k ? "p" : "good", names[i]);
        char *want = get(path[0], &size[0]), *found = get(path[1], &size[1]);
        assert_int_equal(size[0], size[1]);
        assert_memory_equal(want, found, size[0]);
        free(want);
        free(found);
        unlink(path[1]);
    }
    file_list_free(names, n);
    assert_int_equal(file_list(&names, &m, in(dir, "good"), &err), 0);
    assert_int_equal(n, m);
    file_list_free(names, m);
}

static void preparation(void **state) {
    (void)state;
    struct err err = {0};
    FILE *f = fopen(in(dir, "a.jsonl"), "w");
    for (int i = 0; i < 30; i++) fprintf(f, "{\"text\": \"document number %d says little\"}\n", i * 7919);
    fclose(f);
    assert_int_equal(sources_add(&sources, in(dir, "a.jsonl"), &err), 0);
    mem_before = mem_in_use();
    assert_int_equal(prepare_into(in(dir, "good"), &err), 0);
    for (int kind = 0; kind < FAULT_KINDS; kind++) sweep(kind, prepare, next_try_is_good);
    sources_free(&sources);
}

static int setup(void **state) {
    (void)state;
    dir = scratch_fast();
    put_byte_tokenizer(in(dir, "tokenizer.json"));
    return 0;
}

static int teardown(void **state) {
    (void)state;
    scratch_free(dir);
    assert_int_equal(mem_in_use(), 0);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chunk_writer),
        cmocka_unit_test(loader),
        cmocka_unit_test(preparation),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
