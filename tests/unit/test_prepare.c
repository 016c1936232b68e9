/* prepare: what goes in comes out, in order, once, whatever the number of workers; the validation split; limits; the
 * manifest; operands; errors. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>

#include "base/jsonl.h"
#include "data/chunk.h"
#include "prepare_help.h"

/* All ids of {prefix}_0_*.bin; checks that every file but the last is full. Caller frees. */
static int32_t *ids_of(const char *out, const char *prefix, int64_t *n) {
    int32_t *ids = NULL;
    *n = 0;
    for (int f = 0;; f++) {
        char path[4096];
        struct chunk c;
        struct err err = {0};
        snprintf(path, sizeof path, "%s/%s_0_%010d.bin", out, prefix, f);
        if (!there(path)) return ids;
        assert_int_equal(*n % CHUNK, 0);
        assert_int_equal(chunk_open(&c, path, &err), 0);
        ids = realloc(ids, (size_t)(*n + c.tokens) * 4 + 4);
        assert_int_equal(chunk_read(&c, 0, c.tokens, ids + *n, 257, path, &err), 0);
        *n += c.tokens;
        chunk_close(&c);
    }
}

/* Is text the next document of the stream (with its end id)? Moves *at behind it. */
static bool next_is(const int32_t *ids, int64_t n, int64_t *at, const char *text) {
    int64_t i = *at;
    for (; *text; text++, i++)
        if (i >= n || ids[i] != (unsigned char)*text + 1) return false;
    if (i >= n || ids[i] != 0) return false;
    *at = i + 1;
    return true;
}

static void all_documents_in_order(void **state) {
    (void)state;
    struct prepare_settings s = settings(in(dir, "plain"));
    struct prepare_result r = prepare(&s);
    int64_t n, at = 0, bytes = 0;
    int32_t *ids = ids_of(s.out, "train_made-up", &n);
    for (int i = 0; i < DOCS; i++) {
        if (!next_is(ids, n, &at, doc[i])) fail_msg("document %d is not next at token %lld", i, (long long)at);
        bytes += (int64_t)strlen(doc[i]);
    }
    assert_int_equal(at, n);
    assert_int_equal(r.counts.documents, DOCS);
    assert_int_equal(r.counts.tokens, n);
    assert_int_equal(r.counts.text_bytes, bytes);
    assert_int_equal(r.counts.skipped, 321); /* the multiples of 7 in 750 … 2999 */
    assert_int_equal(r.counts.empty, 321);
    assert_int_equal(r.counts.stream[0].files, (n + CHUNK - 1) / CHUNK);
    assert_int_equal(r.last[0], n % CHUNK);
    assert_int_equal(r.bytes_read, sources.bytes);
    assert_false(r.resumed || r.stopped || r.limited || r.complete);
    free(ids);
    /* again: nothing to do; otherwise: refused */
    struct err err = {0};
    assert_true(prepare(&s).complete);
    s.bos = false, s.eos = false;
    assert_int_equal(prepare_run(&s, tok, &r, &err), -1);
    assert_says(err, "other settings");
}

static void any_number_of_workers(void **state) {
    (void)state;
    char name[32];
    struct prepare_settings s = settings(in(dir, "one"));
    s.validation = 0.1;
    s.threads = 1;
    prepare(&s);
    for (int threads = 2; threads <= 9; threads += 3) {
        snprintf(name, sizeof name, "w%d", threads);
        s.threads = threads;
        s.out = in(dir, name);
        prepare(&s);
        same_folder(in(dir, "one"), in(dir, name));
    }
}

/* Which documents are in the validation split; every document must be in exactly one, in order. */
static void deal(const char *out, int docs, bool in_validation[DOCS]) {
    int64_t n, m, at = 0, bt = 0;
    int32_t *a = ids_of(out, "train_made-up", &n), *b = ids_of(out, "validation_made-up", &m);
    for (int i = 0; i < docs; i++) {
        in_validation[i] = !next_is(a, n, &at, doc[i]);
        if (in_validation[i]) assert_true(next_is(b, m, &bt, doc[i]));
    }
    assert_int_equal(at, n);
    assert_int_equal(bt, m);
    free(a);
    free(b);
}

