/* prepare_help: made-up documents in four files, a tokenizer of bytes and one run of prepare on them, folders of equal bytes, for the tests of
 * prepare.h. */
#ifndef MDM_TESTS_PREPARE_HELP_H
#define MDM_TESTS_PREPARE_HELP_H
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <zlib.h>
#include <zstd.h>

#include "base/err.h"
#include "base/file.h"
#include "base/lock.h"
#include "base/mem.h"
#include "data/prepare.h"
#include "data_help.h"
#include "text/tokenizer.h"

enum { DOCS = 3000, FILES = 4, CHUNK = 50000 };

static char *dir, *doc[DOCS];
static struct tokenizer *tok;
static struct sources sources;

/* Made-up documents of 1 to about 3000 bytes; every text is there once. */
static inline void make_documents(void) {
    static const char *const words[] = {"river",  "stone",      "and",         "the", "walks",
                                        "éclair", "\"quoted\"", "back\\slash", "a"};
    uint32_t x = 17;
    for (int i = 0; i < DOCS; i++) {
        size_t size;
        FILE *f = open_memstream(&doc[i], &size);
        fprintf(f, "%d", i);
        x = x * 1664525 + 1013904223;
        for (uint32_t n = (x >> 20) % (i % 10 == 0 ? 500 : 40), j = 0; j < n; j++) {
            x = x * 1664525 + 1013904223;
            fprintf(f, " %s", words[(x >> 16) % 9]);
        }
        fclose(f);
    }
}

static inline void json_text(FILE *f, const char *s) {
    for (; *s; s++) fprintf(f, *s == '"' || *s == '\\' ? "\\%c" : "%c", *s);
}

/* Four files, a quarter of the documents in each: text, jsonl, jsonl.zst, jsonl.gz; with documents to skip in between.
 */
static inline void make_files(void) {
    static const char *const names[FILES] = {"a.txt", "b.jsonl", "c.jsonl.zst", "d.jsonl.gz"};
    for (int k = 0; k < FILES; k++) {
        char *text;
        size_t n;
        FILE *f = open_memstream(&text, &n);
        for (int i = k * DOCS / FILES; i < (k + 1) * DOCS / FILES; i++) {
            if (k == 0) {
                fprintf(f, "%s\n\n", doc[i]);
                continue;
            }
            fprintf(f, "{\"text\": \"");
            json_text(f, doc[i]);
            fprintf(f, "\", \"meta\": {\"set\": \"web\"}}\n");
            if (i % 7 == 0) fprintf(f, "{\"text\": \"leave out\", \"meta\": {\"set\": \"code\"}}\n{\"text\": \"\"}\n");
        }
        fclose(f);
        char *packed = malloc(n + 1000);
        size_t m = n;
        if (k == 2) m = ZSTD_compress(packed, n + 1000, text, n, 1);
        if (k == 3) {
            z_stream z = {0};
            assert_int_equal(deflateInit2(&z, 1, Z_DEFLATED, 15 + 16, 9, Z_DEFAULT_STRATEGY), Z_OK);
            z.next_in = (unsigned char *)text, z.avail_in = (uInt)n;
            z.next_out = (unsigned char *)packed, z.avail_out = (uInt)n;
            assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
            m = z.total_out;
            deflateEnd(&z);
        }
        struct err err = {0};
        put(in(dir, names[k]), k < 2 ? text : packed, m);
        assert_int_equal(sources_add(&sources, in(dir, names[k]), &err), 0);
        free(text);
        free(packed);
    }
}

static inline int setup(void **state) {
    (void)state;
    dir = scratch_fast();
    make_documents();
    make_files();
    put_byte_tokenizer(in(dir, "tokenizer.json"));
    struct err err = {0};
    tok = tokenizer_load(in(dir, "tokenizer.json"), &err);
    if (!tok) fail_msg("%s", err.msg);
    assert_int_equal(tokenizer_eos(tok), 0);
    return 0;
}

static inline int teardown(void **state) {
    (void)state;
    scratch_free(dir);
    sources_free(&sources);
    tokenizer_free(tok);
    for (int i = 0; i < DOCS; i++) free(doc[i]);
    assert_int_equal(mem_in_use(), 0);
    return 0;
}

static const char *const skip_code[] = {"meta.set=code", NULL};

static inline struct prepare_settings settings(const char *out) {
    return (struct prepare_settings){.out = out,
                                     .split = "train",
                                     .name = "made-up",
                                     .sources = &sources,
                                     .eos = true,
                                     .chunk_tokens = CHUNK,
                                     .threads = 2,
                                     .reader = {.skip = skip_code}};
}

static inline struct prepare_result prepare(const struct prepare_settings *s) {
    struct prepare_result r;
    struct err err = {0};
    if (prepare_run(s, tok, &r, &err) < 0) fail_msg("%s", err.msg);
    return r;
}

static inline void same_folder(const char *a, const char *b) {
    struct err err = {0};
    char **x, **y;
    int64_t n, m;
    assert_int_equal(file_list(&x, &n, a, &err), 0);
    assert_int_equal(file_list(&y, &m, b, &err), 0);
    assert_int_equal(n, m);
    for (int64_t i = 0; i < n; i++) {
        char one[4096], other[4096];
        size_t s, t;
        assert_string_equal(x[i], y[i]);
        if (strcmp(x[i], LOCK_NAME) == 0) continue; /* tells who was there */
        snprintf(one, sizeof one, "%s/%s", a, x[i]);
        snprintf(other, sizeof other, "%s/%s", b, y[i]);
        char *p = get(one, &s), *q = get(other, &t);
        assert_int_equal(s, t);
        assert_memory_equal(p, q, s);
        free(p);
        free(q);
    }
    file_list_free(x, n);
    file_list_free(y, m);
}

#endif
