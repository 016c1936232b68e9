/* prepare: what goes in comes out, in order, once, whatever the number of workers and however often the run was stopped
 * or killed; the validation split; limits; the manifest. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>

#include <math.h>
#include <signal.h>
#include <sys/wait.h>
#include <zlib.h>
#include <zstd.h>

#include "base/err.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/jsonl.h"
#include "base/lock.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/stop.h"
#include "data/chunk.h"
#include "data/prepare.h"
#include "data_help.h"
#include "stop_help.h"
#include "text/tokenizer.h"

enum { DOCS = 3000, FILES = 4, CHUNK = 50000 };

static char *dir, *doc[DOCS];
static struct tokenizer *tok;
static struct sources sources;

/* Made-up documents of 1 to about 3000 bytes; every text is there once. */
static void make_documents(void) {
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

static void json_text(FILE *f, const char *s) {
    for (; *s; s++) fprintf(f, *s == '"' || *s == '\\' ? "\\%c" : "%c", *s);
}

/* Four files, a quarter of the documents in each: text, jsonl, jsonl.zst, jsonl.gz; with documents to skip in between.
 */
static void make_files(void) {
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

static int setup(void **state) {
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

static int teardown(void **state) {
    (void)state;
    scratch_free(dir);
    sources_free(&sources);
    tokenizer_free(tok);
    for (int i = 0; i < DOCS; i++) free(doc[i]);
    assert_int_equal(mem_in_use(), 0);
    return 0;
}

static const char *const skip_code[] = {"meta.set=code", NULL};

static struct prepare_settings settings(const char *out) {
    return (struct prepare_settings){.out = out,
                                     .split = "train",
                                     .name = "made-up",
                                     .sources = &sources,
                                     .eos = true,
                                     .chunk_tokens = CHUNK,
                                     .threads = 2,
                                     .reader = {.skip = skip_code}};
}

static struct prepare_result prepare(const struct prepare_settings *s) {
    struct prepare_result r;
    struct err err = {0};
    if (prepare_run(s, tok, &r, &err) < 0) fail_msg("%s", err.msg);
    return r;
}

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

static void same_folder(const char *a, const char *b) {
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

/* Runs in a child that is asked to stop (sig = SIGTERM) before it starts, or killed a moment after the file `until` has
 * come into being. Its wait status. */
static int run_child(const struct prepare_settings *s, int sig, const char *until) {
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        struct err err = {0};
        struct prepare_result r;
        stop_install();
        if (sig == SIGTERM) ask_to_stop();
        int status = prepare_run(s, tok, &r, &err);
        if (status < 0) fprintf(stderr, "child: %s\n", err.msg);
        _exit(status < 0 ? 1 : r.stopped ? 3 : 0);
    }
    int status, ended = 0;
    if (sig == SIGKILL) {
        static long moment;
        while (!there(until) && (ended = waitpid(pid, &status, WNOHANG)) == 0) usleep(100);
        usleep((useconds_t)(moment++ * 700 % 3000));
        if (!ended) kill(pid, SIGKILL);
    }
    if (!ended) assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void stopped_and_resumed(void **state) {
    (void)state;
    struct prepare_settings s = settings(in(dir, "s_whole"));
    s.validation = 0.1;
    prepare(&s);
    s.out = in(dir, "s_stopped");
    s.save_seconds = 0;
    for (int i = 0; i < 3; i++) { /* each time one job further */
        int status = run_child(&s, SIGTERM, NULL);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 3);
        assert_true(there(in(dir, "s_stopped/prepare_train_made-up.json")));
    }
    /* other settings are refused as long as the position is there */
    struct prepare_settings other = s;
    struct err err = {0};
    struct prepare_result r;
    other.eos = false;
    assert_int_equal(prepare_run(&other, tok, &r, &err), -1);
    assert_says(err, "unfinished run with other settings");
    s.threads = 5; /* is no such setting */
    r = prepare(&s);
    assert_true(r.resumed);
    assert_true(r.tokens_before > 0 && r.tokens_before < r.counts.tokens);
    same_folder(in(dir, "s_whole"), in(dir, "s_stopped"));
}

/* What a run has read, for its rate: without the files that an earlier one has done with. */
static void bytes_of_this_run(void **state) {
    (void)state;
    struct err err = {0};
    struct prepare_result r;
    struct prepare_settings s = settings(in(dir, "bytes"));
    int64_t file = 0, left = sources.bytes;
    s.chunk_tokens = 30000;
    fault_set(FAULT_WRITE, 40, true);
    assert_int_equal(prepare_run(&s, tok, &r, &err), -1);
    fault_set(FAULT_WRITE, 0, false);
    json_t *at = json_read_file(in(dir, "bytes/prepare_train_made-up.json"), 1 << 20, &err);
    assert_int_equal(json_get_int(at, "file", &file, 1, FILES - 1, true, "saved", &err), 1);
    json_decref(at);
    for (int64_t i = 0; i < file; i++) left -= sources.sizes[i];
    r = prepare(&s);
    assert_true(r.resumed);
    assert_int_equal(r.bytes_read, left);
}

static void killed_and_resumed(void **state) {
    (void)state;
    struct prepare_settings s = settings(in(dir, "k_whole"));
    s.validation = 0.1;
    s.chunk_tokens = 30000; /* some thirty chunks and saved positions */
    prepare(&s);
    s.out = in(dir, "k_killed");
    s.save_seconds = 0;
    int kills = 0;
    for (int chunk = 0;; chunk += 3) {
        char until[4096];
        snprintf(until, sizeof until, "%s/train_made-up_0_%010d.bin", s.out, chunk);
        int status = run_child(&s, SIGKILL, until);
        if (WIFEXITED(status)) {
            assert_int_equal(WEXITSTATUS(status), 0);
            break;
        }
        kills++;
    }
    print_message("killed %d times\n", kills);
    assert_true(kills > 2);
    same_folder(in(dir, "k_whole"), in(dir, "k_killed"));
    put_text(in(dir, "k_killed/manifest.json.tmp.0123456789abcdef"), "{"); /* of a kill in the last moment */
    prepare(&s);
    same_folder(in(dir, "k_whole"), in(dir, "k_killed"));
}

/* A stop is seen while the reader passes over what an earlier run has done: here that has since become unreadable, so
 * that whoever reads on meets an error. */
static void stopped_while_skipping(void **state) {
    (void)state;
    struct err err = {0};
    struct sources src = {0};
    char *text, *packed = malloc(4 << 20);
    size_t size, n = 0, first = 0;
    for (int frame = 0; frame < 2; frame++) { /* 100 documents, then 3000: a job ends within the second frame */
        FILE *f = open_memstream(&text, &size);
        for (int i = 0; i < (frame ? 3000 : 100); i++) {
            fprintf(f, "{\"text\": \"%d:", i);
            for (int k = 0; k < 300; k++) fputc('a' + (int)rng_below(1, RNG_TEST, (uint64_t)i, (uint64_t)k, 23), f);
            fprintf(f, "\"}\n");
        }
        fclose(f);
        n += ZSTD_compress(packed + n, (4 << 20) - n, text, size, 1);
        if (frame == 0) first = n;
        free(text);
    }
    put(in(dir, "skip.jsonl.zst"), packed, n);
    assert_int_equal(sources_add(&src, in(dir, "skip.jsonl.zst"), &err), 0);
    struct prepare_settings s = settings(in(dir, "skipping"));
    s.sources = &src;
    int status = run_child(&s, SIGTERM, NULL);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 3);
    json_t *at = json_read_file(in(dir, "skipping/prepare_train_made-up.json"), 1 << 20, &err);
    assert_in_range(json_integer_value(json_object_get(at, "record")), 200, 2900);
    json_decref(at);
    assert_true(n > 8 * 4096);
    for (size_t k = first + 10; k < n; k++) { /* all but the pieces that tell whether the file is the same */
        bool piece = false;
        for (size_t i = 0; i < 8; i++) piece = piece || k - (n - 4096) * i / 7 < 4096;
        if (!piece) packed[k] = (char)0xff;
    }
    put(in(dir, "skip.jsonl.zst"), packed, n);
    status = run_child(&s, SIGTERM, NULL);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 3);
    struct prepare_result r;
    assert_int_equal(prepare_run(&s, tok, &r, &err), -1);
    assert_says(err, "damaged zstd data");
    sources_free(&src);
    free(packed);
}

/* One tokenizer a folder, one program at a time. */
static void one_tokenizer_and_one_program(void **state) {
    (void)state;
    struct err err = {0};
    struct prepare_result r;
    struct prepare_settings s = settings(in(dir, "one_tokenizer"));
    s.limit_documents = 5;
    prepare(&s);
    /* the same file, but its end id is another */
    mkdir(in(dir, "other"), 0777);
    put_byte_tokenizer(in(dir, "other/tokenizer.json"));
    put_text(in(dir, "other/tokenizer_config.json"), "{\"eos_token\": \"A\"}");
    struct tokenizer *other = tokenizer_load(in(dir, "other"), &err);
    assert_int_equal(tokenizer_eos(other), 'A' + 1);
    s.name = "second";
    assert_int_equal(prepare_run(&s, other, &r, &err), -1);
    assert_says(err, "holds the set 'train_made-up' of another tokenizer");
    prepare(&s); /* the first one's is welcome */
    s.name = "made-up";
    assert_int_equal(prepare_run(&s, other, &r, &err), -1); /* not "already complete" */
    assert_says(err, "made with other settings, files or tokenizer");
    /* a tokenizer that lies there before any set */
    s.out = in(dir, "other");
    assert_int_equal(prepare_run(&s, tok, &r, &err), -1);
    assert_says(err, "is another tokenizer than");
    tokenizer_free(other);
    s.out = in(dir, "locked");
    mkdir(s.out, 0777);
    int lock = lock_take(s.out, &err);
    assert_int_equal(prepare_run(&s, tok, &r, &err), -1);
    assert_says(err, "another program is at work in this folder");
    lock_release(lock);
    prepare(&s);
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

/* A file of the same name and size with other bytes is another file; a copy of it, made at another time, is the same. */
static void edited_in_place(void **state) {
    (void)state;
    struct err err = {0};
    struct prepare_result r;
    struct sources one = {0};
    enum { SIZE = 300000 };
    char *text = malloc(SIZE);
    for (int i = 0; i < SIZE; i++) text[i] = i % 60 ? 'a' : '\n';
    put(in(dir, "edited.txt"), text, SIZE);
    assert_int_equal(sources_add(&one, in(dir, "edited.txt"), &err), 0);
    struct prepare_settings s = settings(in(dir, "edited"));
    s.sources = &one;
    prepare(&s);
    put(in(dir, "edited.txt"), text, SIZE);
    assert_true(prepare(&s).complete);
    for (int at = 0; at < SIZE; at += SIZE - 1) { /* the first and the last byte */
        text[at] = 'b';
        put(in(dir, "edited.txt"), text, SIZE);
        assert_int_equal(prepare_run(&s, tok, &r, &err), -1);
        assert_says(err, "made with other settings, files");
        text[at] = at % 60 ? 'a' : '\n';
    }
    sources_free(&one);
    free(text);
}

/* A run that was stopped before its first chunk, by a bad file say, is in nobody's way. */
static void nothing_finished(void **state) {
    (void)state;
    struct prepare_settings s = settings(in(dir, "nothing"));
    s.chunk_tokens = 1 << 20;
    s.save_seconds = 0;
    const int status = run_child(&s, SIGTERM, NULL);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 3);
    assert_true(there(in(dir, "nothing/prepare_train_made-up.json")));
    s.eos = false;
    assert_false(prepare(&s).resumed);
    s.out = in(dir, "nothing_before");
    prepare(&s);
    same_folder(in(dir, "nothing"), s.out);
}

/* Two sets never write one stream, whether the other is finished or begun, in whichever order they come. */
static void streams_of_other_sets(void **state) {
    (void)state;
    struct err err = {0};
    struct prepare_result r;
    struct prepare_settings first = settings(in(dir, "streams")), other = first, held_out = first, none = first;
    first.validation = 0.01; /* no chunk of it yet when the run is stopped */
    other.validation = 0.5, other.split = "test";
    held_out.split = "validation";
    none.split = "test";
    int status = run_child(&first, SIGTERM, NULL);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 3);
    assert_int_equal(prepare_run(&other, tok, &r, &err), -1);
    assert_says(err, "the unfinished set 'train_made-up' writes validation_made-up_*.bin, too");
    assert_int_equal(prepare_run(&held_out, tok, &r, &err), -1);
    assert_says(err, "the unfinished set 'train_made-up' writes validation_made-up_*.bin, too");
    assert_true(prepare(&first).resumed);
    assert_int_equal(prepare_run(&other, tok, &r, &err), -1);
    assert_says(err, "already has validation_made-up_*.bin, of the set 'train_made-up'");
    assert_int_equal(prepare_run(&held_out, tok, &r, &err), -1);
    assert_says(err, "already has validation_made-up_*.bin, of the set 'train_made-up'");
    none.limit_documents = 5;
    prepare(&none); /* shares the name, and no stream */
    assert_true(prepare(&first).complete);
    held_out.out = other.out = in(dir, "streams2");
    held_out.chunk_tokens = 1 << 20; /* stopped before its first chunk */
    status = run_child(&held_out, SIGTERM, NULL);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 3);
    assert_int_equal(prepare_run(&other, tok, &r, &err), -1);
    assert_says(err, "the unfinished set 'validation_made-up' writes validation_made-up_*.bin, too");
    unlink(in(dir, "streams2/prepare_validation_made-up.json")); /* a tail alone is nobody's */
    prepare(&other);
}

