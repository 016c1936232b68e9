/* Parquet: files that pyarrow wrote from made-up rows, in every encoding and codec; the format's own examples by hand;
 * cut and damaged files; the conformance files where they are. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <lz4.h>
#include <zlib.h>

#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"
#include "parquet/parquet.h"
#include "parquet/codec.h"
#include "parquet/encoding.h"
#include "data/reader.h"
#include "parquet/thrift.h"
#include "data_help.h"
#include "test_data.h"

enum { ROWS = 60 };
static const char golden[] = "tests/golden/parquet";

/* The text of row i, as the files were made: NULL for null. */
static const char *text_of(int i) {
    static char buf[200];
    if (i % 5 == 3) return NULL;
    if (i % 11 == 10) return "";
    int n = snprintf(buf, sizeof buf, "row %d says ", i);
    for (int k = 0; k < i % 7; k++) n += snprintf(buf + n, sizeof buf - (size_t)n, "word%d ", i % 4);
    return buf;
}

static struct parquet *open_column(const char *path, const char *column) {
    struct err err = {0};
    struct parquet *p = parquet_open(path, column, &err);
    if (!p) fail_msg("%s", err.msg);
    return p;
}

static struct parquet_value next(struct parquet *p) {
    struct err err = {0};
    struct parquet_value v;
    int k = parquet_next(p, &v, &err);
    if (k < 0) fail_msg("%s", err.msg);
    assert_int_equal(k, 1);
    return v;
}

static void at_end(struct parquet *p) {
    struct err err = {0};
    struct parquet_value v;
    assert_int_equal(parquet_next(p, &v, &err), 0);
    assert_int_equal(parquet_next(p, &v, &err), 0);
    parquet_close(p);
}

static void is(struct parquet_value v, const char *want, int64_t row) {
    if (!want)
        assert_null(v.text);
    else if (!v.text || v.n != (int64_t)strlen(want) || memcmp(v.text, want, (size_t)v.n) != 0)
        fail_msg("row %d: expected '%s', found '%.*s'", (int)row, want, (int)v.n, v.text ? v.text : "null");
    assert_int_equal(v.row, row);
}

static const char *const flat_files[] = {"plain_v1_none",   "dict_v1_snappy_crc", "dict_v2_zstd",
                                         "lengths_v2_gzip", "front_v1_brotli",    "front_v2_lz4_crc"};

static const char *flat_path(int i) {
    static char path[4096];
    snprintf(path, sizeof path, "%s/%s.parquet", golden, flat_files[i]);
    return path;
}

static void flat_columns(void **state) {
    (void)state;
    for (int f = 0; f < 6; f++) {
        struct parquet *p = open_column(flat_path(f), "text");
        assert_false(parquet_repeated(p));
        for (int i = 0; i < ROWS; i++) {
            struct parquet_value v = next(p);
            is(v, text_of(i), i);
            assert_int_equal(v.number, i);
        }
        struct err err = {0};
        assert_int_equal(parquet_bytes(p), file_size(flat_path(f), &err));
        at_end(p);
        p = open_column(flat_path(f), "required");
        for (int i = 0; i < ROWS; i++) is(next(p), text_of(i) && text_of(i)[0] ? text_of(i) : "none", i);
        at_end(p);
        p = open_column(flat_path(f), "text"); /* row groups of 40 and 20 */
        parquet_skip(p, 39);
        is(next(p), text_of(0), 0);
        parquet_close(p);
        p = open_column(flat_path(f), "text");
        parquet_skip(p, 59);
        is(next(p), text_of(40), 40);
        parquet_close(p);
    }
}

/* Lists: row i has i % 4 texts from text_of(i) on, every seventh is null; deep.a.b: text_of(i) below optional groups;
 * map: i % 3 entries k0, k1 with text_of(i * j). */