static void validation_split(void **state) {
    (void)state;
    bool all[DOCS], half[DOCS];
    int count = 0;
    struct prepare_settings s = settings(in(dir, "v_all"));
    s.validation = 0.2;
    struct prepare_result r = prepare(&s);
    deal(s.out, DOCS, all);
    for (int i = 0; i < DOCS; i++) count += all[i];
    assert_in_range(count, 600 - 90, 600 + 90); /* 4 standard deviations */
    assert_int_equal(r.counts.stream[PREPARE_VALIDATION].documents, count);
    /* fewer documents, another order of files: the same documents are dealt the same way */
    s.out = in(dir, "v_half");
    s.limit_documents = DOCS / 2;
    prepare(&s);
    deal(s.out, DOCS / 2, half);
    assert_memory_equal(all, half, DOCS / 2 * sizeof *all);
    /* a larger share keeps what was there */
    s = settings(in(dir, "v_more"));
    s.validation = 0.3;
    prepare(&s);
    deal(s.out, DOCS, half);
    for (int i = 0; i < DOCS; i++) assert_true(half[i] || !all[i]);
}

/* The share, as exactly as chance allows: within five standard deviations of a binomial count. */
static void validation_share(void **state) {
    (void)state;
    enum { N = 40000 };
    struct err err = {{0}};
    struct sources one = {0};
    char *text;
    size_t n;
    FILE *f = open_memstream(&text, &n);
    for (int i = 0; i < N; i++) fprintf(f, "%d\n", i);
    fclose(f);
    put(in(dir, "many.txt"), text, n);
    assert_int_equal(sources_add(&one, in(dir, "many.txt"), &err), 0);
    const double share[] = {0.01, 0.2, 0.5};
    for (int i = 0; i < 3; i++) {
        char name[20];
        snprintf(name, sizeof name, "share%d", i);
        struct prepare_settings s = settings(in(dir, name));
        s.sources = &one;
        s.reader.separator = "\n";
        s.validation = share[i];
        const struct prepare_result r = prepare(&s);
        const double got = (double)r.counts.stream[PREPARE_VALIDATION].documents;
        assert_int_equal(r.counts.documents, N);
        if (fabs(got - N * share[i]) > 5 * sqrt(N * share[i] * (1 - share[i])))
            fail_msg("%g of %d documents for a share of %g", got, N, share[i]);
    }
    sources_free(&one);
    free(text);
}

/* A limit that is reached a token before, at and behind the end of a document. */
static void limits_near_ends(void **state) {
    (void)state;
    int64_t whole, n, end = 0;
    int32_t *all = ids_of(in(dir, "plain"), "train_made-up", &whole), *ids;
    for (int i = 0; i < 3; i++) {
        end += (int64_t)strlen(doc[i]) + 1;
        for (int64_t limit = end - 1; limit <= end + 1; limit++) {
            char name[40];
            snprintf(name, sizeof name, "near%d", (int)limit);
            struct prepare_settings s = settings(in(dir, name));
            s.limit_tokens = limit;
            const struct prepare_result r = prepare(&s);
            assert_true(r.limited);
            assert_int_equal(r.counts.tokens, limit);
            ids = ids_of(s.out, "train_made-up", &n);
            assert_int_equal(n, limit);
            assert_memory_equal(ids, all, (size_t)n * 4);
            free(ids);
        }
    }
    free(all);
}

static void limits(void **state) {
    (void)state;
    struct prepare_settings s = settings(in(dir, "l_tokens"));
    int64_t n, whole, at = 0;
    int32_t *all = ids_of(in(dir, "plain"), "train_made-up", &whole), *ids;
    s.limit_tokens = 2 * CHUNK + 123;
    struct prepare_result r = prepare(&s);
    assert_true(r.limited);
    ids = ids_of(s.out, "train_made-up", &n);
    assert_int_equal(n, s.limit_tokens);
    assert_memory_equal(ids, all, (size_t)n * 4);
    free(ids);
    s = settings(in(dir, "l_docs"));
    s.limit_documents = 1001;
    r = prepare(&s);
    ids = ids_of(s.out, "train_made-up", &n);
    for (int i = 0; i < 1001; i++) assert_true(next_is(ids, n, &at, doc[i]));
    assert_int_equal(at, n);
    free(ids);
    free(all);
}

static void begin_and_end_ids(void **state) {
    (void)state;
    struct prepare_settings s = settings(in(dir, "bos"));
    size_t first = strlen(doc[0]), second = strlen(doc[1]);
    int64_t n;
    s.eos = false;
    s.limit_documents = 2;
    prepare(&s);
    int32_t *ids = ids_of(s.out, "train_made-up", &n);
    assert_int_equal(n, first + second);
    free(ids);
    s.out = in(dir, "bos2");
    s.bos = true;
    prepare(&s);
    ids = ids_of(s.out, "train_made-up", &n);
    assert_int_equal(n, first + second + 2);
    assert_int_equal(ids[0], tokenizer_bos(tok));
    assert_int_equal(ids[first + 1], tokenizer_bos(tok));
    free(ids);
}