static void lost_chunks(void **state) {
    (void)state;
    struct err err = {0};
    struct prepare_result r;
    struct prepare_settings s = settings(in(dir, "lost"));
    const char *const chunk = in(dir, "lost/train_made-up_0_0000000001.bin"), *const away = in(dir, "away.bin");
    s.validation = 0.1;
    s.chunk_tokens = 20000;
    int status = run_child(&s, SIGTERM, NULL);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 3);
    for (int i = 0; i < 2; i++) { /* of a run that goes on, of a finished set */
        assert_int_equal(rename(chunk, away), 0);
        assert_int_equal(prepare_run(&s, tok, &r, &err), -1);
        assert_says(err, "train_made-up_0_0000000001.bin': No such file");
        assert_says(err, i ? "there and manifest.json" : "prepare_train_made-up.json and train_made-up_*.bin");
        assert_int_equal(file_copy(in(dir, "lost/train_made-up_0_0000000000.bin"), chunk, &err), 0);
        assert_int_equal(truncate(chunk, 24 + 2 * 10), 0);
        unsigned char ten[8] = {10};
        int fd = open(chunk, O_WRONLY);
        assert_int_equal(pwrite(fd, ten, 8, 16), 8);
        close(fd);
        assert_int_equal(prepare_run(&s, tok, &r, &err), -1);
        assert_says(err, i ? "10 tokens, manifest.json says 20000" : "10 tokens of 20000");
        assert_int_equal(rename(away, chunk), 0);
        r = prepare(&s);
        assert_true(i ? r.complete : r.resumed);
    }
    assert_int_equal(unlink(in(dir, "lost/validation_made-up_0_0000000000.bin")), 0);
    assert_int_equal(prepare_run(&s, tok, &r, &err), -1);
    assert_says(err, "validation_made-up_0_0000000000.bin': No such file");
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
    /* a state that does not fit its tails */
    s = settings(in(dir, "e5"));
    s.validation = 0.1;
    int status = run_child(&s, SIGTERM, NULL);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 3);
    size_t n;
    char *text = get(in(dir, "e5/prepare_train_made-up.json"), &n), *p = strstr(text, "\"main_tokens\": ");
    p[15] = p[15] == '9' ? '1' : (char)(p[15] + 1);
    put(in(dir, "e5/prepare_train_made-up.json"), text, n);
    free(text);
    assert_int_equal(prepare_run(&s, tok, &r, &err), -1);
    assert_says(err, "do not fit");
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
        cmocka_unit_test(stopped_and_resumed),
        cmocka_unit_test(bytes_of_this_run),
        cmocka_unit_test(killed_and_resumed),
        cmocka_unit_test(stopped_while_skipping),
        cmocka_unit_test(one_tokenizer_and_one_program),
        cmocka_unit_test(manifest),
        cmocka_unit_test(edited_in_place),
        cmocka_unit_test(nothing_finished),
        cmocka_unit_test(streams_of_other_sets),
        cmocka_unit_test(lost_chunks),
        cmocka_unit_test(no_manifest),
        cmocka_unit_test(errors),
        cmocka_unit_test(operands),
        cmocka_unit_test(from_parquet),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
