/* weights: what is saved loads again; Hugging Face files give the same weights; what does not fit the config is refused
 * with a message that names it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/jsonl.h"
#include "base/mem.h"
#include "compute/ops.h"
#include "model/weights.h"
#include "train/shard_file.h"
#include "test_data.h"
#include "unit/safetensors_help.h"
#include "unit/scratch.h"

static char *folder, file[FILE_PATH_MAX], config_file[FILE_PATH_MAX];

/* A small model, its flat buffer and its table; H = 6 heads in G = 2 groups, width 24. */
static struct config config;
static struct params params;
static float *flat;

static void must(int status, const struct err *err) {
    if (status < 0) fail_msg("%s", err->msg);
}

static int setup(void **state) {
    (void)state;
    struct err err = {0};
    folder = scratch_new();
    if (kernels_init(&err) < 0) return -1;
    if (file_join(file, folder, "model.safetensors", &err) < 0) return -1;
    return file_join(config_file, folder, "config.json", &err);
}

static int teardown(void **state) {
    (void)state;
    unlink(file);
    unlink(config_file);
    return rmdir(folder);
}

static void model(enum family family, bool tied) {
    struct err err = {0};
    config = (struct config){.family = family,
                             .block_size = 32,
                             .vocab_size = 19,
                             .padded_vocab_size = 20,
                             .mask_id = family == FAMILY_MDM ? 20 : -1,
                             .n_layer = 2,
                             .n_head = 6,
                             .n_query_groups = 2,
                             .n_embd = 24,
                             .intermediate_size = 10,
                             .norm_eps = 1e-5,
                             .rope_base = 10000,
                             .rope_bf16 = true,
                             .tied_head = tied,
                             .bos_id = -1,
                             .eos_id = -1};
    must(params_init(&params, &config, &err), &err);
    flat = mem_alloc(params.total, sizeof *flat, "weights", &err);
    assert_non_null(flat);
    params_random(flat, &params, 5);
    for (int i = 0; i < params.count; i++) /* norms that differ from one another */
        if (params.v[i].cols == 1)
            for (int64_t k = 0; k < params.v[i].rows; k++)
                flat[params.v[i].offset + k] = 1 + (float)i / 8 + (float)k / 64;
}

static void drop_model(void) {
    mem_free(flat);
    params_free(&params);
}

static void write_config(const char *text) {
    struct err err = {0};
    must(file_write(config_file, text, strlen(text), &err), &err);
}

static void write_our_config(void) {
    struct err err = {0};
    json_t *o = config_to_json(&config);
    must(json_write_file(config_file, o, &err), &err);
    json_decref(o);
}

static float element(const struct weight *w, int64_t i) {
    if (w->type == DTYPE_F32) return ((const float *)w->data)[i];
    uint32_t bits = (uint32_t)((const uint16_t *)w->data)[i] << 16;
    float x;
    memcpy(&x, &bits, 4);
    return x;
}

/* Loaded weights are those of `flat`, each within `tolerance` of its own size; norms are f32 and aligned. */
static void same_weights(const struct weights *w, double tolerance) {
    assert_int_equal(w->params.count, params.count);
    for (int i = 0; i < params.count; i++) {
        const struct param *p = &params.v[i];
        if (p->cols == 1) assert_int_equal(w->v[i].type, DTYPE_F32);
        assert_int_equal((uintptr_t)w->v[i].data % dtype_size(w->v[i].type), 0);
        for (int64_t k = 0; k < p->rows * p->cols; k++) {
            double want = flat[p->offset + k], got = element(&w->v[i], k);
            if (!(fabs(got - want) <= tolerance * fabs(want)))
                fail_msg("%s[%lld]: %g, expected %g", p->name, (long long)k, got, want);
        }
    }
}

