/* data_help: small files for the tests of src/data. Include after cmocka.h. */
#ifndef MDM_TESTS_DATA_HELP_H
#define MDM_TESTS_DATA_HELP_H
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "scratch.h"

/* "dir/name" in one of many turns of a static buffer: good for names a test holds on to, not for loops. */
UNUSED static const char *in(const char *dir, const char *name) {
    static char buf[128][4096];
    static int turn;
    char *out = buf[turn++ % 128];
    snprintf(out, 4096, "%s/%s", dir, name);
    return out;
}

UNUSED static void put(const char *path, const void *data, size_t n) {
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

UNUSED static void put_text(const char *path, const char *text) {
    put(path, text, strlen(text));
}

/* Whole file; the caller frees. */
UNUSED static char *get(const char *path, size_t *n) {
    FILE *f = fopen(path, "rb");
    if (!f) {
        fail_msg("cannot open %s", path);
        return NULL;
    }
    fseek(f, 0, SEEK_END);
    *n = (size_t)ftell(f);
    rewind(f);
    char *data = malloc(*n + 1);
    assert_int_equal(fread(data, 1, *n, f), *n);
    data[*n] = '\0';
    fclose(f);
    return data;
}

UNUSED static bool there(const char *path) {
    return access(path, F_OK) == 0;
}

/* A byte-level tokenizer.json: id 0 is <|endoftext|>, 1 + b the byte b. */
UNUSED static void put_byte_tokenizer(const char *path) {
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    fprintf(f,
            "{\"version\": \"1.0\", \"added_tokens\": [{\"id\": 0, \"content\": \"<|endoftext|>\", \"special\": true,"
            " \"single_word\": false, \"lstrip\": false, \"rstrip\": false, \"normalized\": false}],"
            " \"normalizer\": null, \"pre_tokenizer\": {\"type\": \"ByteLevel\", \"add_prefix_space\": false,"
            " \"trim_offsets\": true, \"use_regex\": true}, \"post_processor\": null,"
            " \"decoder\": {\"type\": \"ByteLevel\"}, \"model\": {\"type\": \"BPE\", \"merges\": [], \"vocab\": {"
            "\"<|endoftext|>\": 0");
    for (int b = 0, other = 256; b < 256; b++) {
        bool itself = (b > 32 && b < 127) || (b > 160 && b < 173) || b > 173;
        fprintf(f, ", \"\\u%04x\": %d", itself ? b : other, b + 1);
        other += !itself;
    }
    fprintf(f, "}}}\n");
    assert_int_equal(fclose(f), 0);
}

/* The message has the word; shows the message when it has not. */
#define assert_says(err, word)                                                                                         \
    do {                                                                                                               \
        if (!strstr((err).msg, word)) fail_msg("message '%s' lacks '%s'", (err).msg, word);                            \
    } while (0)

#endif
