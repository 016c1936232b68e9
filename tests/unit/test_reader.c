/* Readers: what a file is, where documents begin and end, packed forms, damaged files, fields and filters. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include "base/err.h"
#include "base/mem.h"
#include "data/reader.h"
#include "data_help.h"
#include "test_data.h"

static char *dir;

static int setup(void **state) {
    (void)state;
    dir = scratch_new();
    return 0;
}

static int teardown(void **state) {
    (void)state;
    scratch_free(dir);
    assert_int_equal(mem_in_use(), 0);
    return 0;
}

/* All documents of a file, each followed by '|'; then the error, if any, in braces. Caller frees. */
static char *read_all(const char *path, const struct reader_settings *s) {
    struct err err = {0};
    struct document doc;
    char *out;
    size_t size;
    int k;
    FILE *f = open_memstream(&out, &size);
    struct reader *r = reader_open(path, s, &err);
    for (k = r ? 1 : -1; k > 0 && (k = reader_next(r, &doc, &err)) > 0;) {
        fwrite(doc.text, 1, (size_t)doc.n, f);
        fputc('|', f);
    }
    if (k < 0) fprintf(f, "{%s}", err.msg);
    reader_close(r);
    fclose(f);
    return out;
}

static void expect(const char *path, const struct reader_settings *s, const char *want) {
    char *got = read_all(path, s);
    if (strcmp(got, want) != 0) fail_msg("expected '%s', found '%s'", want, got);
    free(got);
}

static void expect_error(const char *path, const struct reader_settings *s, const char *word) {
    char *got = read_all(path, s);
    if (!strchr(got, '{') || !strstr(got, word)) fail_msg("expected an error with '%s', found '%s'", word, got);
    free(got);
}

static const struct reader_settings plain = {0};

static void text_by_blank_lines(void **state) {
    (void)state;
    const char *path = in(dir, "a.txt");
    put_text(path, "one\ntwo\n\nthree\n  \t\n\n\nfour");
    expect(path, &plain, "one\ntwo|three|four|");
    put_text(path, "\r\n\r\n  indented\r\nlines\r\n\r\nnext\r\n");
    expect(path, &plain, "  indented\r\nlines|next|");
    put_text(path, "\xef\xbb\xbfmarked\n\n\n");
    expect(path, &plain, "marked|");
    put_text(path, "");
    expect(path, &plain, "");
    put_text(path, " \n \n\n \t");
    expect(path, &plain, "");
    put(path, "a\0b\n\nc", 7);
    struct err err = {0};
    struct reader *r = reader_open(path, &plain, &err);
    struct document doc;
    assert_int_equal(reader_next(r, &doc, &err), 1);
    assert_int_equal(doc.n, 3);
    assert_memory_equal(doc.text, "a\0b", 3);
    reader_close(r);
}

static void text_by_separator(void **state) {
    (void)state;
    const char *path = in(dir, "a.txt");
    struct reader_settings s = {.separator = "<|end|>"};
    put_text(path, "one\n\ntwo\n<|end|>\nthree<|end|><|end|>four <|end|");
    expect(path, &s, "one\n\ntwo|three|four <|end||");
    s.separator = "\n";
    put_text(path, "one\ntwo\n\nthree");
    expect(path, &s, "one|two|three|");
    s.separator = "never";
    expect(path, &s, "one\ntwo\n\nthree|");
    s.separator = "";
    expect_error(path, &s, "separator");
}

/* Documents of every length around the buffer's, so that every delimiter falls on every kind of border. */
static void long_documents(void **state) {
    (void)state;
    const char *path = in(dir, "a.txt");
    enum { N = 40 };
    char *text = malloc(N * 300000), *p = text;
    const char *delimiter[2] = {"\n  \t \n", "<|end|>"};
    for (int kind = 0; kind < 2; kind++) {
        int64_t want[N];
        p = text;
        for (int i = 0; i < N; i++) {
            want[i] = i % 3 == 0 ? 1 + i : (1 << 17) * (i % 3) - 20 + i;
            memset(p, 'a' + i % 26, (size_t)want[i]);
            p = stpcpy(p + want[i], delimiter[kind]);
        }
        put(path, text, (size_t)(p - text));
        struct err err = {0};
        struct document doc;
        struct reader *r = reader_open(path, &(struct reader_settings){.separator = kind ? "<|end|>" : NULL}, &err);
        for (int i = 0; i < N; i++) {
            assert_int_equal(reader_next(r, &doc, &err), 1);
            assert_int_equal(doc.n, want[i]);
            assert_int_equal(doc.number, i);
            assert_int_equal(doc.text[0], 'a' + i % 26);
            assert_int_equal(doc.text[doc.n - 1], 'a' + i % 26);
        }
        assert_int_equal(reader_next(r, &doc, &err), 0);
        assert_int_equal(reader_next(r, &doc, &err), 0);
        assert_int_equal(reader_bytes(r), p - text);
        reader_close(r);
    }
    free(text);
}