/* In bf16, as nothing of ours writes it. A tied head, the last row, is in no file. */
static int save_narrow(const char *path, struct err *err) {
    const int count = params.count - config.tied_head;
    struct st_tensor *v = mem_alloc(count, sizeof *v, "the list of weights", err);
    uint16_t *half = mem_alloc(params.total, sizeof *half, "weights in bf16", err);
    assert_true(v && half);
    ops_convert(half, DTYPE_BF16, flat, DTYPE_F32, params.total);
    for (int i = 0; i < count; i++) {
        const struct param *q = &params.v[i];
        v[i] = (struct st_tensor){.name = (char *)q->name,
                                  .dtype = "BF16",
                                  .ndim = q->cols == 1 ? 1 : 2,
                                  .shape = {q->rows, q->cols},
                                  .data = half + q->offset,
                                  .bytes = (size_t)(q->rows * q->cols) * sizeof *half};
    }
    const int status = put_safetensors(path, v, count, NULL, err);
    mem_free(v);
    mem_free(half);
    return status;
}

/* In f32: what a training ends with. */
static int save(const char *path, enum dtype type, struct err *err) {
    static const char *const prefixes[] = {""}, *const metadata[] = {"format", "pt", NULL};
    struct shards shards;
    if (type == DTYPE_BF16) return save_narrow(path, err);
    must(shards_open(&shards, &params, SHARD_NONE, err), err);
    const struct shard_file f = {
        .shards = &shards, .prefixes = prefixes, .groups = 1, .rows = params.count - config.tied_head};
    const int status = shard_file_write(path, &f, &flat, metadata, err);
    shards_close(&shards);
    return status;
}

static const double bf16_half_step = 1.0 / 256; /* 8 bits of significand: half a unit in the last place */

static void round_trip(void **state) {
    (void)state;
    for (int k = 0; k < 8; k++) {
        enum dtype type = k & 1 ? DTYPE_BF16 : DTYPE_F32;
        struct weights w;
        struct err err = {0};
        model(k & 2 ? FAMILY_ARM : FAMILY_MDM, k & 4);
        write_our_config();
        must(save(file, type, &err), &err);
        must(weights_load(&w, k & 1 ? file : folder, NULL, FAMILY_ANY, &err), &err);
        assert_int_equal(w.config.family, config.family);
        same_weights(&w, type == DTYPE_F32 ? 0 : bf16_half_step);
        assert_int_equal(w.v[1 + 1].type, type); /* a matrix stays as it is in the file, where it is mapped */
        const unsigned char *data = w.v[1 + 1].data;
        assert_true(data > w.files.v[0].map.data && data < w.files.v[0].map.data + w.files.v[0].map.size);
        assert_int_equal(w.v[params.count - 1].data == w.v[0].data, config.tied_head);
        assert_int_equal(weight_files_find(&w.files, "lm_head.weight") == NULL, config.tied_head);
        float *copy = mem_alloc(params.total, sizeof *copy, "copy", &err);
        weights_copy_range(&w, copy, 0, params.total);
        struct weights view;
        must(weights_flat(&view, &w.config, copy, &err), &err);
        assert_ptr_equal(view.flat, copy);
        same_weights(&view, type == DTYPE_F32 ? 0 : bf16_half_step);
        weights_free(&view);
        mem_free(copy);
        weights_free(&w);
        drop_model();
    }
}

/* One space more in the header and no tensor is aligned to its type. */
static void misaligned_data(void **state) {
    (void)state;
    for (int k = 0; k < 2; k++) {
        struct weights w;
        struct err err = {0};
        char *data;
        size_t n;
        uint64_t header;
        model(FAMILY_MDM, false);
        write_our_config();
        must(save(file, k ? DTYPE_BF16 : DTYPE_F32, &err), &err);
        must(file_read(&data, &n, file, 1 << 20, &err), &err);
        memcpy(&header, data, 8);
        char *odd = malloc(n + 1);
        assert_non_null(odd);
        memcpy(odd, data, 8 + header);
        odd[8 + header] = ' ';
        memcpy(odd + 9 + header, data + 8 + header, n - 8 - header);
        header++;
        memcpy(odd, &header, 8);
        must(file_write(file, odd, n + 1, &err), &err);
        must(weights_load(&w, folder, NULL, FAMILY_ANY, &err), &err);
        same_weights(&w, k ? bf16_half_step : 0);
        weights_free(&w);
        free(odd);
        mem_free(data);
        drop_model();
    }
}