static void nested_columns(void **state) {
    (void)state;
    static const char *const files[] = {"tests/golden/parquet/nested_v1_snappy.parquet",
                                        "tests/golden/parquet/nested_v2_none.parquet"};
    for (int f = 0; f < 2; f++) {
        struct parquet *p = open_column(files[f], f ? "list" : "list.list.element");
        assert_true(parquet_repeated(p));
        for (int i = 0; i < ROWS; i++) {
            if (i % 7 == 6 || i % 4 == 0) is(next(p), NULL, i); /* null, or empty */
            for (int j = 0; i % 7 != 6 && j < i % 4; j++) is(next(p), text_of(i + j), i);
        }
        at_end(p);
        p = open_column(files[f], "deep"); /* the only one below */
        for (int i = 0; i < ROWS; i++) is(next(p), i % 9 == 8 ? NULL : text_of(i), i);
        at_end(p);
        p = open_column(files[f], "map.key_value.value");
        for (int i = 0; i < ROWS; i++) {
            if (i % 3 == 0) is(next(p), NULL, i);
            for (int j = 0; j < i % 3; j++) is(next(p), text_of(i * j), i);
        }
        at_end(p);
        struct err err = {0};
        assert_null(parquet_open(files[f], "map", &err));
        assert_says(err, "several columns below 'map'");
        char *names = parquet_columns(files[f], &err);
        assert_string_equal(names, "list.list.element\ndeep.a.b\nmap.key_value.key\nmap.key_value.value");
        mem_free(names);
    }
}

static void as_documents(void **state) {
    (void)state;
    static const char *const skip[] = {"kind=code", NULL};
    struct err err = {0};
    struct document doc;
    struct reader *r = reader_open(flat_path(2), &(struct reader_settings){.skip = skip}, &err);
    assert_non_null(r);
    assert_int_equal(reader_form(r), READER_PARQUET);
    for (int i = 0; i < ROWS; i++) {
        if (i % 3 == 0 || !text_of(i) || !text_of(i)[0]) continue; /* every third is of kind 'code' */
        assert_int_equal(reader_next(r, &doc, &err), 1);
        assert_int_equal(doc.number, i);
        assert_int_equal(doc.n, strlen(text_of(i)));
        assert_memory_equal(doc.text, text_of(i), (size_t)doc.n);
    }
    assert_int_equal(reader_next(r, &doc, &err), 0);
    reader_close(r);
    struct record rec; /* whole row groups are passed over, in the filter's column too */
    r = reader_open(flat_path(2), &(struct reader_settings){.skip = skip}, &err);
    reader_skip(r, 45);
    for (int i = 40; i < ROWS; i++) {
        assert_int_equal(reader_record(r, &rec, &err), 1);
        assert_int_equal(rec.number, i);
        assert_int_equal(rec.data == NULL, i % 3 == 0);
    }
    reader_close(r);
    assert_null(reader_open(flat_path(0), &(struct reader_settings){.text_field = "body"}, &err));
    assert_says(err, "no column 'body'; its columns of strings: text, kind, required");
    assert_null(reader_open(flat_path(0), &(struct reader_settings){.text_field = "n"}, &err));
    assert_says(err, "of type INT32");
    static const char *const no_such[] = {"lang=en", NULL};
    assert_null(reader_open(flat_path(0), &(struct reader_settings){.skip = no_such}, &err));
    assert_says(err, "no column 'lang'");
}

/* ---- by hand ---- */

