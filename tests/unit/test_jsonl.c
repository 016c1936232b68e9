/* Lines of JSON from files and from stdin, errors with line and key, typed members, and writing. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/jsonl.h"
#include "base/mem.h"
#include "scratch.h"

static char *home;
static struct err err;

static int make_home(void **state) {
    (void)state;
    home = scratch_new();
    return chdir(home);
}

static int remove_home(void **state) {
    (void)state;
    scratch_free(home);
    return 0;
}

static void put(const char *path, const void *data, size_t n) {
    assert_int_equal(file_write(path, data, n, &err), 0);
}

#define assert_says(text)                                                                                              \
    do {                                                                                                               \
        if (!strstr(err.msg, text)) fail_msg("'%s' does not say '%s'", err.msg, text);                                 \
    } while (0)

static void test_lines(void **state) {
    (void)state;
    const char text[] = "{\"a\": 1}\n\n  \t\r\n[2]\r\n\"three\"\nnull\n{\"a\": 6}"; /* the last line has no end */
    put("lines", text, sizeof text - 1);
    struct jsonl *j = jsonl_open("lines", &err);
    assert_non_null(j);
    const char *const at[] = {"lines line 1", "lines line 4", "lines line 5", "lines line 6", "lines line 7"};
    const json_type types[] = {JSON_OBJECT, JSON_ARRAY, JSON_STRING, JSON_NULL, JSON_OBJECT};
    json_t *v;
    for (int i = 0; i < 5; i++) {
        assert_int_equal(jsonl_next(j, &v, &err), 1);
        assert_int_equal(json_typeof(v), types[i]);
        assert_string_equal(jsonl_where(j), at[i]);
        json_decref(v);
    }
    assert_int_equal(jsonl_next(j, &v, &err), 0);
    assert_int_equal(jsonl_next(j, &v, &err), 0);
    jsonl_close(j);
    jsonl_close(NULL);
    put("none", "", 0);
    j = jsonl_open("none", &err);
    assert_int_equal(jsonl_next(j, &v, &err), 0);
    jsonl_close(j);
    assert_null(jsonl_open("absent", &err));
    assert_says("cannot open 'absent': No such file");
    j = jsonl_open(".", &err); /* a folder opens and cannot be read */
    if (j) assert_int_equal(jsonl_next(j, &v, &err), -1);
    assert_says("cannot read '.': Is a directory");
    jsonl_close(j);
}

/* Lines of many lengths, around the size of one read too; the third one's end is the first byte of the second read. */
static void test_line_lengths(void **state) {
    (void)state;
    const int lengths[] = {0, 1, 65527, 65535, 65536, 65537, 3, 200000, 131072, 5};
    struct file_out *f = file_out_open("lengths", &err);
    char *text = mem_alloc(200001, 1, "text", &err);
    for (int i = 0; i < 10; i++) {
        memset(text, 'a' + i, (size_t)lengths[i]);
        assert_int_equal(file_out_printf(f, &err, "\"%.*s\"\n", lengths[i], text), 0);
    }
    assert_int_equal(file_out_commit(f, &err), 0);
    struct jsonl *j = jsonl_open("lengths", &err);
    json_t *v;
    for (int i = 0; i < 10; i++) {
        assert_int_equal(jsonl_next(j, &v, &err), 1);
        memset(text, 'a' + i, (size_t)lengths[i]);
        assert_int_equal(json_string_length(v), lengths[i]);
        assert_memory_equal(json_string_value(v), text, (size_t)lengths[i]);
        json_decref(v);
    }
    assert_int_equal(jsonl_next(j, &v, &err), 0);
    jsonl_close(j);
    mem_free(text);
}

static void test_line_too_long(void **state) {
    (void)state;
    /* A sparse file: one line of 65 MiB of NUL bytes, after a good one. */
    put("huge", "1\n", 2);
    assert_int_equal(truncate("huge", 65 << 20), 0);
    struct jsonl *j = jsonl_open("huge", &err);
    json_t *v;
    assert_int_equal(jsonl_next(j, &v, &err), 1);
    json_decref(v);
    assert_int_equal(jsonl_next(j, &v, &err), -1);
    assert_says("huge line 2: longer than 64 MiB");
    jsonl_close(j);
}