/* ---- Hugging Face ---- */

enum { MOST = 60 };
static struct st_tensor list[MOST];
static char list_names[MOST][120];
static int listed;

static float *put(const char *name, int64_t height, int64_t width) {
    struct err err = {0};
    struct st_tensor *t = &list[listed];
    snprintf(list_names[listed], sizeof list_names[0], "%s", name);
    *t = (struct st_tensor){.name = list_names[listed++], .dtype = "F32", .ndim = width == 1 ? 1 : 2};
    t->shape[0] = height;
    t->shape[1] = width;
    t->bytes = (size_t)(height * width) * sizeof(float);
    t->data = mem_alloc(height * width, sizeof(float), name, &err);
    assert_non_null(t->data);
    return (float *)t->data;
}

static void drop_list(void) {
    while (listed > 0) mem_free((void *)list[--listed].data);
}

static struct st_tensor *listed_as(const char *name) {
    for (int i = 0; i < listed; i++)
        if (!strcmp(list[i].name, name)) return &list[i];
    fail_msg("no tensor %s", name);
    return NULL;
}

/* Put a copy of a parameter under another name. */
static void put_as(enum param_role role, int layer, const char *name) {
    const struct param *p = &params.v[params_index(&params, role, layer)];
    char full[80];
    snprintf(full, sizeof full, layer < 0 ? "model.%s.weight" : "model.layers.%2$d.%1$s.weight", name, layer);
    memcpy(put(role == PARAM_HEAD ? "lm_head.weight" : full, p->rows, p->cols), flat + p->offset,
           (size_t)(p->rows * p->cols) * sizeof(float));
}

/* The model of `flat` as Hugging Face stores it. Row h·D+d of q_proj is head h; head h is query h % (H/G) of group
 * h / (H/G): written from that definition, element by element, not as the code under test does it. */
static void list_hugging_face(bool head) {
    int64_t H = config.n_head, G = config.n_query_groups, D = config_head_dim(&config), E = config.n_embd, R = H / G;
    put_as(PARAM_WTE, -1, "embed_tokens");
    for (int layer = 0; layer < config.n_layer; layer++) {
        char name[80];
        const float *fused = flat + params.v[params_index(&params, PARAM_ATTN, layer)].offset;
        for (int k = 0; k < 3; k++) {
            snprintf(name, sizeof name, "model.layers.%d.self_attn.%c_proj.weight", layer, "qkv"[k]);
            int64_t heads = k == 0 ? H : G;
            float *out = put(name, heads * D, E);
            for (int64_t h = 0; h < heads; h++)
                for (int64_t d = 0; d < D; d++)
                    for (int64_t e = 0; e < E; e++) {
                        int64_t group = k == 0 ? h / R : h, slot = k == 0 ? h % R : R + k - 1;
                        out[(h * D + d) * E + e] = fused[((group * (R + 2) + slot) * D + d) * E + e];
                    }
        }
        put_as(PARAM_NORM_1, layer, "input_layernorm");
        put_as(PARAM_PROJ, layer, "self_attn.o_proj");
        put_as(PARAM_NORM_2, layer, "post_attention_layernorm");
        put_as(PARAM_W1, layer, "mlp.gate_proj");
        put_as(PARAM_W2, layer, "mlp.up_proj");
        put_as(PARAM_W3, layer, "mlp.down_proj");
    }
    put_as(PARAM_LN_F, -1, "norm");
    if (head) put_as(PARAM_HEAD, -1, "");
}

static void write_list(void) {
    struct err err = {0};
    must(put_safetensors(file, list, listed, NULL, &err), &err);
}

#define LLAMA                                                                                                          \
    "\"model_type\":\"llama\",\"hidden_size\":24,\"num_hidden_layers\":2,\"num_attention_heads\":6,"                   \
    "\"num_key_value_heads\":2,\"intermediate_size\":10,\"max_position_embeddings\":32"