static void json_lines(void **state) {
    (void)state;
    const char *path = in(dir, "a.jsonl");
    put_text(path,
             "{\"text\": \"one\\u00e9\\n\\n\", \"id\": 99999999999999999999}\n\n{\"id\": 2, \"content\": \"two\"}\r\n"
             "{\"text\": \"\"}\n{\"text\": null}\n{\"text\": \"thr\xc3\xa9"
             "e\"}");
    expect(path, &plain,
           "one\xc3\xa9\n\n|two|thr\xc3\xa9"
           "e|");
    put_text(path, "{\"text\": \"a\\ud83d\\ude00b\\\\ud83d\"}\n{\"text\": \"\\ud83dx\\uDE00\\ud83d\\ud83d\\ude00\"}\n");
    expect(path, &plain,
           "a\xf0\x9f\x98\x80"
           "b\\ud83d|\xef\xbf\xbdx\xef\xbf\xbd\xef\xbf\xbd\xf0\x9f\x98\x80|");
    put_text(path, "{\"text\": \"\\ud83d\\uzz\"}\n");
    expect_error(path, &plain, "not JSON");
    put_text(path, "{\"body\": {\"text\": \"deep\"}, \"body.x\": {\"y\": \"dotted\"}}\n");
    expect(path, &(struct reader_settings){.text_field = "body.text"}, "deep|");
    expect(path, &(struct reader_settings){.text_field = "body.x.y"}, "dotted|");
    expect_error(path, &plain, "line 1: no field 'text' (it has: body, body.x)");
    expect_error(path, &(struct reader_settings){.text_field = "body"}, "not a string");
    put_text(path, "{\"text\": \"fine\"}\n\n{\"text\": 1}\n");
    expect_error(path, &plain, "fine|{");
    expect_error(path, &plain, "line 3: field 'text' is not a string");
    put_text(path, "{\"text\": \"fine\"}\n{\"text\": \"cut");
    expect_error(path, &plain, "line 2: not JSON");
    put_text(path, "{\"text\": \"fine\"}\n[1]\n");
    expect_error(path, &plain, "line 2: expected a JSON object");
    put_text(path, "{\"text\": \"a\xff\"}\n");
    expect_error(path, &plain, "line 1: not JSON");
    put_text(path, "\xef\xbb\xbf{\"text\": \"marked\"}\n{\"text\": \"x\"}\n");
    expect(path, &plain, "marked|x|");
    put_text(path, "[{\"text\": \"x\"},\n {\"text\": \"\"}, {\"text\": \"y\"}]\n");
    expect(path, &plain, "x|y|");
}

static void filters(void **state) {
    (void)state;
    const char *path = in(dir, "a.jsonl");
    put_text(path, "{\"text\": \"a\", \"meta\": {\"set\": \"web\"}, \"n\": 3, \"ok\": true}\n"
                   "{\"text\": \"b\", \"meta\": {\"set\": \"code\"}, \"n\": 4.5, \"ok\": false}\n"
                   "{\"text\": \"c\"}\n");
    const char *const sets[][3] = {{"meta.set=code"}, {"meta.set=web", "n=4.5"}, {"n=3"}, {"ok=false"}, {"meta=web"}};
    const char *const want[] = {"a|c|", "c|", "b|c|", "a|c|", "a|b|c|"};
    for (int i = 0; i < 5; i++) expect(path, &(struct reader_settings){.skip = sets[i]}, want[i]);
    const char *const wrong[] = {"meta.set", NULL};
    expect_error(path, &(struct reader_settings){.skip = wrong}, "FIELD=VALUE");
    /* skipped ones count in the numbering */
    struct err err = {0};
    struct document doc;
    struct reader *r = reader_open(path, &(struct reader_settings){.skip = sets[0]}, &err);
    assert_int_equal(reader_next(r, &doc, &err), 1);
    assert_int_equal(reader_next(r, &doc, &err), 1);
    assert_int_equal(doc.number, 2);
    reader_close(r);
}

