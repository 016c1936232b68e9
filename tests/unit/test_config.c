/* config: the 30 named models' exact sizes, both spellings of config.json, and every rule that can be broken. */
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
#include "base/file.h"
#include "base/jsonl.h"
#include "model/config.h"

static struct config named(const char *name, enum family family, int64_t vocab) {
    struct config c;
    struct err err = {0};
    if (config_named(&c, name, family, vocab, &err) < 0) fail_msg("%s: %s", name, err.msg);
    return c;
}

static void published_totals(void **state) {
    (void)state;
    static const struct {
        const char *name;
        int64_t body, mdm;
    } want[] = {{"6", 6294784, 0},
                {"170", 169897728, 219050496},
                {"336", 0, 401123328},
                {"472", 0, 553827840},
                {"1028", 1027677952, 1142367744}};
    for (int i = 0; i < 5; i++) {
        struct config c = named(want[i].name, FAMILY_MDM, 32000), a = named(want[i].name, FAMILY_ARM, 32000);
        if (want[i].body) assert_int_equal(config_params_body(&c), want[i].body);
        if (want[i].mdm) assert_int_equal(config_params(&c), want[i].mdm);
        assert_int_equal(config_params_body(&a), config_params_body(&c));
        assert_int_equal(config_params(&a), config_params(&c) - c.n_embd);
    }
}

/* The name is N in millions, rounded; all 30 fulfil the rules. */
static void names_are_sizes(void **state) {
    (void)state;
    assert_int_equal(named_models_count, 30);
    for (int i = 0; i < named_models_count; i++) {
        char name[16];
        snprintf(name, sizeof name, "%d", named_models[i].name);
        struct config c = named(name, FAMILY_MDM, 32000);
        int64_t millions = (config_params_body(&c) + 500000) / 1000000;
        assert_int_equal(millions, named_models[i].name);
        assert_int_equal(c.n_query_groups, c.n_head);
        assert_int_equal(c.block_size, 2048);
        assert_int_equal(c.mask_id, 32000);
        assert_true(c.rope_bf16);
        if (i) assert_true(named_models[i].name > named_models[i - 1].name);
    }
    struct config m = named("170M", FAMILY_ARM, 32000);
    assert_int_equal(m.n_layer, 18);
    assert_int_equal(m.mask_id, -1);
}

static void vocabulary_is_padded(void **state) {
    (void)state;
    static const int64_t pairs[][2] = {{1, 64}, {64, 64}, {65, 128}, {32000, 32000}, {32001, 32064}, {50257, 50304}};
    for (int i = 0; i < 6; i++) {
        struct config c = named("6", FAMILY_MDM, pairs[i][0]);
        assert_int_equal(c.vocab_size, pairs[i][0]);
        assert_int_equal(c.padded_vocab_size, pairs[i][1]);
        assert_int_equal(c.mask_id, pairs[i][1]);
    }
}

static void unknown_names_fail(void **state) {
    (void)state;
    static const char *const names[] = {"", "171", "170B", " 170", "-6", "0x6", "170MM", "mdm", "99999999999999999999"};
    for (int i = 0; i < 9; i++) {
        struct config c;
        struct err err = {0};
        assert_int_equal(config_named(&c, names[i], FAMILY_MDM, 32000, &err), -1);
        assert_non_null(strstr(err.msg, "mdm models"));
    }
    static const int64_t vocab[] = {0, -5, INT64_MIN, (1 << 24) + 1, INT64_MAX - 3};
    for (int i = 0; i < 5; i++) {
        struct config c;
        struct err err = {0};
        assert_int_equal(config_named(&c, "6", FAMILY_MDM, vocab[i], &err), -1);
        assert_true(err.msg[0]);
    }
}

/* Parse a text; on failure the message is left in *err. */
static int parse(struct config *c, const char *text, struct err *err) {
    json_t *o = json_loads(text, 0, NULL);
    assert_non_null(o);
    int status = config_from_json(c, o, "here", err);
    json_decref(o);
    return status;
}

#define OURS "\"block_size\":64,\"vocab_size\":91,\"n_layer\":2,\"n_head\":4,\"n_embd\":64,\"intermediate_size\":160"
#define LLAMA                                                                                                          \
    "\"hidden_size\":64,\"intermediate_size\":172,\"num_hidden_layers\":5,\"num_attention_heads\":8,"                  \
    "\"vocab_size\":512,\"max_position_embeddings\":512"