static const char llama[] = "{" LLAMA ",\"vocab_size\":20}", llama_tied[] = "{" LLAMA ",\"vocab_size\":20,"
                                                                            "\"tie_word_embeddings\":true}";

static void hugging_face(void **state) {
    (void)state;
    for (int k = 0; k < 3; k++) { /* an own head; a tied head that is absent, and one that is repeated */
        struct weights w;
        struct err err = {0};
        model(FAMILY_ARM, k > 0);
        list_hugging_face(k != 1);
        *put("model.layers.0.self_attn.rotary_emb.inv_freq", 1, 1) = 1;
        write_list();
        write_config(k ? llama_tied : llama);
        must(weights_load(&w, folder, NULL, FAMILY_ANY, &err), &err);
        assert_int_equal(w.config.family, FAMILY_ARM);
        assert_int_equal(w.config.padded_vocab_size, 20);
        assert_false(w.config.rope_bf16);
        same_weights(&w, 0);
        weights_free(&w);
        drop_list();
        drop_model();
    }
}

/* The file's head has more rows than vocab_size says: padding. */
static void hugging_face_padding(void **state) {
    (void)state;
    struct weights w;
    struct err err = {0};
    model(FAMILY_ARM, false);
    list_hugging_face(true);
    write_list();
    write_config("{" LLAMA ",\"vocab_size\":17}");
    must(weights_load(&w, folder, NULL, FAMILY_ANY, &err), &err);
    assert_int_equal(w.config.vocab_size, 17);
    assert_int_equal(w.config.padded_vocab_size, 20);
    same_weights(&w, 0);
    weights_free(&w);
    drop_list();
    drop_model();
}

/* ---- what must be refused ---- */

static void refused(const char *path, const char *model_name, enum family family, const char *word) {
    struct weights w;
    struct err err = {0};
    int64_t before = mem_in_use();
    if (weights_load(&w, path, model_name, family, &err) == 0) fail_msg("loaded, expected an error with '%s'", word);
    if (!strstr(err.msg, word)) fail_msg("message '%s' lacks '%s'", err.msg, word);
    assert_int_equal(mem_in_use(), before);
}

static void wrong_tensors(void **state) {
    (void)state;
    model(FAMILY_ARM, false);
    write_config(llama);
    static const char *const names[] = {"model.layers.1.self_attn.k_proj.weight", "model.layers.0.mlp.gate_proj.weight",
                                        "model.norm.weight", "lm_head.weight"};
    for (int i = 0; i < 4; i++) {
        list_hugging_face(true);
        struct st_tensor *t = listed_as(names[i]), good = *t;
        memcpy(t->name, "x", 1);
        write_list();
        refused(folder, NULL, FAMILY_ANY, i == 3 ? "lm_head" : names[i]);
        memcpy(t->name, i == 3 ? "l" : "m", 1);
        if (i < 3) { /* one row less; a head with a row less makes the vocabulary smaller */
            t->shape[0]--;
            t->bytes -= (size_t)(t->ndim == 2 ? t->shape[1] : 1) * sizeof(float);
            write_list();
            refused(folder, NULL, FAMILY_ANY, names[i]);
        }
        *t = good;
        snprintf(t->dtype, sizeof t->dtype, "F16");
        t->shape[0] *= 2;
        write_list();
        refused(folder, NULL, FAMILY_ANY, "shape");
        *t = good;
        snprintf(t->dtype, sizeof t->dtype, "I32");
        write_list();
        refused(folder, NULL, FAMILY_ANY, "I32");
        drop_list();
    }
    drop_model();
}

