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
#include "base/jsonl.h"
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

/* The strings of one column, in order, each with its row. */
struct strings {
    struct parquet *p;
    const char *name;
    json_t *row, *values; /* the row under way */
    size_t at;
};

/* A column, and the elements of a list, of lists' structs: as the reader of documents takes them. */
static void flatten(const json_t *v, const char *name, json_t *out) {
    const char *rest = strchr(name, '.') ? strchr(name, '.') + 1 : "";
    char key[100] = "";
    if (json_array_size(v) > 0) {
        for (size_t i = 0; i < json_array_size(v); i++) flatten(json_array_get(v, i), name, out);
    } else if (!*name || !json_is_object(v)) {
        json_array_append(out, json_is_string(v) ? (json_t *)(uintptr_t)v : json_null());
    } else {
        memcpy(key, name, *rest ? (size_t)(rest - name - 1) : strlen(name));
        flatten(json_object_get(v, key), rest, out);
    }
}

static struct strings open_column(const char *path, const char *column) {
    struct err err = {0};
    struct strings s = {.p = parquet_open(path, &err), .values = json_array()};
    if (!s.p || parquet_want(s.p, column, true, &s.name, &err) < 0) fail_msg("%s", err.msg);
    return s;
}

static void is(struct strings *s, const char *want, int64_t row) {
    struct err err = {0};
    if (s->at == json_array_size(s->values)) {
        json_decref(s->row);
        s->row = NULL;
        s->at = 0;
        if (parquet_next(s->p, &s->row, &err) != 1) fail_msg("row %d: %s", (int)row, err.msg);
        json_array_clear(s->values);
        flatten(s->row, s->name, s->values);
    }
    const json_t *v = json_array_get(s->values, s->at++);
    const char *text = json_string_value(v);
    if (!want)
        assert_null(text);
    else if (!text || json_string_length(v) != strlen(want) || strcmp(text, want) != 0)
        fail_msg("row %d: expected '%s', found '%s'", (int)row, want, text ? text : "null");
    assert_int_equal(parquet_row(s->p), row + 1);
}

static void at_end(struct strings *s) {
    struct err err = {0};
    json_t *row;
    assert_int_equal(s->at, json_array_size(s->values));
    assert_int_equal(parquet_next(s->p, &row, &err), 0);
    assert_int_equal(parquet_next(s->p, &row, &err), 0);
    parquet_close(s->p);
    json_decref(s->row);
    json_decref(s->values);
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
        struct strings c = open_column(flat_path(f), "text");
        struct err err = {0};
        assert_false(parquet_repeated(c.p));
        for (int i = 0; i < ROWS; i++) is(&c, text_of(i), i);
        assert_int_equal(parquet_bytes(c.p), file_size(flat_path(f), &err));
        at_end(&c);
        c = open_column(flat_path(f), "required");
        for (int i = 0; i < ROWS; i++) is(&c, text_of(i) && text_of(i)[0] ? text_of(i) : "none", i);
        at_end(&c);
        static const int skip[][2] = {{39, 0}, {40, 40}, {59, 40}, {60, 60}}; /* row groups of 40 and 20 */
        for (int k = 0; k < 4; k++) {
            c = open_column(flat_path(f), "text");
            assert_int_equal(parquet_skip(c.p, skip[k][0], &err), 0);
            for (int i = skip[k][1]; i < ROWS; i++) is(&c, text_of(i), i);
            at_end(&c);
        }
    }
}

/* Lists: row i has i % 4 texts from text_of(i) on, every seventh is null; deep.a.b: text_of(i) below optional groups;
 * map: i % 3 entries k0, k1 with text_of(i * j). */