static void runs(void **state) {
    (void)state;
    struct parquet_runs r;
    /* the format's example: 0 … 7 in 3 bits; then a run of 300 times 5; then the end */
    const unsigned char data[] = {3, 0x88, 0xc6, 0xfa, 0xd8, 4, 5};
    parquet_runs_start(&r, data, data + sizeof data, 3);
    for (uint32_t i = 0; i < 8; i++) assert_int_equal(parquet_runs_next(&r), i);
    for (int i = 0; i < 300; i++) assert_int_equal(parquet_runs_next(&r), 5);
    assert_false(r.bad);
    assert_int_equal(parquet_runs_next(&r), 0);
    assert_true(r.bad);
    /* the same bits high end first: 000 001 010 011 100 101 110 111 */
    const unsigned char high[] = {0x05, 0x39, 0x77};
    parquet_runs_start(&r, high, high + 3, 3);
    r.high_first = true;
    for (uint32_t i = 0; i < 8; i++) assert_int_equal(parquet_runs_next(&r), i);
    assert_false(r.bad);
    parquet_runs_next(&r);
    assert_true(r.bad);
    /* 32 bits wide, packed, not at a byte's border of the machine word */
    const unsigned char wide[] = {3, 1, 0, 0, 0x80, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 0, 0, 0,
                                  0, 0, 0, 0, 0,    0,    0,    0,    0,    0, 0, 0, 0, 0, 0, 0};
    parquet_runs_start(&r, wide, wide + sizeof wide, 32);
    assert_true(parquet_runs_next(&r) == 0x80000001u && parquet_runs_next(&r) == UINT32_MAX);
    assert_int_equal(parquet_runs_next(&r), 2);
    /* one dictionary entry: width 0 needs nothing */
    parquet_runs_start(&r, data, data, 0);
    assert_int_equal(parquet_runs_next(&r), 0);
    assert_false(r.bad);
}

static void expect_strings(int encoding, const unsigned char *data, size_t n, const char *const *want) {
    struct parquet_strings s = {0};
    const char *text;
    int64_t size;
    assert_null(parquet_strings_start(&s, encoding, data, data + n, NULL));
    for (; *want; want++) {
        const char *wrong = parquet_strings_next(&s, &text, &size);
        if (wrong) fail_msg("%s", wrong);
        assert_int_equal(size, strlen(*want));
        assert_memory_equal(text, *want, (size_t)size);
    }
    assert_non_null(parquet_strings_next(&s, &text, &size));
    parquet_strings_free(&s);
}

/* Nine lengths whose eight steps take `width` bits: 2^(width-1) more than they are, which the least step takes back. */
static void steps_of(int width) {
    static const int length[9] = {3, 1, 2, 2, 0, 4, 1, 3, 2};
    static const char text[] = "abcdefghijklmnopqr";
    unsigned char data[200] = {8, 1, 9, 6}; /* values a block, miniblocks, values, the first one by zigzag */
    char words[9][5];
    const char *want[10] = {NULL};
    const uint64_t more = 1ull << (width - 1);
    size_t n = 4;
    for (uint64_t least = 2 * more - 1;; least >>= 7) { /* zigzag of -more */
        data[n++] = (unsigned char)((least & 0x7f) | (least > 0x7f ? 0x80 : 0));
        if (least <= 0x7f) break;
    }
    data[n++] = (unsigned char)width;
    for (int i = 0; i < 8; i++) {
        const uint64_t step = more + (uint64_t)(length[i + 1] - length[i]);
        for (int b = 0; b < width; b++)
            if (step >> b & 1) data[n + (size_t)(i * width + b) / 8] |= (unsigned char)(1 << (i * width + b) % 8);
    }
    n += (size_t)width;
    memcpy(data + n, text, sizeof text - 1);
    for (int i = 0, at = 0; i < 9; at += length[i++]) want[i] = memcpy(words[i], text + at, 4), words[i][length[i]] = 0;
    expect_strings(PARQUET_DELTA_LENGTH, data, n + sizeof text - 1, want);
}

/* A dictionary of "one" and a string that ends with its page, or one byte behind it. */
static void dictionary_bounds(void **state) {
    (void)state;
    struct parquet_dictionary d = {0};
    struct err err = {0};
    for (int length = 3; length < 5; length++) {
        const unsigned char page[] = {3, 0, 0, 0, 'o', 'n', 'e', (unsigned char)length, 0, 0, 0, 't', 'w', 'o'};
        unsigned char *data = mem_alloc(sizeof page, 1, "page", &err);
        memcpy(data, page, sizeof page);
        if (length == 3) {
            assert_int_equal(parquet_dictionary_set(&d, data, sizeof page, 2, "f", &err), 0);
        } else {
            assert_int_equal(parquet_dictionary_set(&d, data, sizeof page, 2, "f", &err), -1);
            assert_says(err, "string 1 of a Parquet dictionary does not fit");
            mem_free(data);
        }
    }
    parquet_dictionary_free(&d);
}