static void test_bad_lines(void **state) {
    (void)state;
    const struct {
        const char *text;
        size_t n;
    } bad[] = {
        {"{\"a\": 1, \"a\": 2}", 16},
        {"{\"a\": }", 7},
        {"\"\xff\"", 3},
        {"\"\xc3\"", 3},
        {"[1] x", 5},
        {"{\"a\": 1", 7},
        {"\xef\xbb\xbf{}", 5},
        {"nul", 3},
        {"'a'", 3},
        {"1e999", 5},
        {"99999999999999999999", 20},
        {"\"\xed\xa0\x80\"", 5},
        {"\0", 1},
        {"\"a\0b\"", 5},
        {"\"\\ud80z\"", 8},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct file_out *f = file_out_open("bad", &err);
        file_out_write(f, "{}\n", 3, &err);
        file_out_write(f, bad[i].text, bad[i].n, &err);
        file_out_write(f, "\n{}\n", 4, &err);
        assert_int_equal(file_out_commit(f, &err), 0);
        struct jsonl *j = jsonl_open("bad", &err);
        json_t *v;
        assert_int_equal(jsonl_next(j, &v, &err), 1);
        json_decref(v);
        if (jsonl_next(j, &v, &err) != -1) fail_msg("case %zu was accepted", i);
        assert_says("bad line 2: bad JSON at byte ");
        jsonl_close(j);
    }
    /* A document nested beyond all reason is an error, not a stack overflow. */
    char deep[100000];
    memset(deep, '[', sizeof deep);
    put("deep", deep, sizeof deep);
    struct jsonl *j = jsonl_open("deep", &err);
    json_t *v;
    assert_int_equal(jsonl_next(j, &v, &err), -1);
    jsonl_close(j);
}

static void test_stdin(void **state) {
    (void)state;
    put("input", "[1]\n[2,\n", 8);
    int saved = dup(STDIN_FILENO);
    assert_non_null(freopen("input", "r", stdin));
    struct jsonl *j = jsonl_open("-", &err);
    json_t *v;
    assert_int_equal(jsonl_next(j, &v, &err), 1);
    json_decref(v);
    assert_int_equal(jsonl_next(j, &v, &err), -1);
    assert_says("standard input line 2: bad JSON");
    jsonl_close(j);
    char c;
    assert_int_equal(read(STDIN_FILENO, &c, 1), 0); /* stdin is left open */
    dup2(saved, STDIN_FILENO);
    close(saved);
}

/* Half a surrogate pair, as Python writes it, is U+FFFD; a whole one is its character. */
static void test_half_pairs(void **state) {
    (void)state;
    json_t *v;
    const char halves[] = "\"\\ud83dx\\\\ud83d\\ud83d\\ude00\"\n";
    put("halves", halves, sizeof halves - 1);
    struct jsonl *j = jsonl_open("halves", &err);
    assert_int_equal(jsonl_next(j, &v, &err), 1);
    assert_string_equal(json_string_value(v), "\xef\xbf\xbdx\\ud83d\xf0\x9f\x98\x80");
    json_decref(v);
    jsonl_close(j);
}

/* A byte order mark is no part of the first line, and less than one is. */
static void test_byte_order_mark(void **state) {
    (void)state;
    const char *const files[] = {"\xef\xbb\xbf{\"a\": 1}\n", "\xef\xbb\xbf", "\xef\xbb\n{}\n"};
    const int want[] = {1, 0, -1};
    for (int i = 0; i < 3; i++) {
        json_t *v = NULL;
        put("marked", files[i], strlen(files[i]));
        struct jsonl *j = jsonl_open("marked", &err);
        assert_int_equal(jsonl_next(j, &v, &err), want[i]);
        json_decref(v);
        jsonl_close(j);
    }
}

