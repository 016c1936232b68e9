/* safetensors: what is written comes back; hostile headers, truncation at every byte and failing I/O give an error. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/mem.h"
#include "model/safetensors.h"
#include "unit/safetensors_help.h"
#include "unit/scratch.h"

static char *folder, path[FILE_PATH_MAX];

static int setup(void **state) {
    (void)state;
    struct err err;
    folder = scratch_new();
    return file_join(path, folder, "x.safetensors", &err);
}

static int teardown(void **state) {
    (void)state;
    unlink(path);
    return rmdir(folder); /* fails when a temporary file was left behind */
}

static void put(const void *data, size_t n) {
    struct err err = {0};
    if (file_write(path, data, n, &err) < 0) fail_msg("%s", err.msg);
}

/* A file of this header text and `data` zero bytes; its length field is the text's unless `length` is given. */
static void put_header(const char *header, size_t data, uint64_t length) {
    size_t n = strlen(header);
    char *file = calloc(1, 8 + n + data);
    assert_non_null(file);
    uint64_t stated = length ? length : n;
    memcpy(file, &stated, 8);
    memcpy(file + 8, header, n);
    put(file, 8 + n + data);
    free(file);
}

static const float floats[6] = {1, -2, 3.5f, 0, 5, 6};
static const uint16_t halves[3] = {0x3f80, 0x4000, 0x7fc0};
static const uint8_t bytes[5] = {1, 2, 3, 4, 5};

static int write_sample(struct err *err) {
    const struct st_tensor v[] = {
        {.name = "bytes", .dtype = "U8", .ndim = 1, .shape = {5}, .data = bytes, .bytes = 5},
        {.name = "a.weight", .dtype = "F32", .ndim = 2, .shape = {2, 3}, .data = floats, .bytes = 24},
        {.name = "nothing", .dtype = "F32", .ndim = 2, .shape = {0, 3}, .data = floats, .bytes = 0},
        {.name = "scalar", .dtype = "F32", .ndim = 0, .data = floats + 2, .bytes = 4},
        {.name = "größe \"q\"", .dtype = "BF16", .ndim = 3, .shape = {1, 3, 1}, .data = halves, .bytes = 6},
    };
    static const char *const metadata[] = {"format", "pt", "note", "a \"b\"\n", NULL};
    return put_safetensors(path, v, 5, metadata, err);
}

static void round_trip(void **state) {
    (void)state;
    struct safetensors s;
    struct err err = {0};
    if (write_sample(&err) < 0) fail_msg("%s", err.msg);
    if (safetensors_open(&s, path, &err) < 0) fail_msg("%s", err.msg);
    assert_int_equal(s.count, 5);
    const struct st_tensor *t = safetensors_find(&s, "a.weight");
    assert_non_null(t);
    assert_string_equal(t->dtype, "F32");
    assert_int_equal(t->ndim, 2);
    assert_int_equal(t->shape[0], 2);
    assert_int_equal(t->shape[1], 3);
    assert_int_equal(t->bytes, 24);
    assert_memory_equal(t->data, floats, 24);
    t = safetensors_find(&s, "größe \"q\"");
    assert_non_null(t);
    assert_int_equal(t->ndim, 3);
    assert_memory_equal(t->data, halves, 6);
    t = safetensors_find(&s, "scalar");
    assert_int_equal(t->ndim, 0);
    assert_memory_equal(t->data, floats + 2, 4);
    assert_int_equal(safetensors_find(&s, "nothing")->bytes, 0);
    assert_null(safetensors_find(&s, "a.weigh"));
    assert_string_equal(s.metadata, "{\"format\":\"pt\",\"note\":\"a \\\"b\\\"\\n\"}");
    assert_int_equal((uintptr_t)safetensors_find(&s, "bytes")->data % 64, 0); /* the first: data starts aligned */
    safetensors_close(&s);
}

static void truncated_anywhere(void **state) {
    (void)state;
    struct err err = {0};
    char *data;
    size_t n;
    assert_int_equal(write_sample(&err), 0);
    assert_int_equal(file_read(&data, &n, path, 1 << 20, &err), 0);
    for (size_t k = 0; k < n; k++) {
        struct safetensors s;
        put(data, k);
        if (safetensors_open(&s, path, &err) == 0) fail_msg("accepted %zu of %zu bytes", k, n);
        assert_non_null(strstr(err.msg, path));
    }
    char *longer = calloc(1, n + 1);
    memcpy(longer, data, n);
    put(longer, n + 1);
    struct safetensors s;
    assert_int_equal(safetensors_open(&s, path, &err), -1);
    free(longer);
    mem_free(data);
}