static void delta_strings(void **state) {
    (void)state;
    /* the format's example: 7 5 3 1 2 3 4 5 = first 7, smallest step -2, then 0 0 0 3 3 3 3 in 2 bits; 8 values a block
     */
    const unsigned char lengths[] = "\x08\x01\x08\x0e\x03\x02\xc0\x3f"
                                    "sevennnfive5threeabcdefghijklmno";
    const char *const words[] = {"sevennn", "five5", "thr", "e", "ea", "bcd", "efgh", "ijklm", NULL};
    expect_strings(PARQUET_DELTA_LENGTH, lengths, sizeof lengths - 1, words);
    /* axis, axle, babble, babyhood: prefixes 0 2 0 3, suffixes 4 2 6 5; steps 2 -2 3 and -2 4 -1 in 3 bits, 8 a block
     */
    const unsigned char front[] = "\x08\x01\x04\x00\x03\x03\x44\x01\x00"
                                  "\x08\x01\x04\x08\x03\x03\x70\x00\x00"
                                  "axislebabbleyhood";
    const char *const more[] = {"axis", "axle", "babble", "babyhood", NULL};
    expect_strings(PARQUET_DELTA_STRINGS, front, sizeof front - 1, more);
    for (int width = 4; width <= 64; width++) steps_of(width);
    const unsigned char plain[] = "\3\0\0\0one\0\0\0\0\4\0\0\0four";
    const char *const three[] = {"one", "", "four", NULL};
    expect_strings(PARQUET_PLAIN, plain, sizeof plain - 1, three);
    struct parquet_strings s = {0};
    assert_non_null(parquet_strings_start(&s, PARQUET_RLE_DICTIONARY, plain, plain + 1, NULL));
    assert_non_null(parquet_strings_start(&s, 9, plain, plain + 1, NULL));
    assert_non_null(parquet_strings_start(&s, PARQUET_DELTA_LENGTH, lengths, lengths + 7, NULL));
}

static size_t hadoop_block(unsigned char *out, const char *text, int n, bool with_size, int whole) {
    unsigned char *p = out;
    if (with_size) p[0] = 0, p[1] = 0, p[2] = (unsigned char)(whole >> 8), p[3] = (unsigned char)whole, p += 4;
    int m = LZ4_compress_default(text, (char *)p + 4, n, 1000);
    assert_true(m > 0);
    p[0] = 0, p[1] = 0, p[2] = (unsigned char)(m >> 8), p[3] = (unsigned char)m;
    return (size_t)(p + 4 + m - out);
}

static void codecs(void **state) {
    (void)state;
    char text[600];
    unsigned char packed[2000], out[700];
    for (int i = 0; i < 600; i++) text[i] = (char)('a' + i * i % 26);
    /* two blocks; one block in two parts; plain lz4 as early writers left it */
    size_t n = hadoop_block(packed, text, 400, true, 400);
    n += hadoop_block(packed + n, text + 400, 200, true, 200);
    assert_null(parquet_unpack(5, packed, (int64_t)n, out, 600));
    assert_memory_equal(out, text, 600);
    n = hadoop_block(packed, text, 100, true, 600);
    n += hadoop_block(packed + n, text + 100, 500, false, 0);
    memset(out, 0, sizeof out);
    assert_null(parquet_unpack(5, packed, (int64_t)n, out, 600));
    assert_memory_equal(out, text, 600);
    assert_non_null(parquet_unpack(5, packed, (int64_t)n, out, 599));
    assert_non_null(parquet_unpack(5, packed, (int64_t)n, out, 601));
    n = (size_t)LZ4_compress_default(text, (char *)packed, 600, sizeof packed);
    for (int codec = 5; codec <= 7; codec += 2) {
        memset(out, 0, sizeof out);
        assert_null(parquet_unpack(codec, packed, (int64_t)n, out, 600));
        assert_memory_equal(out, text, 600);
    }
    /* two gzip members */
    n = 0;
    for (int i = 0; i < 2; i++) {
        z_stream z = {0};
        assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 9, Z_DEFAULT_STRATEGY), Z_OK);
        z.next_in = (unsigned char *)text + 300 * i, z.avail_in = 300;
        z.next_out = packed + n, z.avail_out = 1000;
        assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
        n += z.total_out;
        deflateEnd(&z);
    }
    assert_null(parquet_unpack(2, packed, (int64_t)n, out, 600));
    assert_memory_equal(out, text, 600);
    assert_non_null(parquet_unpack(2, packed, (int64_t)n, out, 300));
    for (int codec = 0; codec < 9; codec++)
        assert_non_null(parquet_unpack(codec, (const unsigned char *)"junk", 4, out, 600));
}