static void wrong_models(void **state) {
    (void)state;
    struct err err = {0};
    model(FAMILY_MDM, false);
    must(save(file, DTYPE_F32, &err), &err);
    unlink(config_file);
    refused(folder, NULL, FAMILY_ANY, "--model");
    refused(folder, "6", FAMILY_ANY, "[21, 24], the config expects [21, 256]");
    refused(folder, "no-such-model", FAMILY_ANY, "no-such-model");
    config.n_layer = 3;
    write_our_config();
    refused(folder, NULL, FAMILY_ANY, "'transformer.h.2.norm_1.weight' is missing");
    config.n_layer = 1;
    write_our_config();
    refused(folder, NULL, FAMILY_ANY, "transformer.h.1.norm_1.weight' has no place");
    config.n_layer = 2;
    config.intermediate_size = 12;
    write_our_config();
    refused(folder, NULL, FAMILY_ANY, "w1.weight' has shape [10, 24], the config expects [12, 24]");
    config.intermediate_size = 10;
    config.family = FAMILY_ARM;
    config.mask_id = -1;
    write_our_config();
    refused(folder, NULL, FAMILY_ANY, "family mdm, not arm");
    drop_model();
    model(FAMILY_ARM, false);
    must(save(file, DTYPE_F32, &err), &err);
    config.family = FAMILY_MDM;
    config.mask_id = 20;
    write_our_config();
    refused(folder, NULL, FAMILY_ANY, "family arm, not mdm");
    drop_model();
}

static void contradicting_heads_and_types(void **state) {
    (void)state;
    model(FAMILY_ARM, true);
    list_hugging_face(true);
    ((float *)listed_as("lm_head.weight")->data)[7] += 1;
    write_list();
    write_config(llama_tied);
    refused(folder, NULL, FAMILY_ANY, "lm_head.weight differs");
    drop_list();
    list_hugging_face(false);
    write_list();
    write_config(llama);
    refused(folder, NULL, FAMILY_ANY, "lm_head.weight' is missing");
    struct st_tensor *t = listed_as("model.layers.0.self_attn.v_proj.weight");
    snprintf(t->dtype, sizeof t->dtype, "BF16");
    t->bytes /= 2;
    write_list();
    write_config(llama_tied);
    refused(folder, NULL, FAMILY_ANY, "differ in type");
    drop_list();
    *put("something.else", 3, 1) = 1;
    write_list();
    refused(folder, NULL, FAMILY_ANY, "not a model of this kind");
    drop_list();
    drop_model();
}

static void paths(void **state) {
    (void)state;
    char out[FILE_PATH_MAX], other[FILE_PATH_MAX], third[FILE_PATH_MAX];
    struct err err = {0};
    model(FAMILY_MDM, false);
    write_our_config();
    unlink(file);
    refused("/nonexistent/model", NULL, FAMILY_ANY, "/nonexistent/model");
    refused(folder, NULL, FAMILY_ANY, "no *.safetensors");
    must(file_join(other, folder, "only.safetensors", &err), &err);
    must(file_join(third, folder, "second.safetensors", &err), &err);
    must(save(other, DTYPE_F32, &err), &err);
    struct weights w;
    must(weights_load(&w, folder, NULL, FAMILY_ANY, &err), &err);
    weights_free(&w);
    must(file_copy(other, third, &err), &err);
    refused(folder, NULL, FAMILY_ANY, "2 *.safetensors");
    must(weights_load(&w, other, config_file, FAMILY_ANY, &err), &err);
    weights_free(&w);
    must(weights_folder(out, other, &err), &err);
    assert_int_equal(strncmp(out, folder, strlen(folder)), 0);
    assert_string_equal(out + strlen(folder), "/");
    must(weights_folder(out, folder, &err), &err);
    assert_true(file_is_dir(out));
    assert_int_equal(weights_folder(out, "/nonexistent/x", &err), -1);
    unlink(other);
    unlink(third);
    drop_model();
}

/* A checkpoint's param/… load, from the file or from a folder of checkpoints alone: then the newest. A copy under a name
 * that no run gives is none; where there is nothing else it is the folder's model. */