static void manifest(void **state) {
    (void)state;
    struct err err = {0};
    struct prepare_settings s = settings(in(dir, "m"));
    s.validation = 0.1;
    struct prepare_result r = prepare(&s);
    s = settings(in(dir, "m")); /* a second set in the same folder */
    s.name = "second";
    s.limit_documents = 5;
    prepare(&s);
    json_t *m = json_read_file(in(dir, "m/manifest.json"), 1 << 20, &err);
    assert_non_null(m);
    assert_string_equal(json_string_value(json_object_get(m, "format")), "mdm-chunks");
    json_t *sets = json_object_get(m, "sets"), *set = json_object_get(sets, "train_made-up");
    assert_non_null(json_object_get(sets, "train_second"));
    json_t *t = json_object_get(set, "tokenizer");
    assert_string_equal(json_string_value(json_object_get(t, "digest")), tokenizer_digest(tok));
    assert_int_equal(json_integer_value(json_object_get(t, "vocab")), 257);
    json_t *v = json_object_get(json_object_get(set, "streams"), "validation_made-up");
    assert_int_equal(json_integer_value(json_object_get(v, "tokens")), r.counts.stream[1].tokens);
    assert_int_equal(json_integer_value(json_object_get(v, "files")), r.counts.stream[1].files);
    assert_int_equal(json_array_size(json_object_get(set, "sources")), FILES);
    json_t *c = json_object_get(set, "counts");
    assert_int_equal(json_integer_value(json_object_get(c, "documents")), DOCS);
    assert_true(json_real_value(json_object_get(json_object_get(set, "settings"), "validation")) == 0.1);
    json_decref(m);
}

/* Before anything is tokenized. */
static void no_manifest(void **state) {
    (void)state;
    struct err err = {0};
    struct prepare_result r;
    struct prepare_settings s = settings(in(dir, "no_manifest"));
    mkdir(s.out, 0777);
    const char *const bad[][2] = {
        {"{}", "manifest.json: \"format\" is missing"},
        {"{\"format\": \"other\", \"version\": 1, \"sets\": {}}", "manifest.json: not a manifest of chunks"},
        {"{\"format\": \"mdm-chunks\", \"version\": 2, \"sets\": {}}", "manifest.json: \"version\" "},
        {"{\"format\": \"mdm-chunks\", \"version\": 1, \"sets\": []}", "manifest.json: it has no object 'sets'"}};
    for (int i = 0; i < 4; i++) {
        put_text(in(dir, "no_manifest/manifest.json"), bad[i][0]);
        assert_int_equal(prepare_run(&s, tok, &r, &err), -1);
        assert_says(err, bad[i][1]);
        assert_int_equal(r.counts.documents, 0);
    }
}

static void errors(void **state) {
    (void)state;
    struct err err = {0};
    struct prepare_result r;
    struct sources bad = {0};
    struct prepare_settings s = settings(in(dir, "e"));
    s.sources = &bad;
    /* a bad line: named, with what came before it kept back for the next try */
    put_text(in(dir, "bad.jsonl"),
             "{\"text\": \"good\"}\n{\"text\": \"also good\"}\n{\"text\": \n{\"text\": \"late\"}\n");
    assert_int_equal(sources_add(&bad, in(dir, "bad.jsonl"), &err), 0);
    assert_int_equal(prepare_run(&s, tok, &r, &err), -1);
    assert_says(err, "bad.jsonl line 3: not JSON");
    assert_int_equal(r.counts.documents, 2);
    sources_free(&bad);
    /* nothing in it */
    put_text(in(dir, "empty.txt"), "\n\n");
    assert_int_equal(sources_add(&bad, in(dir, "empty.txt"), &err), 0);
    s.out = in(dir, "e2");
    assert_int_equal(prepare_run(&s, tok, &r, &err), -1);
    assert_says(err, "no document");
    assert_int_equal(sources_add(&bad, in(dir, "empty.txt"), &err), 0);
    assert_int_equal(prepare_run(&s, tok, &r, &err), -1);
    assert_says(err, "named twice");
    sources_free(&bad);
    /* one file by other names */
    put_text(in(dir, "one.txt"), "text\n");
    assert_int_equal(symlink("one.txt", in(dir, "link.txt")), 0);
    const char *const names[] = {"./one.txt", "link.txt"};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(sources_add(&bad, in(dir, "one.txt"), &err) | sources_add(&bad, in(dir, names[i]), &err), 0);
        assert_int_equal(prepare_run(&s, tok, &r, &err), -1);
        assert_says(err, names[i]);
        assert_says(err, "are one file");
        sources_free(&bad);
    }
    /* a name that the manifest cannot keep */
    put_text(in(dir, "caf\xe9.txt"), "text\n");
    assert_int_equal(sources_add(&bad, in(dir, "caf\xe9.txt"), &err), 0);
    assert_int_equal(prepare_run(&s, tok, &r, &err), -1);
    assert_says(err, "not UTF-8, so manifest.json cannot keep it");
    sources_free(&bad);
    /* chunks that nobody explains */
    s = settings(in(dir, "e3"));
    mkdir(s.out, 0777);
    put_text(in(dir, "e3/train_made-up_0_0000000000.bin"), "?");
    assert_int_equal(prepare_run(&s, tok, &r, &err), -1);
    assert_says(err, "already has train_made-up_0_0000000000.bin");
    /* settings that cannot be */
    s.name = "a/b";
    assert_int_equal(prepare_run(&s, tok, &r, &err), -1);
    assert_says(err, "letters, digits");
    s = settings(in(dir, "e4"));
    s.validation = 0.5, s.split = "validation";
    assert_int_equal(prepare_run(&s, tok, &r, &err), -1);
}