static void thrift_bounds(void **state) {
    (void)state;
    unsigned char deep[200];
    memset(deep, 0x1c, sizeof deep); /* structs in structs */
    struct thrift t = {deep, deep + sizeof deep, false, 0};
    thrift_skip(&t, THRIFT_STRUCT);
    assert_true(t.bad);
    const unsigned char endless[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1};
    t = (struct thrift){endless, endless + sizeof endless, false, 0};
    assert_int_equal(thrift_int(&t, THRIFT_I64), 0);
    assert_true(t.bad);
    const unsigned char list[] = {0xf5, 0xff, 0xff, 0xff, 0xff, 0x0f, 1, 2};
    t = (struct thrift){list, list + sizeof list, false, 0};
    int element;
    assert_int_equal(thrift_list(&t, THRIFT_LIST, &element), 0);
    assert_true(t.bad);
    /* field 1: i32 -3; field 20 by a long id: binary "ab"; a map and a list of bools to skip; field 23: true */
    const unsigned char good[] = {0x15, 5, 0x08, 40, 2, 'a', 'b', 0x1b, 1, 0x85, 1, 'k', 6, 0x19, 0x21, 1, 2, 0x11, 0};
    t = (struct thrift){good, good + sizeof good, false, 0};
    int id = 0, type;
    int64_t n;
    assert_true(thrift_field(&t, &id, &type) && id == 1 && thrift_int(&t, type) == -3);
    assert_true(thrift_field(&t, &id, &type) && id == 20);
    assert_memory_equal(thrift_binary(&t, type, &n), "ab", 2);
    assert_true(thrift_field(&t, &id, &type) && type == THRIFT_MAP);
    thrift_skip(&t, type);
    assert_true(thrift_field(&t, &id, &type) && type == THRIFT_LIST);
    thrift_skip(&t, type);
    assert_true(thrift_field(&t, &id, &type) && id == 23 && thrift_bool(&t, type));
    assert_false(thrift_field(&t, &id, &type));
    assert_false(t.bad);
    assert_true(t.p == t.end);
}

/* ---- damaged files ---- */

/* Reads all that can be read; the number of values, or -1 with err. */
static int64_t count(const char *path, const char *column, struct err *err) {
    struct parquet_value v;
    struct parquet *p = parquet_open(path, column, err);
    int64_t n = 0;
    int k = p ? 1 : -1;
    while (k > 0 && (k = parquet_next(p, &v, err)) > 0) n++;
    parquet_close(p);
    return k < 0 ? -1 : n;
}

