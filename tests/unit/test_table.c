/* Tables: the same rows out of every form of file, types of fields, what is no table, damaged rows; the evaluation sets
 * where they are. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <zlib.h>
#include <zstd.h>

#include "base/err.h"
#include "base/jsonl.h"
#include "base/mem.h"
#include "data/table.h"
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

/* All rows, each as compact JSON followed by '|', then the error in braces. Caller frees. */
static char *read_all(const char *path, const char *const *columns) {
    struct err err = {0};
    json_t *row;
    char *out;
    size_t size;
    int k;
    FILE *f = open_memstream(&out, &size);
    struct table *t = table_open(path, columns, &err);
    for (k = t ? 1 : -1; k > 0 && (k = table_next(t, &row, &err)) > 0;) {
        assert_int_equal(strncmp(table_where(t), path, strlen(path)), 0);
        json_dumpf(row, f, JSON_COMPACT);
        fputc('|', f);
        json_decref(row);
    }
    if (k < 0) fprintf(f, "{%s}", err.msg);
    table_close(t);
    fclose(f);
    return out;
}

static void expect(const char *path, const char *want) {
    char *got = read_all(path, NULL);
    if (strcmp(got, want) != 0) fail_msg("expected '%s', found '%s'", want, got);
    free(got);
}

static void expect_error(const char *path, const char *word) {
    char *got = read_all(path, NULL), *brace = strrchr(got, '{');
    if (!brace || !strstr(got, word)) fail_msg("expected an error with '%s', found '%s'", word, got);
    free(got);
}