static void checkpoints(void **state) {
    (void)state;
    static const char *const groups[] = {"param", "adam_m", "adam_v"};
    char path[2][FILE_PATH_MAX], copy[FILE_PATH_MAX];
    struct err err = {0};
    struct weights w;
    model(FAMILY_MDM, false);
    write_our_config();
    unlink(file);
    for (int k = 0; k < 2; k++) {
        must(
            file_join(path[k], folder, k ? "checkpoint-00000010.safetensors" : "checkpoint-00000009.safetensors", &err),
            &err);
        for (int g = 0; g < 3; g++)
            for (int i = 0; i < params.count; i++) {
                const struct param *p = &params.v[i];
                char name[120];
                snprintf(name, sizeof name, "%s/%s", groups[g], p->name);
                float *out = put(name, p->rows, p->cols);
                memcpy(out, flat + p->offset, g == 0 ? (size_t)(p->rows * p->cols) * sizeof *out : 0);
                if (k == 0) *out = 9;
            }
        must(put_safetensors(path[k], list, listed, NULL, &err), &err);
        drop_list();
    }
    must(file_join(copy, folder, "checkpoint-00000011-keep.safetensors", &err), &err);
    must(file_copy(path[0], copy, &err), &err);
    for (int k = 0; k < 2; k++) {
        must(weights_load(&w, k ? folder : path[1], NULL, FAMILY_ANY, &err), &err);
        assert_string_equal(weights_naming(&w.files), "checkpoint");
        same_weights(&w, 0);
        weights_free(&w);
    }
    config.n_layer = 1;
    write_our_config();
    refused(folder, NULL, FAMILY_ANY, "param/transformer.h.1.norm_1.weight' has no place");
    unlink(path[0]);
    unlink(path[1]);
    config.n_layer = 2;
    write_our_config();
    must(weights_load(&w, folder, NULL, FAMILY_ANY, &err), &err);
    assert_string_equal(weights_naming(&w.files), "checkpoint");
    weights_free(&w);
    must(file_join(path[0], folder, "checkpoint-best.safetensors", &err), &err);
    must(file_copy(copy, path[0], &err), &err);
    refused(folder, NULL, FAMILY_ANY, "2 *.safetensors, and neither model.safetensors nor");
    unlink(copy);
    unlink(path[0]);
    refused(folder, NULL, FAMILY_ANY, "no *.safetensors in this folder");
    drop_model();
}

/* A file without config.json is recognised by its shapes; its family by the embedding. */
static void named_by_shapes(void **state) {
    (void)state;
    for (int k = 0; k < 2; k++) {
        struct weights w;
        struct safetensors s;
        struct err err = {0};
        enum family shown = FAMILY_MDM;
        unlink(config_file);
        must(config_named(&config, "6", (enum family)k, 64, &err), &err);
        must(params_init(&params, &config, &err), &err);
        flat = mem_alloc(params.total, sizeof *flat, "weights", &err);
        assert_non_null(flat);
        params_random(flat, &params, 1);
        must(save(file, DTYPE_BF16, &err), &err);
        must(safetensors_open(&s, file, &err), &err);
        const struct named_model *m =
            weights_match(&(struct weight_files){.v = &s, .count = 1, .tensors = s.count}, &shown);
        assert_non_null(m);
        assert_int_equal(m->name, 6);
        assert_int_equal(shown, k);
        safetensors_close(&s);
        for (int given = 0; given < 2; given++) {
            must(weights_load(&w, file, given ? "6" : NULL, (enum family)k, &err), &err);
            assert_int_equal(w.config.n_head, 4);
            assert_int_equal(w.config.padded_vocab_size, 64);
            same_weights(&w, bf16_half_step);
            weights_free(&w);
        }
        refused(file, "6", (enum family) !k, "family");
        drop_model();
    }
}

/* What is asked for and what the config says must agree. */
static void family_as_asked(void **state) {
    (void)state;
    struct err err = {0};
    for (int k = 0; k < 2; k++) {
        struct weights w;
        model((enum family)k, false);
        write_our_config();
        must(save(file, DTYPE_F32, &err), &err);
        must(weights_load(&w, folder, NULL, (enum family)k, &err), &err);
        weights_free(&w);
        refused(folder, NULL, (enum family) !k,
                k ? "of family arm, not mdm as asked" : "of family mdm, not arm as asked");
        drop_model();
    }
}