static void from_parquet(void **state) {
    (void)state;
    static const char *const skip[] = {"kind=code", NULL};
    struct err err = {0};
    struct sources src = {0};
    struct prepare_settings s = settings(in(dir, "pq"));
    s.reader.skip = skip;
    s.sources = &src;
    assert_int_equal(sources_add(&src, "tests/golden/parquet/dict_v2_zstd.parquet", &err), 0);
    struct prepare_result r = prepare(&s);
    /* 60 rows: 20 of kind 'code'; of the others 8 null (row % 5 == 3) and 2 empty (row % 11 == 10, row % 5 != 3) */
    assert_int_equal(r.counts.skipped, 20);
    assert_int_equal(r.counts.empty, 10);
    assert_int_equal(r.counts.documents, 30);
    sources_free(&src);
}

static void operands(void **state) {
    (void)state;
    struct err err = {0};
    struct sources s = {0};
    mkdir(in(dir, "tree"), 0777);
    mkdir(in(dir, "tree/sub"), 0777);
    mkdir(in(dir, "none"), 0777);
    const char *const names[] = {"tree/b.txt",          "tree/a.jsonl",         "tree/sub/c.parquet",
                                 "tree/sub/d.png",      "tree/.e.txt",          "tree/z.json.gz",
                                 "tree/sub/README.md",  "tree/sub/LICENSE.txt", "tree/sub/dataset_info.json",
                                 "tree/licence",        "tree/tokenizer.json",  "tree/state.json",
                                 "tree/sub/config.json"};
    for (int i = 0; i < 13; i++) put_text(in(dir, names[i]), "12345");
    assert_int_equal(sources_add(&s, in(dir, "tree"), &err), 0);
    const int order[] = {1, 0, 2, 5};
    assert_int_equal(s.n, 4);
    for (int i = 0; i < 4; i++) assert_string_equal(s.paths[i], in(dir, names[order[i]]));
    assert_int_equal(s.bytes, 20);
    assert_int_equal(s.passed, 8);
    sources_free(&s);
    assert_int_equal(sources_add(&s, in(dir, "tree/sub/README.md"), &err), 0); /* named: taken */
    sources_free(&s);
    assert_int_equal(sources_add(&s, in(dir, "tree/*.txt"), &err), 0);
    assert_int_equal(s.n, 1);
    assert_int_equal(sources_add(&s, in(dir, "tree/sub/d.png"), &err), 0); /* named: taken */
    assert_int_equal(sources_check(&s, &err), 0);
    assert_int_equal(sources_add(&s, in(dir, "tree/*.md"), &err), -1);
    assert_says(err, "no file matches");
    assert_int_equal(sources_add(&s, in(dir, "none"), &err), -1);
    assert_int_equal(sources_add(&s, in(dir, "missing.txt"), &err), -1);
    sources_free(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_documents_in_order),
        cmocka_unit_test(any_number_of_workers),
        cmocka_unit_test(validation_split),
        cmocka_unit_test(validation_share),
        cmocka_unit_test(limits),
        cmocka_unit_test(limits_near_ends),
        cmocka_unit_test(begin_and_end_ids),
        cmocka_unit_test(manifest),
        cmocka_unit_test(no_manifest),
        cmocka_unit_test(errors),
        cmocka_unit_test(operands),
        cmocka_unit_test(from_parquet),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