static void json_lines_and_arrays(void **state) {
    (void)state;
    const char *const rows = "{\"a\":1,\"b\":[true,null,{\"c\":2.5}]}|{\"a\":\"\xef\xbf\xbd]},\\\"\"}|";
    const char *const lines =
        "\xef\xbb\xbf{\"a\": 1, \"b\": [true, null, {\"c\": 2.5}]}\r\n\n{\"a\": \"\\ud83d]},\\\"\"}";
    const char *const arrays[] = {
        "[{\"a\": 1, \"b\": [true, null, {\"c\": 2.5}]},{\"a\": \"\\ud83d]},\\\"\"}]",
        "\xef\xbb\xbf\n[\n  {\n \"a\": 1,\n \"b\": [true, null, {\"c\": 2.5}]\n },\n\n {\"a\": "
        "\"\\ud83d]},\\\"\"}\n]\n\n",
    };
    char packed[4096];
    put_text(in(dir, "a.jsonl"), lines);
    expect(in(dir, "a.jsonl"), rows);
    put_text(in(dir, "a"), lines);
    expect(in(dir, "a"), rows);
    for (int i = 0; i < 2; i++) {
        put_text(in(dir, "a.json"), arrays[i]);
        expect(in(dir, "a.json"), rows);
        put(in(dir, "a.json.zst"), packed, ZSTD_compress(packed, sizeof packed, arrays[i], strlen(arrays[i]), 1));
        expect(in(dir, "a.json.zst"), rows);
    }
    gzFile z = gzopen(in(dir, "a.jsonl.gz"), "wb");
    gzwrite(z, lines, (unsigned)strlen(lines));
    gzclose(z);
    expect(in(dir, "a.jsonl.gz"), rows);
    put_text(in(dir, "a.json"), " [ ] \n");
    expect(in(dir, "a.json"), "");
    /* what is wrong is named with its line */
    put_text(in(dir, "a.jsonl"), "{\"a\": 1}\n[1]\n");
    expect_error(in(dir, "a.jsonl"), "a.jsonl line 2: expected a JSON object");
    put_text(in(dir, "a.jsonl"), "{\"a\": 1}\n\n{\"a\": 1, \"a\": 2}\n");
    expect_error(in(dir, "a.jsonl"), "a.jsonl line 3: bad JSON");
    const char *const bad[][2] = {
        {"[\n{\"a\": 1},\n{\"a\": }\n]", "line 3, element 2: bad JSON"},
        {"[\n{\"a\": 1}\n", "the array has no end"},
        {"[{\"a\": 1},", "the array has no end"},
        {"[{\"a\": 1}]\nx", "line 2: bad JSON: something follows"},
        {"[{\"a\": 1},]", "bad JSON"},
        {"[,{\"a\": 1}]", "bad JSON"},
        {"[{\"a\": 1}}", "bad JSON"},
        {"[", "the array has no end"},
        {"[{\"a\": \"]}", "the array has no end"},
        {"[{\"a\": 1}\n{\"a\": 2}]", "bad JSON"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        put_text(in(dir, "a.json"), bad[i][0]);
        expect_error(in(dir, "a.json"), bad[i][1]);
    }
}

/* Elements of every length around the buffer's, so that brackets, quotes and escapes fall on every kind of border. */
static void long_arrays(void **state) {
    (void)state;
    enum { N = 60 };
    const char *path = in(dir, "long.json");
    FILE *f = fopen(path, "w");
    for (int i = 0; i < N; i++) {
        fprintf(f, "%s{\"n\": %d, \"text\": \"", i ? "," : "[", i);
        for (int k = 0; k < 2000 + i * 1499; k++) fputs(k % 7 ? "}" : "\\\"", f);
        fputs("\"}", f);
    }
    fputs("]", f);
    fclose(f);
    struct err err = {0};
    json_t *row;
    struct table *t = table_open(path, NULL, &err);
    for (int i = 0; i < N; i++) {
        if (table_next(t, &row, &err) != 1) fail_msg("%s", err.msg);
        assert_int_equal(json_integer_value(json_object_get(row, "n")), i);
        assert_int_equal(json_string_length(json_object_get(row, "text")), 2000 + i * 1499);
        json_decref(row);
    }
    assert_int_equal(table_next(t, &row, &err), 0);
    assert_int_equal(table_next(t, &row, &err), 0);
    table_close(t);
}

static void tsv_and_lists(void **state) {
    (void)state;
    const char *path = in(dir, "a.tsv");
    put_text(path, "\xef\xbb\xbfquestion\tanswer\tn\r\nwhy \"so\"?\tcaf\xc3\xa9\t3\n\n\t\t\r\nlast\tline\t4");
    expect(path, "{\"question\":\"why \\\"so\\\"?\",\"answer\":\"caf\xc3\xa9\",\"n\":\"3\"}|"
                 "{\"question\":\"\",\"answer\":\"\",\"n\":\"\"}|"
                 "{\"question\":\"last\",\"answer\":\"line\",\"n\":\"4\"}|");
    put_text(path, "a\tb\n1\t2\n1\n");
    expect_error(path, "a.tsv line 3: 1 fields, the header has 2");
    put_text(path, "a\tb\n1\t2\t3\n");
    expect_error(path, "line 2: 3 fields, the header has 2");
    put_text(path, "a\tb\ta\n");
    expect_error(path, "field 3 of the header is named like one before");
    put_text(path, "a\t\n");
    expect_error(path, "field 2 of the header is empty");
    put_text(path, "");
    expect_error(path, "empty, expected a line with the names");
    put_text(path, "a\nx\xff\n");
    expect_error(path, "line 2: not UTF-8");
    path = in(dir, "a-labels.lst");
    put_text(path, "0\n1\r\n\nyes\n2.5");
    expect(path, "{\"value\":0}|{\"value\":1}|{\"value\":\"yes\"}|{\"value\":2.5}|");
}

static void parquet(void **state) {
    (void)state;
    static const char *const some[] = {"choices.label", "i64", NULL}, *const none[] = {"no_such", NULL};
    struct err err = {0};
    json_t *row;
    struct table *t = table_open("tests/golden/parquet/types_dict_v2_zstd.parquet", some, &err);
    for (int i = 0; i < 60; i++) {
        if (table_next(t, &row, &err) != 1) fail_msg("%s", err.msg);
        const json_t *label = table_field(row, "choices.label");
        assert_int_equal(json_object_size(row), 2);
        assert_int_equal(json_array_size(label), i % 6);
        if (i % 6) assert_string_equal(json_string_value(json_array_get(label, 0)), "A");
        assert_null(table_field(row, "choices.text"));
        json_decref(row);
    }
    assert_string_equal(table_where(t), "tests/golden/parquet/types_dict_v2_zstd.parquet row 60");
    assert_int_equal(table_next(t, &row, &err), 0);
    table_close(t);
    assert_null(table_open("tests/golden/parquet/types_dict_v2_zstd.parquet", none, &err));
    assert_says(err, "no column 'no_such'; its columns: yes, maybe,");
}

/* Numbers that JSON cannot hold stand for nothing: neither their row nor the file is lost for them. */
static void unheld_numbers(void **state) {
    (void)state;
    expect("tests/golden/parquet/unheld.parquet",
           "{\"prompt\":\"one\",\"f64\":null,\"f32\":2.5,\"u64\":null,\"other\":\"elsewhere 0\",\"completion\":\" a\"}|"
           "{\"prompt\":\"two\",\"f64\":1.5,\"f32\":null,\"u64\":9223372036854775807,\"other\":\"elsewhere 1\","
           "\"completion\":\" b\"}|"
           "{\"prompt\":\"three\",\"f64\":null,\"f32\":null,\"u64\":null,\"other\":\"elsewhere 2\",\"completion\":\" "
           "c\"}|");
}

static void no_tables(void **state) {
    (void)state;
    put_text(in(dir, "a.txt"), "{\"a\": 1}\n");
    expect_error(in(dir, "a.txt"), "no table: expected JSON lines");
    put_text(in(dir, "b.jsonl"), "PK\3\4....");
    expect_error(in(dir, "b.jsonl"), "a zip archive");
    expect_error(in(dir, "none.tsv"), "none.tsv");
}

/* The sets of the published evaluations, as they are handed out. */
static void evaluation_sets(void **state) {
    (void)state;
    static const struct {
        const char *path, *field;
        json_type type;
        int rows;
    } sets[] = {
        {"hellaswag/hellaswag_val_lmeval_query.jsonl", NULL, 0, 0},
        {"race/race_high_sample_raw.jsonl", NULL, 0, 0},
        {"arc_easy/ARC-Easy-Test.jsonl", "question.choices", JSON_ARRAY, 2376},
        {"openbookqa/test.jsonl", "question.stem", JSON_STRING, 500},
        {"piqa/valid.jsonl", "sol1", JSON_STRING, 1838},
        {"piqa/valid-labels.lst", "value", JSON_INTEGER, 1838},
        {"social_iqa/dev-labels.lst", "value", JSON_INTEGER, 1954},
        {"lambada_standard/lambada_test_openai.jsonl", "text", JSON_STRING, 5153},
        {"boolq/superglue_val.jsonl", NULL, 0, 3270},
    };
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        char name[200];
        struct err err = {0};
        json_t *row;
        int k, rows = 0;
        snprintf(name, sizeof name, "data/eval/%s", sets[i].path);
        const char *path = test_data(name);
        if (!path) skip();
        struct table *t = table_open(path, NULL, &err);
        for (k = t ? 1 : -1; k > 0 && (k = table_next(t, &row, &err)) > 0; rows++) {
            if (sets[i].field) assert_int_equal(json_typeof(table_field(row, sets[i].field)), sets[i].type);
            json_decref(row);
        }
        if (k < 0) fail_msg("%s", err.msg);
        table_close(t);
        if (sets[i].rows) assert_int_equal(rows, sets[i].rows);
        assert_true(rows > 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_lines_and_arrays), cmocka_unit_test(long_arrays),
        cmocka_unit_test(tsv_and_lists),         cmocka_unit_test(parquet),
        cmocka_unit_test(unheld_numbers),        cmocka_unit_test(no_tables),
        cmocka_unit_test(evaluation_sets),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