static void our_keys(void **state) {
    (void)state;
    struct config c;
    struct err err = {0};
    if (parse(&c, "{\"family\":\"mdm\"," OURS "}", &err) < 0) fail_msg("%s", err.msg);
    assert_int_equal(c.padded_vocab_size, 128);
    assert_int_equal(c.mask_id, 128);
    assert_int_equal(c.n_query_groups, 4);
    assert_true(c.rope_bf16);
    assert_true(c.norm_eps == 1e-5);
    assert_true(c.rope_base == 10000);
    assert_int_equal(c.bos_id, -1);
    if (parse(&c, "{\"family\":\"mdm\",\"padded_vocab_size\":96,\"mask_id\":91,\"n_query_groups\":2," OURS "}", &err) <
        0)
        fail_msg("%s", err.msg);
    assert_int_equal(c.padded_vocab_size, 96);
    assert_int_equal(c.mask_id, 91);
    assert_int_equal(c.n_query_groups, 2);
    if (parse(&c, "{\"family\":\"arm\",\"mask_id\":91,\"rope_bf16\":false,\"norm_eps\":1e-6," OURS "}", &err) < 0)
        fail_msg("%s", err.msg);
    assert_int_equal(c.mask_id, -1);
    assert_false(c.rope_bf16);
    assert_true(c.norm_eps == 1e-6);
}

static void hugging_face_keys(void **state) {
    (void)state;
    struct config c;
    struct err err = {0};
    if (parse(&c,
              "{\"model_type\":\"llama\",\"num_key_value_heads\":4,\"rms_norm_eps\":1e-5,\"rope_theta\":500000.0,"
              "\"hidden_act\":\"silu\",\"tie_word_embeddings\":true,\"bos_token_id\":1,\"eos_token_id\":[2,3],"
              "\"rope_scaling\":null,\"attention_bias\":false,\"head_dim\":8," LLAMA "}",
              &err) < 0)
        fail_msg("%s", err.msg);
    assert_int_equal(c.family, FAMILY_ARM);
    assert_int_equal(c.n_layer, 5);
    assert_int_equal(c.n_head, 8);
    assert_int_equal(c.n_query_groups, 4);
    assert_int_equal(c.n_embd, 64);
    assert_int_equal(c.intermediate_size, 172);
    assert_int_equal(c.block_size, 512);
    assert_int_equal(c.padded_vocab_size, 512);
    assert_true(c.rope_base == 500000);
    assert_true(c.tied_head);
    assert_false(c.rope_bf16);
    assert_int_equal(c.bos_id, 1);
    assert_int_equal(c.eos_id, 2);
    if (parse(&c, "{\"rope_parameters\":{\"rope_type\":\"default\",\"rope_theta\":1e6}," LLAMA "}", &err) < 0)
        fail_msg("%s", err.msg);
    assert_true(c.rope_base == 1e6);
    assert_true(c.norm_eps == 1e-6); /* the default of that library's Llama */
    assert_int_equal(c.n_query_groups, 8);
    assert_false(c.tied_head);
}