static void nested_columns(void **state) {
    (void)state;
    static const char *const files[] = {"tests/golden/parquet/nested_v1_snappy.parquet",
                                        "tests/golden/parquet/nested_v2_none.parquet"};
    for (int f = 0; f < 2; f++) {
        struct strings c = open_column(files[f], f ? "list" : "list.list.element");
        assert_true(parquet_repeated(c.p));
        assert_string_equal(c.name, "list");
        for (int i = 0; i < ROWS; i++) {
            if (i % 7 == 6 || i % 4 == 0) is(&c, NULL, i); /* null, or empty */
            for (int j = 0; i % 7 != 6 && j < i % 4; j++) is(&c, text_of(i + j), i);
        }
        at_end(&c);
        c = open_column(files[f], "deep"); /* the only one below */
        assert_string_equal(c.name, "deep.a.b");
        for (int i = 0; i < ROWS; i++) is(&c, i % 9 == 8 ? NULL : text_of(i), i);
        at_end(&c);
        c = open_column(files[f], f ? "map.value" : "map.key_value.value");
        for (int i = 0; i < ROWS; i++) {
            if (i % 3 == 0) is(&c, NULL, i);
            for (int j = 0; j < i % 3; j++) is(&c, text_of(i * j), i);
        }
        at_end(&c);
        struct err err = {0};
        struct parquet *p = parquet_open(files[f], &err);
        assert_int_equal(parquet_want(p, "map", true, NULL, &err), -1);
        assert_says(err, "several columns below 'map'; its columns of strings: list, deep.a.b, map.key, map.value");
        parquet_close(p);
    }
}

