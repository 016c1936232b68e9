/* config: the 30 named models' exact sizes, both spellings of config.json, and every rule that can be broken. */
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
#include "base/file.h"
#include "base/jsonl.h"
#include "model/params.h"
#include "unit/scratch.h"

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
        if (want[i].body) assert_int_equal(params_body(&c), want[i].body);
        if (want[i].mdm) assert_int_equal(params_all(&c), want[i].mdm);
        assert_int_equal(params_body(&a), params_body(&c));
        assert_int_equal(params_all(&a), params_all(&c) - c.n_embd);
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
        int64_t millions = (params_body(&c) + 500000) / 1000000;
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

#define LLADA                                                                                                          \
    "\"d_model\":64,\"n_heads\":8,\"n_kv_heads\":2,\"n_layers\":3,\"mlp_hidden_size\":96,\"vocab_size\":50,"           \
    "\"embedding_size\":60,\"max_sequence_length\":128"

/* What each project's models are beyond their numbers. */
static void other_projects(void **state) {
    (void)state;
    struct config c;
    struct err err = {0};
    if (parse(&c,
              "{\"model_type\":\"llada\",\"mask_token_id\":55,\"rope_theta\":5e5,\"rms_norm_eps\":1e-6,"
              "\"weight_tying\":true,\"layer_norm_type\":\"rms\",\"block_group_size\":1," LLADA "}",
              &err) < 0)
        fail_msg("%s", err.msg);
    assert_true(c.family == FAMILY_MDM && c.mask_inside && c.mask_id == 55 && c.tied_head && !c.shifted);
    assert_true(c.n_layer == 3 && c.n_head == 8 && c.n_query_groups == 2 && c.intermediate_size == 96);
    assert_true(c.vocab_size == 50 && c.padded_vocab_size == 60 && config_embedding_rows(&c) == 60);
    assert_true(c.rope_base == 5e5 && c.norm_eps == 1e-6 && !c.rope_bf16 && c.block_size == 128);
    if (parse(&c, "{\"model_type\":\"Dream\",\"mask_token_id\":500,\"sliding_window\":9," LLAMA "}", &err) < 0)
        fail_msg("%s", err.msg);
    assert_true(c.family == FAMILY_MDM && c.shifted && c.attn_bias && !c.proj_bias && !c.mlp_bias && c.mask_inside);
    if (parse(&c, "{\"model_type\":\"qwen2\",\"mask_token_id\":500," LLAMA "}", &err) < 0) fail_msg("%s", err.msg);
    assert_true(c.family == FAMILY_ARM && !c.shifted && c.attn_bias && c.mask_id == -1 && !c.mask_inside);
    if (parse(&c,
              "{\"model_type\":\"gpt2\",\"n_positions\":16,\"vocab_size\":91,\"n_layer\":2,\"n_head\":4,\"n_embd\":64,"
              "\"n_inner\":null,\"layer_norm_epsilon\":1e-4}",
              &err) < 0)
        fail_msg("%s", err.msg);
    assert_true(c.family == FAMILY_ARM && c.norm == NORM_LAYER && c.mlp == MLP_GELU &&
                c.positions == POSITIONS_LEARNED);
    assert_true(c.attn_bias && c.proj_bias && c.mlp_bias && c.tied_head && c.intermediate_size == 256);
    assert_true(c.norm_eps == 1e-4 && c.block_size == 16 && c.padded_vocab_size == 91);
    if (parse(&c, "{\"attention_bias\":true,\"mlp_bias\":true," LLAMA "}", &err) < 0) fail_msg("%s", err.msg);
    assert_true(c.attn_bias && c.proj_bias && c.mlp_bias && c.mlp == MLP_SWIGLU);
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
        {"{\"model_type\":\"mamba\"," OURS "}", "mamba"},
        {"{\"model_type\":\"gpt2\"," OURS "}", "n_positions"},
        {"{\"model_type\":\"gpt2\",\"n_positions\":64,\"activation_function\":\"gelu\"," OURS "}", "gelu_new"},
        {"{\"model_type\":\"llada\",\"include_bias\":true," LLADA "}", "include_bias"},
        {"{\"model_type\":\"llada\",\"block_group_size\":2," LLADA "}", "block_group_size"},
        {"{\"model_type\":\"llada\",\"mask_token_id\":61," LLADA "}", "mask_id"},
        {"{\"model_type\":\"Dream\",\"use_sliding_window\":true," LLAMA "}", "use_sliding_window"},
        {"{\"model_type\":\"Dream\",\"family\":\"arm\"," LLAMA "}", "shifted"},
        {"{\"family\":\"arm\",\"mask_inside\":true," OURS "}", "mask_inside"},
        {"{\"family\":\"mdm\",\"mask_inside\":true,\"mask_id\":128," OURS "}", "outside the embedding of 128"},
        {"{\"family\":\"mdm\",\"norm\":\"batch\"," OURS "}", "layer"},
        {"{\"family\":\"mdm\",\"mlp\":true," OURS "}", "mlp"},
        {"{\"hidden_act\":\"gelu\"," LLAMA "}", "gelu"},
        {"{\"attention_bias\":1," LLAMA "}", "attention_bias"},
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
    for (int k = 0; k < 4; k++) {
        struct config c = named("34", k % 3 ? FAMILY_ARM : FAMILY_MDM, 5000), back;
        struct err err = {0};
        c.bos_id = 1;
        c.norm_eps = 1e-6;
        c.rope_base = 500000;
        c.rope_bf16 = k == 1;
        c.tied_head = k == 2;
        c.n_query_groups = 2;
        c.norm = k == 2 ? NORM_LAYER : NORM_RMS;
        c.positions = k == 2 ? POSITIONS_LEARNED : POSITIONS_ROTARY;
        c.mlp = k == 2 ? MLP_GELU : MLP_SWIGLU;
        c.attn_bias = k > 1;
        c.proj_bias = k == 2;
        c.mlp_bias = k == 1;
        c.shifted = c.mask_inside = k == 3;
        if (k == 3) c.mask_id = 4999;
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
        assert_true(back.norm == c.norm && back.positions == c.positions && back.mlp == c.mlp);
        assert_true(back.attn_bias == c.attn_bias && back.proj_bias == c.proj_bias && back.mlp_bias == c.mlp_bias);
        assert_true(back.shifted == c.shifted && back.mask_inside == c.mask_inside);
    }
}