/* ---- several files ---- */

/* The model of `flat` under Hugging Face's names, tensor i in file i % 2, listed by an index; `extra` goes into its map. */
static void write_split(char path[2][FILE_PATH_MAX], char index[FILE_PATH_MAX], const char *extra) {
    static const char *const names[] = {"a.safetensors", "b.safetensors"};
    static struct st_tensor half[MOST];
    static char text[MOST * 160];
    struct err err = {0};
    size_t n = (size_t)snprintf(text, sizeof text, "{\"weight_map\":{%s", extra);
    must(file_join(index, folder, "model.safetensors.index.json", &err), &err);
    for (int k = 0; k < 2; k++) {
        int count = 0;
        for (int i = k; i < listed; i += 2) {
            half[count++] = list[i];
            n += (size_t)snprintf(text + n, sizeof text - n, "%s\"%s\":\"%s\"", text[n - 1] == '{' ? "" : ",",
                                  list[i].name, names[k]);
        }
        must(file_join(path[k], folder, names[k], &err), &err);
        must(put_safetensors(path[k], half, count, NULL, &err), &err);
    }
    n += (size_t)snprintf(text + n, sizeof text - n, "}}");
    must(file_write(index, text, n, &err), &err);
}

static void split_files(void **state) {
    (void)state;
    char path[2][FILE_PATH_MAX], index[FILE_PATH_MAX];
    struct err err = {0};
    struct weights w;
    unlink(file);
    model(FAMILY_ARM, false);
    list_hugging_face(true);
    write_config(llama);
    write_split(path, index, "");
    for (int k = 0; k < 2; k++) {
        must(weights_load(&w, k ? index : folder, NULL, FAMILY_ANY, &err), &err);
        assert_int_equal(w.files.count, 2);
        same_weights(&w, 0);
        weights_free(&w);
    }
    refused(path[1], NULL, FAMILY_ANY, "one of several files");
    write_split(path, index, "\"model.more\":\"a.safetensors\"");
    refused(folder, NULL, FAMILY_ANY, "'model.more' is not in a.safetensors");
    write_split(path, index, "\"model.more\":\"../a.safetensors\"");
    refused(folder, NULL, FAMILY_ANY, "'../a.safetensors' is no name of a file beside it");
    write_split(path, index, "\"model.more\":7");
    refused(folder, NULL, FAMILY_ANY, "expected a file's name");
    write_split(path, index, "");
    unlink(path[1]);
    refused(folder, NULL, FAMILY_ANY, "b.safetensors");
    must(put_safetensors(path[1], list, listed, NULL, &err), &err); /* all: some tensors are there twice */
    refused(folder, NULL, FAMILY_ANY, "its files hold");
    must(file_write(index, "{}", 2, &err), &err);
    refused(folder, NULL, FAMILY_ANY, "weight_map");
    unlink(path[0]);
    unlink(path[1]);
    unlink(index);
    drop_list();
    drop_model();
}

/* Halves, which powers of two are: queries and keys and a head in f16 become f32, in the right places. */
static void half_precision(void **state) {
    (void)state;
    struct err err = {0};
    struct weights w;
    model(FAMILY_ARM, false);
    for (int64_t i = 0; i < params.total; i++) flat[i] = (float)((i % 23) - 11) / 8;
    list_hugging_face(true);
    for (int i = 0; i < listed; i++) {
        struct st_tensor *t = &list[i];
        uint16_t *to = (uint16_t *)t->data;
        const float *from = t->data;
        for (size_t k = 0; k < t->bytes / 4; k++) {
            int e;
            const float x = from[k], m = frexpf(fabsf(x), &e);
            to[k] = (uint16_t)((x < 0) << 15 | (x != 0 ? (e + 14) << 10 | (int)(m * 2048 - 1024) : 0));
        }
        t->bytes /= 2;
        snprintf(t->dtype, sizeof t->dtype, "F16");
    }
    write_list();
    write_config(llama);
    must(weights_load(&w, folder, NULL, FAMILY_ANY, &err), &err);
    for (int i = 0; i < params.count; i++) assert_int_equal(w.v[i].type, DTYPE_F32);
    same_weights(&w, 0);
    weights_free(&w);
    drop_list();
    drop_model();
}