static void test_read_faults(void **state) {
    (void)state;
    put("three", "1\n2\n3\n", 6);
    int64_t held = mem_in_use();
    json_t *v;
    fault_set(FAULT_READ, 1, false);
    struct jsonl *j = jsonl_open("three", &err);
    assert_int_equal(jsonl_next(j, &v, &err), -1);
    assert_says("cannot read 'three': Input/output error");
    jsonl_close(j);
    fault_set(FAULT_READ, 0, false);
    for (long at = 1; at <= 6; at++) {
        fault_set(FAULT_ALLOC, at, true);
        j = jsonl_open("three", &err);
        assert_int_equal(j != NULL, at == 6); /* the buffer comes with the first line */
        if (j) assert_int_equal(jsonl_next(j, &v, &err), -1);
        assert_says("out of memory: ");
        jsonl_close(j);
    }
    fault_set(FAULT_ALLOC, 0, false);
    assert_int_equal(mem_in_use(), held);
}

static void test_whole_file(void **state) {
    (void)state;
    put("whole", "{\"a\":\n [1, 2]}\n", 15);
    json_t *v = json_read_file("whole", 15, &err);
    assert_non_null(v);
    json_decref(v);
    assert_null(json_read_file("whole", 14, &err));
    assert_says("larger than 14 bytes");
    put("whole", "{\"a\":\n [1, 2}\n", 14);
    assert_null(json_read_file("whole", 100, &err));
    assert_says("whole line 2 column ");
    put("whole", "[1]", 3);
    assert_null(json_read_file("whole", 100, &err));
    assert_says("whole: expected a JSON object");
    assert_null(json_read_file("absent", 100, &err));
    assert_says("'absent'");
    put("whole", "{\"a\":1,\"a\":2}", 13);
    assert_null(json_read_file("whole", 100, &err));
    assert_says("duplicate");
}

static void test_write(void **state) {
    (void)state;
    json_t *v = json_pack("{s:i, s:[f, n, b], s:s}", "n", 3, "list", 0.1, 1, "text", "caf\xc3\xa9 \"x\"\n");
    assert_non_null(v);
    err_set(&err, "of an earlier failure");
    assert_int_equal(json_write_file("made", v, &err), 0);
    assert_string_equal(err.msg, "of an earlier failure");
    json_t *again = json_read_file("made", 1000, &err);
    assert_true(json_equal(v, again));
    json_decref(again);
    fault_set(FAULT_WRITE, 1, false);
    assert_int_equal(json_write_file("made", v, &err), -1);
    fault_set(FAULT_WRITE, 0, false);
    assert_says("cannot write 'made': No space left");
    again = json_read_file("made", 1000, &err); /* the old file */
    assert_true(json_equal(v, again));
    json_decref(again);
    assert_int_equal(json_write_file("no/folder/x", v, &err), -1);
    assert_says("no/folder/x");
    assert_int_equal(json_write_file("made", NULL, &err), -1);
    assert_says("cannot be written as JSON");
    json_decref(v);
}

static void test_numbers(void **state) {
    (void)state;
    json_t *o =
        json_loads("{\"i\": 5, \"r\": 2.5, \"s\": \"5\", \"t\": true, \"n\": null, \"o\": {}, \"l\": []}", 0, NULL);
    int64_t i = 77;
    double r = 7.5;
    assert_int_equal(json_get_int(o, "i", &i, 5, 5, true, "here", &err), 1);
    assert_int_equal(i, 5);
    i = 77;
    assert_int_equal(json_get_int(o, "i", &i, 6, 9, true, "here", &err), -1);
    assert_says("here: \"i\" must be in [6, 9], found 5");
    assert_int_equal(json_get_int(o, "i", &i, INT64_MIN, 4, false, "here", &err), -1);
    const char *const keys[] = {"r", "s", "t", "n", "o", "l"};
    const char *const kinds[] = {"a real number", "a string", "a boolean", "null", "an object", "an array"};
    for (int k = 0; k < 6; k++) {
        char want[100];
        snprintf(want, sizeof want, "here: \"%s\" must be an integer, found %s", keys[k], kinds[k]);
        assert_int_equal(json_get_int(o, keys[k], &i, 0, 9, false, "here", &err), -1);
        assert_says(want);
    }
    assert_int_equal(json_get_int(o, "x", &i, 0, 9, false, "here", &err), 0);
    assert_int_equal(json_get_int(o, "x", &i, 0, 9, true, "here", &err), -1);
    assert_says("here: \"x\" is missing");
    assert_int_equal(i, 77); /* untouched by all of these */
    assert_int_equal(json_get_real(o, "r", &r, true, "here", &err), 1);
    assert_float_equal(r, 2.5, 0);
    assert_int_equal(json_get_real(o, "i", &r, true, "here", &err), 1); /* an integer is a number */
    assert_float_equal(r, 5, 0);
    assert_int_equal(json_get_real(o, "s", &r, true, "here", &err), -1);
    assert_int_equal(json_get_real(o, "x", &r, false, "here", &err), 0);
    assert_float_equal(r, 5, 0);
    json_decref(o);
}