/* What breaks a rule, and a word that the message must have. */
static void broken_files_fail(void **state) {
    (void)state;
    static const struct {
        const char *text, *word;
    } bad[] = {
        {"{" OURS "}", "family"},
        {"{\"family\":\"gpt\"," OURS "}", "gpt"},
        {"{\"family\":7," OURS "}", "family"},
        {"{\"family\":\"mdm\"}", "block_size"},
        {"{\"family\":\"mdm\",\"n_query_groups\":3," OURS "}", "n_query_groups"},
        {"{\"family\":\"mdm\",\"n_query_groups\":-1," OURS "}", "n_query_groups"},
        {"{\"family\":\"mdm\",\"padded_vocab_size\":90," OURS "}", "padded_vocab_size"},
        {"{\"family\":\"mdm\",\"mask_id\":129," OURS "}", "mask_id"},
        {"{\"family\":\"arm\",\"eos_id\":128," OURS "}", "eos_id"},
        {"{\"family\":\"mdm\",\"norm_eps\":0," OURS "}", "norm_eps"},
        {"{\"family\":\"mdm\",\"rope_base\":1," OURS "}", "rope_base"},
        {"{\"family\":\"mdm\",\"rope_bf16\":1," OURS "}", "rope_bf16"},
        {"{\"family\":\"mdm\",\"bos_id\":1.5," OURS "}", "bos_id"},
        {"{\"family\":\"mdm\",\"block_size\":64,\"vocab_size\":91,\"n_layer\":2,\"n_head\":5,\"n_embd\":64,"
         "\"intermediate_size\":160}",
         "n_head"},
        {"{\"family\":\"mdm\",\"block_size\":64,\"vocab_size\":91,\"n_layer\":2,\"n_head\":4,\"n_embd\":60,"
         "\"intermediate_size\":160}",
         "even"},
        {"{\"family\":\"mdm\",\"block_size\":64,\"vocab_size\":91,\"n_layer\":0,\"n_head\":4,\"n_embd\":64,"
         "\"intermediate_size\":160}",
         "n_layer"},
        {"{\"family\":\"mdm\",\"block_size\":64,\"vocab_size\":91,\"n_layer\":2,\"n_head\":4,\"n_embd\":1099511627776,"
         "\"intermediate_size\":160}",
         "n_embd"},
        {"{\"model_type\":\"gpt2\"," OURS "}", "gpt2"},
        {"{\"hidden_act\":\"gelu\"," LLAMA "}", "gelu"},
        {"{\"attention_bias\":true," LLAMA "}", "attention_bias"},
        {"{\"rope_scaling\":{\"rope_type\":\"llama3\"}," LLAMA "}", "rope_scaling"},
        {"{\"rope_parameters\":{\"rope_type\":\"yarn\"}," LLAMA "}", "yarn"},
        {"{\"rope_parameters\":[]," LLAMA "}", "rope_parameters"},
        {"{\"head_dim\":16," LLAMA "}", "head_dim"},
        {"{\"hidden_size\":64,\"num_hidden_layers\":null}", "missing"},
        {"{\"eos_token_id\":[-7]," LLAMA "}", "eos_token_id"},
        {"{\"eos_token_id\":[]," LLAMA "}", "eos_token_id"},
        {"[]", "object"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct config c;
        struct err err = {0};
        if (parse(&c, bad[i].text, &err) == 0) fail_msg("accepted: %s", bad[i].text);
        if (!strstr(err.msg, bad[i].word) || strncmp(err.msg, "here: ", 6) != 0)
            fail_msg("message '%s' for %s", err.msg, bad[i].text);
    }
}

static void json_round_trip(void **state) {
    (void)state;
    for (int k = 0; k < 3; k++) {
        struct config c = named("34", k ? FAMILY_ARM : FAMILY_MDM, 5000), back;
        struct err err = {0};
        c.bos_id = 1;
        c.norm_eps = 1e-6;
        c.rope_base = 500000;
        c.rope_bf16 = k == 1;
        c.tied_head = k == 2;
        c.n_query_groups = 2;
        json_t *o = config_to_json(&c);
        assert_non_null(o);
        if (config_from_json(&back, o, "round trip", &err) < 0) fail_msg("%s", err.msg);
        json_decref(o);
        assert_int_equal(back.family, c.family);
        assert_int_equal(back.block_size, c.block_size);
        assert_int_equal(back.vocab_size, c.vocab_size);
        assert_int_equal(back.padded_vocab_size, c.padded_vocab_size);
        assert_int_equal(back.mask_id, c.mask_id);
        assert_int_equal(back.n_layer, c.n_layer);
        assert_int_equal(back.n_head, c.n_head);
        assert_int_equal(back.n_query_groups, c.n_query_groups);
        assert_int_equal(back.n_embd, c.n_embd);
        assert_int_equal(back.intermediate_size, c.intermediate_size);
        assert_int_equal(back.bos_id, 1);
        assert_int_equal(back.eos_id, -1);
        assert_true(back.norm_eps == c.norm_eps && back.rope_base == c.rope_base);
        assert_int_equal(back.rope_bf16, c.rope_bf16);
        assert_int_equal(back.tied_head, c.tied_head);
    }
}

static void load_names_files_folders(void **state) {
    (void)state;
    char dir[] = "/tmp/test_config.XXXXXX", path[FILE_PATH_MAX];
    struct config c;
    struct err err = {0};
    assert_non_null(mkdtemp(dir));
    assert_int_equal(file_join(path, dir, "config.json", &err), 0);
    static const char text[] = "{" OURS "}";
    assert_int_equal(file_write(path, text, strlen(text), &err), 0);
    for (int k = 0; k < 2; k++) { /* the family is the caller's when the file does not say */
        if (config_load(&c, k ? path : dir, (enum family)k, 1, &err) < 0) fail_msg("%s", err.msg);
        assert_int_equal(c.family, k);
        assert_int_equal(c.n_embd, 64);
    }
    if (config_load(&c, "48", FAMILY_ARM, 1000, &err) < 0) fail_msg("%s", err.msg);
    assert_int_equal(c.padded_vocab_size, 1024);
    assert_int_equal(file_write(path, "{\"n_layer\":2", 12, &err), 0);
    assert_int_equal(config_load(&c, path, FAMILY_ARM, 1000, &err), -1);
    assert_non_null(strstr(err.msg, "config.json"));
    unlink(path);
    assert_int_equal(config_load(&c, dir, FAMILY_ARM, 1000, &err), -1);
    assert_non_null(strstr(err.msg, "config.json"));
    rmdir(dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_totals),
        cmocka_unit_test(names_are_sizes),
        cmocka_unit_test(vocabulary_is_padded),
        cmocka_unit_test(unknown_names_fail),
        cmocka_unit_test(our_keys),
        cmocka_unit_test(hugging_face_keys),
        cmocka_unit_test(broken_files_fail),
        cmocka_unit_test(json_round_trip),
        cmocka_unit_test(load_names_files_folders),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