static void damaged_files(void **state) {
    (void)state;
    char *dir = scratch_fast();
    const char *path = in(dir, "x.parquet");
    for (int f = 0; f < 6; f++) {
        size_t n;
        char *data = get(flat_path(f), &n);
        for (size_t cut = 0; cut < n; cut += cut < 64 || cut > n - 64 ? 1 : 37) {
            struct err err = {0};
            put(path, data, cut);
            assert_int_equal(count(path, "text", &err), -1);
            assert_true(err.msg[0] != 0);
        }
        for (size_t i = 0; i < n; i++) { /* no crash, whatever comes of it */
            struct err err = {0};
            data[i] ^= (char)(1 + i % 255);
            put(path, data, n);
            count(path, "text", &err);
            data[i] ^= (char)(1 + i % 255);
        }
        free(data);
    }
    /* one changed letter under a checksum */
    static const int with_crc[] = {1, 5};
    for (int k = 0; k < 2; k++) {
        size_t n;
        struct err err = {0};
        char *data = get(flat_path(with_crc[k]), &n), *letter = memmem(data, n, "row 0", 5);
        assert_non_null(letter);
        *letter = 'R';
        put(path, data, n);
        assert_int_equal(count(path, "text", &err), -1);
        assert_says(err, "checksum");
        free(data);
    }
    struct err err = {0};
    put(path, "PAR1\0\0\0\0PARE", 12);
    assert_int_equal(count(path, "text", &err), -1);
    assert_says(err, "encrypted");
    put(path, "PAR1\xff\xff\xff\x7fPAR1", 12);
    assert_int_equal(count(path, "text", &err), -1);
    assert_says(err, "longer than the file");
    scratch_free(dir);
    assert_int_equal(mem_in_use(), 0);
}

/* ---- real files ---- */

static void conformance_files(void **state) {
    (void)state;
    struct err err = {0};
    char **names;
    const char *base = test_data("data/parquet/parquet-testing");
    if (!base) skip();
    int64_t n, columns = 0, values = 0, refused = 0;
    assert_int_equal(file_list(&names, &n, base, &err), 0);
    for (int64_t i = 0; i < n; i++) {
        char path[8192];
        snprintf(path, sizeof path, "%s/%s", base, names[i]);
        if (!strstr(path, ".parquet")) continue;
        char *list = parquet_columns(path, &err);
        if (!list) fail_msg("%s", err.msg);
        for (char *c = strtok(list, "\n"); c; c = strtok(NULL, "\n"), columns++) {
            int64_t m = count(path, c, &err);
            bool must_fail = strstr(path, "corrupt-checksum") || strstr(path, "large_string_map");
            if ((m < 0) != must_fail)
                fail_msg("%s column %s: %s", names[i], c, m < 0 ? err.msg : "should not be readable");
            if (m > 0) values += m;
            refused += m < 0;
        }
        mem_free(list);
    }
    file_list_free(names, n);
    print_message("%d columns, %d values, %d columns refused\n", (int)columns, (int)values, (int)refused);
    assert_int_equal(refused, 2);
    assert_true(columns > 60);
}

/* The same twenty documents in six codecs and as jsonl. */
static void same_as_jsonl(void **state) {
    (void)state;
    static const char *const codec[] = {"brotli", "gzip", "lz4_raw", "snappy", "uncompressed", "zstd"};
    const char *lines = test_data("data/parquet/cc20.jsonl");
    if (!lines) skip();
    for (int i = 0; i < 6; i++) {
        struct err err = {0};
        struct document a, b;
        char name[100];
        snprintf(name, sizeof name, "data/parquet/generated/fineweb_like_cc20.%s.parquet", codec[i]);
        const char *path = test_data(name);
        if (!path) continue;
        struct reader *x = reader_open(lines, &(struct reader_settings){0}, &err);
        struct reader *y = reader_open(path, &(struct reader_settings){0}, &err);
        assert_non_null(y);
        for (int k = 0; k < 20; k++) {
            assert_int_equal(reader_next(x, &a, &err), 1);
            assert_int_equal(reader_next(y, &b, &err), 1);
            assert_int_equal(a.n, b.n);
            assert_memory_equal(a.text, b.text, (size_t)a.n);
        }
        assert_int_equal(reader_next(y, &b, &err), 0);
        reader_close(x);
        reader_close(y);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flat_columns),  cmocka_unit_test(nested_columns),
        cmocka_unit_test(as_documents),  cmocka_unit_test(runs),
        cmocka_unit_test(delta_strings), cmocka_unit_test(dictionary_bounds),
        cmocka_unit_test(codecs),        cmocka_unit_test(thrift_bounds),
        cmocka_unit_test(damaged_files), cmocka_unit_test(conformance_files),
        cmocka_unit_test(same_as_jsonl),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