static void test_other_members(void **state) {
    (void)state;
    json_t *o = json_loads("{\"i\": 5, \"s\": \"text\", \"f\": false}", 0, NULL), *list = json_loads("[]", 0, NULL);
    bool b = true;
    const char *s = "kept";
    int64_t i;
    assert_int_equal(json_get_bool(o, "f", &b, true, "here", &err), 1);
    assert_false(b);
    assert_int_equal(json_get_bool(o, "i", &b, true, "here", &err), -1);
    assert_says("\"i\" must be true or false, found an integer");
    assert_int_equal(json_get_bool(o, "x", &b, false, "here", &err), 0);
    assert_int_equal(json_get_str(o, "i", &s, true, "here", &err), -1);
    assert_int_equal(json_get_str(o, "x", &s, false, "here", &err), 0);
    assert_string_equal(s, "kept");
    assert_int_equal(json_get_str(o, "s", &s, true, "here", &err), 1);
    assert_string_equal(s, "text");
    assert_int_equal(json_get_int(list, "i", &i, 0, 9, false, "here", &err), -1);
    assert_says("here: expected an object with \"i\", found an array");
    assert_int_equal(json_get_int(NULL, "i", &i, 0, 9, false, "here", &err), -1);
    json_decref(o);
    json_decref(list);
}

static void test_ids(void **state) {
    (void)state;
    json_t *o = json_loads("{\"a\": [0, 5, 99], \"e\": [], \"neg\": [1, -1], \"big\": [100], \"real\": [1.0],"
                           " \"huge\": [4294967296], \"s\": \"1\"}",
                           0, NULL);
    int32_t *ids = NULL;
    int64_t n = 0, held = mem_in_use();
    assert_int_equal(json_get_ids(o, "a", &ids, &n, 100, true, "here", &err), 1);
    assert_int_equal(n, 3);
    assert_true(ids[0] == 0 && ids[1] == 5 && ids[2] == 99);
    mem_free(ids);
    assert_int_equal(json_get_ids(o, "e", &ids, &n, 100, true, "here", &err), 1);
    assert_int_equal(n, 0);
    mem_free(ids);
    const char *const bad[] = {"neg", "big", "real", "huge", "s"};
    for (int k = 0; k < 5; k++)
        assert_int_equal(json_get_ids(o, bad[k], &ids, &n, k == 3 ? INT64_MAX : 100, true, "here", &err), -1);
    assert_int_equal(json_get_ids(o, "neg", &ids, &n, 100, true, "here", &err), -1);
    assert_says("here: \"neg\"[1] must be a token id in [0, 100)");
    assert_int_equal(json_get_ids(o, "x", &ids, &n, 100, false, "here", &err), 0);
    fault_set(FAULT_ALLOC, 1, false);
    assert_int_equal(json_get_ids(o, "a", &ids, &n, 100, true, "here", &err), -1);
    fault_set(FAULT_ALLOC, 0, false);
    assert_int_equal(mem_in_use(), held);
    json_decref(o);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_line_lengths),
        cmocka_unit_test(test_line_too_long),
        cmocka_unit_test(test_bad_lines),
        cmocka_unit_test(test_stdin),
        cmocka_unit_test(test_half_pairs),
        cmocka_unit_test(test_byte_order_mark),
        cmocka_unit_test(test_read_faults),
        cmocka_unit_test(test_whole_file),
        cmocka_unit_test(test_write),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_other_members),
        cmocka_unit_test(test_ids),
    };
    return cmocka_run_group_tests(tests, make_home, remove_home);
}