static void forms(void **state) {
    (void)state;
    const char *json = "{\"text\": \"x\"}\n";
    put_text(in(dir, "no_name"), json); /* the first letter */
    expect(in(dir, "no_name"), &plain, "x|");
    put_text(in(dir, "b.TXT"), json); /* the name */
    expect(in(dir, "b.TXT"), &plain, "{\"text\": \"x\"}|");
    put_text(in(dir, "c.ndjson"), "text\n");
    expect_error(in(dir, "c.ndjson"), &plain, "not JSON");
    const struct {
        const char *bytes, *word;
        size_t n;
    } other[] = {{"\xfd"
                  "7zXZ\0",
                  "xz", 6},
                 {"BZh91AY", "bunzip2", 7},
                 {"PK\3\4....", "zip", 8},
                 {"\xff\xfeh\0i\0", "UTF-16", 6},
                 {"%PDF-1.4", "PDF", 8},
                 {"LITPKDS\1", "chunk file", 8}};
    for (size_t i = 0; i < sizeof other / sizeof *other; i++) {
        put(in(dir, "d.txt"), other[i].bytes, other[i].n);
        expect_error(in(dir, "d.txt"), &plain, other[i].word);
    }
    char tar[512] = "name";
    memcpy(tar + 257, "ustar", 5);
    put(in(dir, "e.txt"), tar, sizeof tar);
    expect_error(in(dir, "e.txt"), &plain, "tar");
    expect_error(in(dir, "none.txt"), &plain, "none.txt");
    expect_error(dir, &plain, "not a regular file");
}

/* Bytes that are no text, or text in another encoding, are refused whatever the file is called. */
static void no_text(void **state) {
    (void)state;
    static const char *const names[] = {"noise", "noise.txt", "noise.jsonl"};
    char noise[600], latin[600];
    for (int i = 0; i < 600; i++) noise[i] = (char)(1 + ((unsigned)i * 2654435761u >> 7) % 255);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        put(in(dir, names[i]), noise, sizeof noise);
        expect_error(in(dir, names[i]), &plain, "not text in UTF-8");
    }
    put(in(dir, "utf16.txt"), "a\0b\0c\0d\0e\0f\0g\0h\0i\0", 18); /* without its mark */
    expect_error(in(dir, "utf16.txt"), &plain, "of its first 18 bytes 9 are zero");
    put(in(dir, "noise.parquet"), noise, sizeof noise);
    expect_error(in(dir, "noise.parquet"), &plain, "not a Parquet file");
    put_text(in(dir, "text.parquet"), "a text\n");
    expect_error(in(dir, "text.parquet"), &plain, "not a Parquet file");
    memset(latin, 'a', sizeof latin);
    for (int i = 0; i < 500; i += 12) latin[i] = '\xe9'; /* French in Latin-1 passes: the tokenizer mends the few */
    latin[599] = '\0';
    put_text(in(dir, "latin.txt"), latin);
    char *got = read_all(in(dir, "latin.txt"), &plain);
    assert_null(strchr(got, '{'));
    free(got);
    for (int i = 0; i < 598; i += 2) memcpy(latin + i, "\xc3\xa9", 2); /* the 512th byte is in a character */
    latin[0] = 'x', latin[1] = 'x', latin[598] = 0;
    memmove(latin + 1, latin + 2, 597);
    put_text(in(dir, "accents.txt"), latin);
    got = read_all(in(dir, "accents.txt"), &plain);
    assert_null(strchr(got, '{'));
    free(got);
}

/* ---- packed files ---- */