static void load_names_files_folders(void **state) {
    (void)state;
    char *dir = scratch_new(), path[FILE_PATH_MAX];
    struct config c;
    struct err err = {0};
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
    scratch_free(dir);
}

/* Files of published models do not change for keys that only other projects' models need. */
static void written_as_ever(void **state) {
    (void)state;
    struct config c = named("6", FAMILY_MDM, 1000);
    c.norm_eps = 0.5; /* which every version of jansson writes alike */
    json_t *o = config_to_json(&c);
    char *text = json_dumps(o, JSON_COMPACT);
    assert_string_equal(text, "{\"family\":\"mdm\",\"block_size\":2048,\"vocab_size\":1000,\"padded_vocab_size\":1024,"
                              "\"mask_id\":1024,\"n_layer\":6,\"n_head\":4,\"n_query_groups\":4,\"n_embd\":256,"
                              "\"intermediate_size\":1024,\"bos_id\":-1,\"eos_id\":-1,"
                              "\"norm_eps\":0.5,\"rope_base\":10000.0,\"rope_bf16\":true}");
    free(text);
    json_decref(o);
}

/* A folder that is called like a model does not hide it; its path does not mean the model. */
static void a_folder_called_6(void **state) {
    (void)state;
    char *dir = scratch_new(), before[FILE_PATH_MAX];
    struct config c;
    struct err err = {0};
    assert_non_null(getcwd(before, sizeof before));
    assert_int_equal(chdir(dir), 0);
    assert_int_equal(mkdir("6", 0755), 0);
    const int named_status = config_load(&c, "6", FAMILY_ARM, 1000, &err);
    const int path_status = config_load(&c, "./6", FAMILY_ARM, 1000, &err);
    assert_int_equal(rmdir("6"), 0);
    assert_int_equal(chdir(before), 0);
    scratch_free(dir);
    assert_int_equal(named_status, 0);
    assert_int_equal(path_status, -1);
    assert_non_null(strstr(err.msg, "./6/config.json"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_totals),
        cmocka_unit_test(names_are_sizes),
        cmocka_unit_test(vocabulary_is_padded),
        cmocka_unit_test(unknown_names_fail),
        cmocka_unit_test(our_keys),
        cmocka_unit_test(hugging_face_keys),
        cmocka_unit_test(other_projects),
        cmocka_unit_test(broken_files_fail),
        cmocka_unit_test(written_as_ever),
        cmocka_unit_test(a_folder_called_6),
        cmocka_unit_test(json_round_trip),
        cmocka_unit_test(load_names_files_folders),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