/* Whole rows of every type equal those that pyarrow reads, in every encoding and any choice of columns. */
static void all_types(void **state) {
    (void)state;
    static const char *const names[] = {"plain_v1_snappy", "dict_v2_zstd", "delta_v2_none"};
    static const char *const some[] = {"choices.label", "f64", "turns.list.element.role", "struct"};
    struct err err = {0};
    for (int f = 0; f < 6; f++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/types_%s.parquet", golden, names[f % 3]);
        struct parquet *p = parquet_open(path, &err);
        struct jsonl *in = jsonl_open("tests/golden/parquet/types.jsonl", &err);
        json_t *want, *row;
        for (int i = 0; f >= 3 && i < 4; i++)
            if (parquet_want(p, some[i], false, NULL, &err) < 0) fail_msg("%s", err.msg);
        for (int i = 0; i < ROWS; i++) {
            assert_int_equal(jsonl_next(in, &want, &err), 1);
            if (parquet_next(p, &row, &err) != 1) fail_msg("%s", err.msg);
            if (f >= 3) { /* the other columns, and fields of structs, are not there */
                json_t *all = want, *turn, *turns = json_object_get(all, "turns");
                size_t k;
                json_array_foreach(turns, k, turn) if (json_is_object(turn)) json_object_del(turn, "said");
                want = json_pack("{s:{s:O}, s:O, s:O, s:O}", "choices", "label",
                                 json_object_get(json_object_get(all, "choices"), "label"), "f64",
                                 json_object_get(all, "f64"), "turns", turns, "struct", json_object_get(all, "struct"));
                json_decref(all);
            }
            if (!json_equal(row, want)) {
                char *a = json_dumps(row, 0), *b = json_dumps(want, 0);
                fail_msg("%s row %d:\n  found    %s\n  expected %s", names[f % 3], i, a, b);
            }
            json_decref(row);
            json_decref(want);
        }
        assert_int_equal(parquet_next(p, &row, &err), 0);
        parquet_close(p);
        jsonl_close(in);
    }
    assert_int_equal(mem_in_use(), 0);
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
    assert_int_equal(reader_skip(r, 45, &err), 0);
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
    struct parquet_values s = {0};
    const char *text;
    int64_t size;
    assert_null(parquet_values_start(&s, encoding, PARQUET_STRINGS, data, data + n, NULL));
    for (; *want; want++) {
        const char *wrong = parquet_values_next(&s, &text, &size);
        if (wrong) fail_msg("%s", wrong);
        assert_int_equal(size, strlen(*want));
        assert_memory_equal(text, *want, (size_t)size);
    }
    assert_non_null(parquet_values_next(&s, &text, &size));
    parquet_values_free(&s);
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
    for (int i = 0, at = 0; i < 9; at += length[i++])
        want[i] = memcpy(words[i], text + at, (size_t)length[i]), words[i][length[i]] = 0;
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
            assert_int_equal(parquet_dictionary_set(&d, data, sizeof page, 2, PARQUET_STRINGS, "f", &err), 0);
        } else {
            assert_int_equal(parquet_dictionary_set(&d, data, sizeof page, 2, PARQUET_STRINGS, "f", &err), -1);
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
    struct parquet_values s = {0};
    assert_non_null(parquet_values_start(&s, PARQUET_RLE_DICTIONARY, PARQUET_STRINGS, plain, plain + 1, NULL));
    assert_non_null(parquet_values_start(&s, 9, PARQUET_STRINGS, plain, plain + 1, NULL));
    assert_non_null(parquet_values_start(&s, PARQUET_DELTA_LENGTH, PARQUET_STRINGS, lengths, lengths + 7, NULL));
    /* a page of nulls after one with values knows nothing of it */
    const char *text;
    int64_t size;
    assert_null(
        parquet_values_start(&s, PARQUET_DELTA_STRINGS, PARQUET_STRINGS, front, front + sizeof front - 1, NULL));
    assert_null(parquet_values_next(&s, &text, &size));
    assert_null(parquet_values_start(&s, PARQUET_DELTA_STRINGS, PARQUET_STRINGS, plain, plain, NULL));
    assert_true(s.prefix.left == 0 && s.length.left == 0 && s.prefix.p == NULL);
    assert_non_null(parquet_values_next(&s, &text, &size));
    parquet_values_free(&s);
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

/* Reads all rows of a column of strings, or of all columns (NULL); the number of rows, or -1 with err. */
static int64_t count(const char *path, const char *column, struct err *err) {
    struct parquet *p = parquet_open(path, err);
    json_t *row;
    int64_t n = 0;
    int k = p ? 1 : -1;
    if (p && column) k = parquet_want(p, column, true, NULL, err) < 0 ? -1 : 1;
    for (; k > 0 && (k = parquet_next(p, &row, err)) > 0; n++) json_decref(row);
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

/* Every file of the format's own collection is read whole (a throw-away script compared the rows with pyarrow's), or says
 * in one line why it cannot be. */
static void conformance_files(void **state) {
    (void)state;
    static const char *const refused[][2] = {
        {"datapage_v1-corrupt-checksum", "checksum"},
        {"rle-dict-uncompressed-corrupt-checksum", "checksum"},
        {"large_string_map", "256 MiB"},
    };
    struct err err = {0};
    char **names;
    const char *base = test_data("data/parquet/parquet-testing");
    if (!base) skip();
    int64_t n, rows = 0;
    int files = 0, seen = 0;
    assert_int_equal(file_list(&names, &n, base, &err), 0);
    for (int64_t i = 0; i < n; i++) {
        char path[8192];
        snprintf(path, sizeof path, "%s/%s", base, names[i]);
        if (!strstr(path, ".parquet")) continue;
        const char *word = NULL;
        for (size_t k = 0; k < sizeof refused / sizeof *refused; k++)
            if (strncmp(names[i], refused[k][0], strlen(refused[k][0])) == 0) word = refused[k][1];
        int64_t m = count(path, NULL, &err);
        if ((m < 0) != (word != NULL)) fail_msg("%s: %s", names[i], m < 0 ? err.msg : "should not be readable");
        if (word) assert_says(err, word);
        rows += m < 0 ? 0 : m;
        files++;
        seen += word != NULL;
    }
    file_list_free(names, n);
    print_message("%d files, %d rows, %d files refused\n", files, (int)rows, seen);
    assert_int_equal(seen, sizeof refused / sizeof *refused);
    assert_true(files > 60);
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
        cmocka_unit_test(flat_columns),
        cmocka_unit_test(nested_columns),
        cmocka_unit_test(all_types),
        cmocka_unit_test(as_documents),
        cmocka_unit_test(runs),
        cmocka_unit_test(delta_strings),
        cmocka_unit_test(dictionary_bounds),
        cmocka_unit_test(codecs),
        cmocka_unit_test(thrift_bounds),
        cmocka_unit_test(damaged_files),
        cmocka_unit_test(conformance_files),
        cmocka_unit_test(same_as_jsonl),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