static size_t zst(char *out, size_t room, const char *text, size_t n, int window_log, bool checksum) {
    ZSTD_CCtx *c = ZSTD_createCCtx();
    ZSTD_CCtx_setParameter(c, ZSTD_c_checksumFlag, checksum);
    if (window_log) {
        ZSTD_CCtx_setParameter(c, ZSTD_c_enableLongDistanceMatching, 1);
        ZSTD_CCtx_setParameter(c, ZSTD_c_windowLog, window_log);
        ZSTD_CCtx_setParameter(c, ZSTD_c_contentSizeFlag, 0); /* or the window shrinks to the content */
    }
    ZSTD_inBuffer src = {text, n, 0};
    ZSTD_outBuffer dst = {out, room, 0};
    assert_int_equal(ZSTD_compressStream2(c, &dst, &(ZSTD_inBuffer){text, 0, 0}, ZSTD_e_continue) > SIZE_MAX / 2, 0);
    assert_int_equal(ZSTD_compressStream2(c, &dst, &src, ZSTD_e_end), 0);
    ZSTD_freeCCtx(c);
    return dst.pos;
}

static size_t gz(char *out, size_t room, const char *text, size_t n) {
    z_stream z = {0};
    assert_int_equal(deflateInit2(&z, 1, Z_DEFLATED, 15 + 16, 9, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = (unsigned char *)(uintptr_t)text;
    z.avail_in = (uInt)n;
    z.next_out = (unsigned char *)out;
    z.avail_out = (uInt)room;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    deflateEnd(&z);
    return z.total_out;
}

static void packed_small(void **state) {
    (void)state;
    char buf[4096];
    const char *path = in(dir, "a.jsonl.zst");
    size_t n = zst(buf, sizeof buf, "{\"text\": \"o", 11, 0, true); /* frames end anywhere */
    memcpy(buf + n, "\x51\x2a\x4d\x18\3\0\0\0abc", 11);             /* a skippable frame */
    n += 11;
    n += zst(buf + n, sizeof buf - n, "", 0, 0, false);
    n += zst(buf + n, sizeof buf - n, "ne\"}\n{\"text\": \"two\"}\n", 21, 0, true);
    put(path, buf, n);
    expect(path, &plain, "one|two|");
    for (size_t cut = 1; cut < n; cut++) { /* every cut: an error or exactly the end of a frame */
        put(path, buf, cut);
        char *got = read_all(path, &plain);
        assert_non_null(strchr(got, '{'));
        free(got);
    }
    put(path, buf, n);
    buf[n] = 'x';
    put(path, buf, n + 1);
    expect_error(path, &plain, "Unknown frame");
    buf[n - 1] ^= 1; /* the checksum */
    put(path, buf, n);
    expect_error(path, &plain, "damaged zstd data");

    path = in(dir, "b.gz");
    n = gz(buf, sizeof buf, "one\n\ntw", 7);
    n += gz(buf + n, sizeof buf - n, "", 0);
    n += gz(buf + n, sizeof buf - n, "o\n\nthree", 8);
    put(path, buf, n);
    expect(path, &plain, "one|two|three|");
    memset(buf + n, 0, 20);
    put(path, buf, n + 20); /* padding, as tapes have it */
    expect(path, &plain, "one|two|three|");
    buf[n + 3] = 'x';
    put(path, buf, n + 20);
    expect_error(path, &plain, "no further member");
    put(path, buf, n - 3);
    expect_error(path, &plain, "cut short");
    buf[n - 6] ^= 1; /* the check sum */
    put(path, buf, n);
    expect_error(path, &plain, "damaged gzip data");
}

/* The mark of a packed form may come in pieces; what cannot be one is handed on at once. */
static void through_a_pipe(void **state) {
    (void)state;
    char buf[256], *path = strdup(in(dir, "pipe"));
    assert_int_equal(mkfifo(path, 0600), 0);
    for (int packed = 0; packed < 3; packed++) {
        size_t n = packed == 0   ? 5
                   : packed == 1 ? zst(buf, sizeof buf, "(one)", 5, 0, true)
                                 : gz(buf, sizeof buf, "(one)", 5);
        if (packed == 0) memcpy(buf, "(one)", 5); /* its first byte is zstd's too */
        const pid_t child = fork();
        if (child == 0) {
            const int fd = open(path, O_WRONLY);
            for (size_t i = 0; i < n; i++) {
                if (write(fd, buf + i, 1) != 1) _exit(1);
                usleep(i < 5 ? 5000 : 0);
            }
            _exit(0);
        }
        expect(path, &plain, "(one)|");
        waitpid(child, NULL, 0);
    }
    free(path);
}

/* 12 MiB in frames of very different lengths and a window of 2 GiB; then the same as gzip members. */
static void packed_large(void **state) {
    (void)state;
    enum { SIZE = 12 << 20, LINE = 4096 };
    char *text = malloc(SIZE), *packed = malloc(SIZE);
    uint32_t x = 1;
    for (int i = 0; i < SIZE; i++) {
        if (i % LINE == 0 || i % 64 > 20) x = x * 1664525 + 1013904223;
        text[i] = i % LINE == LINE - 1 ? '\n' : (char)('a' + (i / 8192 * LINE + i % LINE) * (x >> 28) % 26);
    }
    for (int kind = 0; kind < 3; kind++) {
        size_t n = 0, at = 0, piece = kind == 2 ? SIZE : 1;
        for (; at < SIZE; at += piece, piece = piece * 7 + 3) {
            if (piece > SIZE - at) piece = SIZE - at;
            n += kind == 1 ? gz(packed + n, SIZE - n, text + at, piece)
                           : zst(packed + n, SIZE - n, text + at, piece, kind == 2 ? 31 : 0, true);
        }
        const char *path = in(dir, "large");
        put(path, packed, n);
        struct err err = {0};
        struct record rec;
        struct reader *r = reader_open(path, &(struct reader_settings){.separator = "\n"}, &err);
        assert_non_null(r);
        int64_t k = 0;
        for (int status; (status = reader_record(r, &rec, &err)) != 0; k++) {
            if (status < 0) fail_msg("%s", err.msg);
            assert_int_equal(rec.n, LINE - 1);
            assert_int_equal(rec.line, k + 1);
            assert_memory_equal(rec.data, text + k * LINE, LINE - 1);
        }
        assert_int_equal(k, SIZE / LINE);
        assert_int_equal(reader_bytes(r), n);
        reader_close(r);
    }
    free(text);
    free(packed);
}

static void too_long(void **state) {
    (void)state;
    char *text = malloc(RECORD_MAX + (2 << 20)), *buf = malloc(1 << 20);
    memset(text, 'a', RECORD_MAX + (2 << 20));
    memcpy(text, "first\n\n", 7);
    put(in(dir, "a"), buf, zst(buf, 1 << 20, text, RECORD_MAX + (2 << 20), 0, false));
    expect_error(in(dir, "a"), &plain, "line 3: a document longer than 64 MiB");
    free(text);
    free(buf);
}

/* Real files, where they are. */
static void real_files(void **state) {
    (void)state;
    const struct {
        const char *name, *field;
        int64_t documents;
    } files[] = {
        {"data/zst/pile_dummy_00.jsonl.zst", NULL, 1},          {"data/zst/pile_dummy_val.jsonl.zst", NULL, 1},
        {"data/zst/dolma_test.jsonl.zst", "message", 1},        {"data/zst/dolma_cc_en_head-0091.jsonl", NULL, 10},
        {"data/zst/dolma_cc_en_head-0174.jsonl", NULL, 10},     {"data/parquet/cc20.jsonl", NULL, 20},
        {"data/corpus/fairytaleqa_stories.txt", "separator", 0}};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        const char *path = test_data(files[i].name);
        if (!path) continue;
        struct reader_settings s = {.text_field = files[i].field};
        if (s.text_field && !strcmp(s.text_field, "separator"))
            s = (struct reader_settings){.separator = "<|endoftext|>"};
        struct err err = {0};
        struct document doc;
        struct reader *r = reader_open(path, &s, &err);
        int64_t n = 0;
        int k;
        while ((k = r ? reader_next(r, &doc, &err) : -1) > 0) n++;
        if (k < 0) fail_msg("%s", err.msg);
        if (files[i].documents) assert_int_equal(n, files[i].documents);
        assert_true(n > 0);
        reader_close(r);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_by_blank_lines), cmocka_unit_test(text_by_separator), cmocka_unit_test(long_documents),
        cmocka_unit_test(json_lines),          cmocka_unit_test(filters),           cmocka_unit_test(forms),
        cmocka_unit_test(packed_small),        cmocka_unit_test(no_text),           cmocka_unit_test(through_a_pipe),
        cmocka_unit_test(packed_large),        cmocka_unit_test(too_long),          cmocka_unit_test(real_files),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