static void hostile_headers(void **state) {
    (void)state;
    static const struct {
        const char *header;
        size_t data;
        uint64_t length; /* 0: the true one */
        const char *word;
    } bad[] = {
        {"{}", 0, UINT64_MAX, "header"},
        {"{}", 0, (uint64_t)INT64_MAX + 1, "header"},
        {"{}", 0, 100000001, "header"},
        {"{}", 0, 3, "cut short"},
        {"{}", 0, 1, "no header"},
        {"", 8, 0, "no header"},
        {"[]", 0, 0, "object"},
        {"{} x", 0, 0, "JSON"},
        {"{\"a\":", 0, 0, "JSON"},
        {"{\"a\":1}", 0, 0, "'a'"},
        {"{\"a\":{}}", 0, 0, "dtype"},
        {"{\"a\":{\"dtype\":4,\"shape\":[1],\"data_offsets\":[0,4]}}", 4, 0, "dtype"},
        {"{\"a\":{\"dtype\":\"F32 with a long name\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, 0, "dtype"},
        {"{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4, 0, "shape"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":{\"b\":1},\"data_offsets\":[0,4]}}", 4, 0, "shape"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,4]}}", 4, 0, "dimensions"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}", 4, 0, "shape[0]"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1.0],\"data_offsets\":[0,4]}}", 4, 0, "shape[0]"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904,4],\"data_offsets\":[0,0]}}", 0, 0, "shape needs"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387905],\"data_offsets\":[0,4]}}", 4, 0, "shape needs"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[99999999999999999999],\"data_offsets\":[0,4]}}", 4, 0, "JSON"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, 0, "data_offsets"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", 4, 0, "data_offsets"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4,4]}}", 4, 0, "data_offsets"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}", 4, 0, "data_offsets"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[-4,0]}}", 4, 0, "data_offsets"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[\"0\",\"4\"]}}", 4, 0, "data_offsets"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,9223372036854775807]}}", 4, 0, "cut short"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 4, 0, "cut short"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,8]}}", 8, 0, "shape needs 4"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 5, 0, "follow the last"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}", 8, 0, "is a hole"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
         "\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}}",
         12, 0, "overlap"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}," /* as many bytes as the file has */
         "\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}",
         12, 0, "overlap"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
         "\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
         4, 0, "JSON"},
        {"{\"__metadata__\":7}", 0, 0, "__metadata__"},
        {"{\"a\\u0000b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, 0, "JSON"},
        {"{\"\xff\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, 0, "JSON"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct safetensors s;
        struct err err = {0};
        put_header(bad[i].header, bad[i].data, bad[i].length);
        if (safetensors_open(&s, path, &err) == 0) fail_msg("case %zu accepted: %s", i, bad[i].header);
        if (!strstr(err.msg, bad[i].word)) fail_msg("case %zu: message '%s' lacks '%s'", i, err.msg, bad[i].word);
        assert_null(s.v);
        assert_null(s.map.data);
    }
}

/* Deep nesting must not use up the stack: jansson has a limit, and the error is ours. */
static void deep_nesting(void **state) {
    (void)state;
    enum { DEPTH = 1000000 };
    char *text = malloc(DEPTH + 1);
    assert_non_null(text);
    memset(text, '[', DEPTH);
    memcpy(text, "{\"a\":", 5);
    text[DEPTH] = 0;
    put_header(text, 0, 0);
    free(text);
    struct safetensors s;
    struct err err = {0};
    assert_int_equal(safetensors_open(&s, path, &err), -1);
    assert_non_null(strstr(err.msg, "JSON"));
}

static void harmless_oddities(void **state) {
    (void)state;
    struct safetensors s;
    struct err err = {0};
    put_header("{}", 0, 0); /* no tensors */
    if (safetensors_open(&s, path, &err) < 0) fail_msg("%s", err.msg);
    assert_int_equal(s.count, 0);
    assert_null(safetensors_find(&s, "a"));
    safetensors_close(&s);
    /* not in the order of the data, unknown members, spaces, an empty tensor at the border */
    put_header("{\"b\":{\"dtype\":\"I8\",\"shape\":[2],\"data_offsets\":[4,6],\"x\":[]}, "
               "\"e\":{\"dtype\":\"I64\",\"shape\":[0],\"data_offsets\":[4,4]},"
               "\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}   ",
               6, 0);
    if (safetensors_open(&s, path, &err) < 0) fail_msg("%s", err.msg);
    assert_int_equal(s.count, 3);
    assert_string_equal(s.v[0].name, "a");
    assert_string_equal(s.v[1].name, "e");
    assert_string_equal(s.v[2].name, "b");
    safetensors_close(&s);
}