static void failing_memory_and_disk(void **state) {
    (void)state;
    static const enum fault_kind kinds[] = {FAULT_ALLOC, FAULT_READ, FAULT_WRITE};
    model(FAMILY_ARM, true);
    list_hugging_face(false);
    write_list();
    write_config(llama_tied);
    int64_t before = mem_in_use();
    for (int k = 0; k < 3; k++) {
        for (long n = 1, reached = 1; reached; n++) {
            struct weights w = {0};
            struct err err = {0};
            fault_set(kinds[k], n, false);
            int status = k < 2 ? weights_load(&w, folder, NULL, FAMILY_ANY, &err) : save(file, DTYPE_F32, &err);
            reached = fault_count(kinds[k]) >= n;
            fault_set(kinds[k], 0, false);
            assert_int_equal(status, reached ? -1 : 0);
            assert_int_equal(err.msg[0] != 0, reached);
            weights_free(&w);
            assert_int_equal(mem_in_use(), before);
        }
    }
    drop_list();
    drop_model();
}

/* A real Llama model, when it is there: f32 and bf16 files agree to bf16's precision. */
static void stories(void **state) {
    (void)state;
    const char *f32 = test_data("data/stories260k/model_hf_f32.safetensors"),
               *bf16 = test_data("data/stories260k/model_hf_bf16.safetensors");
    if (!f32 || !bf16) skip();
    struct weights a, b;
    struct err err = {0};
    must(weights_load(&a, f32, NULL, FAMILY_ANY, &err), &err);
    must(weights_load(&b, bf16, NULL, FAMILY_ANY, &err), &err);
    assert_int_equal(a.config.n_layer, 5);
    assert_int_equal(a.config.n_query_groups, 4);
    assert_true(a.config.tied_head);
    assert_int_equal(params_all(&a.config), 260032);
    for (int i = 0; i < a.params.count; i++)
        for (int64_t k = 0; k < a.params.v[i].rows * a.params.v[i].cols; k++) {
            double x = element(&a.v[i], k), y = element(&b.v[i], k);
            if (!(fabs(x - y) <= bf16_half_step * fabs(x))) fail_msg("%s: %g and %g", a.params.v[i].name, x, y);
        }
    /* layer 0, group 3: its two queries are heads 6 and 7, then its key, its value */
    const struct st_tensor *q = weight_files_find(&a.files, "model.layers.0.self_attn.q_proj.weight");
    const struct st_tensor *v = weight_files_find(&a.files, "model.layers.0.self_attn.v_proj.weight");
    const float *fused = a.v[params_index(&a.params, PARAM_ATTN, 0)].data;
    assert_memory_equal(fused + 3 * 4 * 8 * 64, (const float *)q->data + 6 * 8 * 64, 2 * 8 * 64 * sizeof(float));
    assert_memory_equal(fused + (3 * 4 + 3) * 8 * 64, (const float *)v->data + 3 * 8 * 64, 8 * 64 * sizeof(float));
    weights_free(&a);
    weights_free(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(misaligned_data),
        cmocka_unit_test(hugging_face),
        cmocka_unit_test(hugging_face_padding),
        cmocka_unit_test(wrong_tensors),
        cmocka_unit_test(wrong_models),
        cmocka_unit_test(contradicting_heads_and_types),
        cmocka_unit_test(paths),
        cmocka_unit_test(checkpoints),
        cmocka_unit_test(named_by_shapes),
        cmocka_unit_test(family_as_asked),
        cmocka_unit_test(split_files),
        cmocka_unit_test(half_precision),
        cmocka_unit_test(failing_memory_and_disk),
        cmocka_unit_test(stories),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