/* Infinities and NaNs of each type, alone and at the ends of a long tensor; numbers that come near are none. */
static void nonfinite_values(void **state) {
    (void)state;
    static const struct {
        const char *dtype;
        size_t bytes;
        uint64_t bad[3], good;
    } types[] = {{"F32", 4, {0x7f800000, 0xff800000, 0x7fc00001}, 0xff7fffff},
                 {"BF16", 2, {0x7f80, 0xff80, 0xffff}, 0x7f7f},
                 {"F16", 2, {0x7c00, 0xfc00, 0x7e00}, 0xfbff},
                 {"F64", 8, {0x7ff0000000000000, 0xfff0000000000000, 0x7ff0000000000001}, 0x7fefffffffffffff},
                 {"F8_E5M2", 1, {0x7c, 0xfc, 0x7f}, 0x7b},
                 {"I32", 4, {0}, 0x7f800000}};
    enum { N = 10000 };
    for (size_t k = 0; k < sizeof types / sizeof types[0]; k++) {
        unsigned char *room = calloc(N + 1, 8), *data = room + 1; /* misaligned */
        struct st_tensor t = {.ndim = 1, .shape = {N}, .data = data, .bytes = N * types[k].bytes};
        int64_t first;
        assert_non_null(room);
        snprintf(t.dtype, sizeof t.dtype, "%s", types[k].dtype);
        for (int i = 0; i < N; i++) memcpy(data + (size_t)i * types[k].bytes, &types[k].good, types[k].bytes);
        assert_int_equal(safetensors_nonfinite(&t, &first), 0);
        assert_int_equal(first, -1);
        for (int b = 0; b < 3 && types[k].bad[b]; b++) {
            static const int places[] = {N - 1, 4096, 4095, 0};
            for (int i = 0; i < 4; i++) {
                memcpy(data + (size_t)places[i] * types[k].bytes, &types[k].bad[b], types[k].bytes);
                assert_int_equal(safetensors_nonfinite(&t, &first), i + 1);
                assert_int_equal(first, places[i]);
            }
            for (int i = 0; i < 4; i++)
                memcpy(data + (size_t)places[i] * types[k].bytes, &types[k].good, types[k].bytes);
        }
        free(room);
    }
}

static void not_files(void **state) {
    (void)state;
    struct safetensors s;
    struct err err = {0};
    assert_int_equal(safetensors_open(&s, folder, &err), -1);
    assert_non_null(strstr(err.msg, folder));
    assert_int_equal(safetensors_open(&s, "/nonexistent/x", &err), -1);
    assert_non_null(strstr(err.msg, "/nonexistent/x"));
}

/* Every failing allocation: an error, no memory and no file left over (the teardown's rmdir sees that). */
static void faults_of_the_header(void **state) {
    (void)state;
    const int64_t before = mem_in_use();
    for (long n = 1;; n++) {
        struct err err = {0};
        fault_set(FAULT_ALLOC, n, false);
        const int status = write_sample(&err);
        const bool reached = fault_count(FAULT_ALLOC) >= n;
        fault_set(FAULT_ALLOC, 0, false);
        assert_int_equal(mem_in_use(), before);
        assert_int_equal(status, reached ? -1 : 0);
        if (!reached) {
            assert_true(n > 1);
            break;
        }
        assert_true(err.msg[0]);
    }
}

static void faults_while_reading(void **state) {
    (void)state;
    struct err err = {0};
    assert_int_equal(write_sample(&err), 0);
    static const enum fault_kind kinds[] = {FAULT_ALLOC, FAULT_READ};
    int64_t before = mem_in_use();
    for (int k = 0; k < 2; k++) {
        for (long n = 1;; n++) {
            struct safetensors s;
            err.msg[0] = 0;
            fault_set(kinds[k], n, false);
            int status = safetensors_open(&s, path, &err);
            bool reached = fault_count(kinds[k]) >= n;
            fault_set(kinds[k], 0, false);
            if (status == 0) safetensors_close(&s);
            assert_int_equal(mem_in_use(), before);
            if (!reached) break;
            assert_int_equal(status, -1);
            assert_true(err.msg[0]);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),           cmocka_unit_test(truncated_anywhere),
        cmocka_unit_test(hostile_headers),      cmocka_unit_test(deep_nesting),
        cmocka_unit_test(harmless_oddities),    cmocka_unit_test(not_files),
        cmocka_unit_test(nonfinite_values),     cmocka_unit_test(faults_of_the_header),
        cmocka_unit_test(faults_while_reading),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
