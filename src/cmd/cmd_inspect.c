/* cmd_inspect: says what a file is and whether it is whole. The kinds are one table: how each is recognised, and how it
 * is read to its end and described. A folder is the files in it, plus what its manifest promises of them. */
#include <ctype.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/jsonl.h"
#include "base/mem.h"
#include "base/num.h"
#include "cmd/cmd.h"
#include "data/chunk.h"
#include "eval/results.h"
#include "model/weights.h"
#include "text/tokenizer.h"
#include "train/checkpoint.h"

enum { HEAD = 16, JSON_BYTES_MAX = 256 << 20, CHUNK_PIECE = 1 << 16 };

struct target {
    const char *path, *name; /* name: the path's last part */
    unsigned char head[HEAD];
    size_t head_bytes;
    json_t *json;  /* the object in a *.json file */
    int64_t vocab; /* ids of chunks must be below */
    bool brief;    /* one line: a file among others */
};

/* A line on stdout. Names inside files are anybody's: err_set() takes out what would move the terminal's cursor. */
static void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void say(const char *fmt, ...) {
    struct err line = {{0}};
    char text[sizeof line.msg];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    err_set(&line, "%s", text);
    printf("%s\n", line.msg);
}

static bool ends_with(const char *s, const char *end) {
    size_t n = strlen(s), m = strlen(end);
    return n >= m && !strcmp(s + n - m, end);
}

/* ---- models ---- */

/* What of its shape is not as published. */
static void say_shape(const struct config *c) {
    const struct {
        bool is;
        const char *what;
    } more[] = {{c->norm == NORM_LAYER, "layer norm"},
                {c->positions == POSITIONS_LEARNED, "learned positions"},
                {c->mlp == MLP_GELU, "GELU"},
                {c->attn_bias, "biases of q/k/v"},
                {c->proj_bias, "of attention's output"},
                {c->mlp_bias, "of the MLP"},
                {c->mask_inside, "mask inside the vocabulary"},
                {c->shifted, "logits shifted by one"}};
    char line[256] = "";
    for (size_t i = 0; i < sizeof more / sizeof more[0]; i++) {
        const size_t n = strlen(line);
        if (more[i].is) snprintf(line + n, sizeof line - n, "%s%s", n ? ", " : "", more[i].what);
    }
    if (line[0]) say("  with %s", line);
}

static void say_model(const struct config *c) {
    char name[32] = "a model";
    for (int i = 0; i < named_models_count; i++) {
        const struct named_model *m = &named_models[i];
        if (m->n_layer == c->n_layer && m->n_head == c->n_head && m->n_embd == c->n_embd &&
            m->intermediate_size == c->intermediate_size)
            snprintf(name, sizeof name, "the named model %d", m->name);
    }
    say("  %s of family %s: %" PRId64 " layer%s, width %" PRId64 ", %" PRId64 " head%s in %" PRId64
        " group%s, MLP %" PRId64,
        name, family_names[c->family], c->n_layer, plural(c->n_layer), c->n_embd, c->n_head, plural(c->n_head),
        c->n_query_groups, plural(c->n_query_groups), c->intermediate_size);
    say("  length %" PRId64 ", vocabulary %" PRId64 " padded to %" PRId64 ", N = %" PRId64 ", %" PRId64
        " parameters in all%s",
        c->block_size, c->vocab_size, c->padded_vocab_size, params_body(c), params_all(c),
        c->tied_head ? " (head tied to the embedding)" : "");
    say_shape(c);
}

static int show_config(const struct target *t, struct err *err) {
    struct config c;
    if (config_load(&c, t->path, FAMILY_MDM, 1, err) < 0) return -1;
    say("%s: configuration", t->path);
    if (!t->brief) say_model(&c);
    return 0;
}

/* Tensors whose names differ in the layer's number alone, and agree in shape and type. */
struct group {
    char name[96];
    const struct st_tensor *first;
    int64_t count;
};

/* "a.12.b" → "a.*.b": the first part that is a number. */
static void pattern_of(char *out, size_t size, const char *name) {
    const char *p = name;
    while (*p && !(isdigit((unsigned char)*p) && (p == name || p[-1] == '.'))) p++;
    size_t digits = strspn(p, "0123456789");
    if (p[digits] == '.')
        snprintf(out, size, "%.*s*%s", (int)(p - name), name, p + digits);
    else
        snprintf(out, size, "%s", name);
}

static bool alike(const struct st_tensor *a, const struct st_tensor *b) {
    return a->ndim == b->ndim && !strcmp(a->dtype, b->dtype) &&
           !memcmp(a->shape, b->shape, (size_t)a->ndim * sizeof a->shape[0]);
}

static int say_tensors(const struct safetensors *s, struct err *err) {
    struct group *g = mem_alloc(s->count, sizeof *g, "the list of tensors", err);
    int64_t n = 0;
    if (!g) return -1;
    for (int i = 0; i < s->count; i++) {
        char name[sizeof g->name];
        int64_t k = 0;
        pattern_of(name, sizeof name, s->v[i].name);
        while (k < n && (strcmp(g[k].name, name) != 0 || !alike(g[k].first, &s->v[i]))) k++;
        if (k == n) {
            memcpy(g[n].name, name, sizeof name);
            g[n++].first = &s->v[i];
        }
        g[k].count++;
    }
    for (int64_t k = 0; k < n; k++) {
        const struct st_tensor *t = g[k].first;
        char shape[200] = "[";
        size_t at = 1;
        for (int i = 0; i < t->ndim; i++)
            at += (size_t)snprintf(shape + at, sizeof shape - at, i ? ", %" PRId64 : "%" PRId64, t->shape[i]);
        snprintf(shape + at, sizeof shape - at, "]");
        say("  %-50s %-14s %-5s x %" PRId64, g[k].name, shape, t->dtype, g[k].count);
    }
    mem_free(g);
    return 0;
}

static int check_finite(const struct safetensors *s, const char *path, struct err *err) {
    int64_t bad = 0, first = -1, in = -1;
    for (int i = 0; i < s->count; i++) {
        int64_t at, here = safetensors_nonfinite(&s->v[i], &at);
        if (here && !bad) {
            in = i;
            first = at;
        }
        bad += here;
    }
    if (!bad) return 0;
    return err_set(err, "%s: %" PRId64 " values are not finite, the first is element %" PRId64 " of '%.80s'", path, bad,
                   first, s->v[in].name);
}

static int64_t count_parameters(const struct safetensors *s) {
    int64_t total = 0;
    for (int i = 0; i < s->count; i++) {
        int64_t n = 1;
        for (int k = 0; k < s->v[i].ndim; k++) n *= s->v[i].shape[k];
        if (strncmp(s->v[i].name, "adam_", 5) != 0) total += n;
    }
    return total;
}

/* Does it fit the config.json beside it, or a named model? A file that has neither is not thereby damaged, nor is one of
 * several files of a model. */
static int check_model(const struct target *t, const struct safetensors *s, struct err *err) {
    char folder[FILE_PATH_MAX], config[FILE_PATH_MAX];
    enum family ignored;
    struct weights w;
    const struct weight_files one = {.v = (struct safetensors *)s, .count = 1, .tensors = s->count};
    if (weight_files_is_piece(t->path)) {
        if (!t->brief) say("  one of several files of a model");
        return 0;
    }
    if (!weights_naming(&one)) return 0;
    if (weights_folder(folder, t->path, err) < 0 || file_join(config, folder, "config.json", err) < 0) return -1;
    if (!file_exists(config) && !weights_match(&one, &ignored)) {
        if (!t->brief) say("  no config.json is beside it, and no named model has these shapes");
        return 0;
    }
    if (weights_load(&w, t->path, NULL, FAMILY_ANY, err) < 0) return -1;
    if (!t->brief) say_model(&w.config);
    weights_free(&w);
    return 0;
}

static bool is_index(const struct target *t) {
    return json_is_object(json_object_get(t->json, "weight_map"));
}

/* Every file that it lists is opened; each of them is looked through as a file of its own. */
static int show_index(const struct target *t, struct err *err) {
    struct weight_files f;
    struct weights w;
    if (weight_files_open(&f, t->path, err) < 0) return -1;
    say("%s: %d tensors of a model in %d file%s", t->path, f.tensors, f.count, plural(f.count));
    const bool known = weights_naming(&f) != NULL;
    weight_files_close(&f);
    if (!known) return 0;
    if (weights_load(&w, t->path, NULL, FAMILY_ANY, err) < 0) return -1;
    if (!t->brief) say_model(&w.config);
    weights_free(&w);
    return 0;
}

static bool is_safetensors(const struct target *t) {
    uint64_t n = 0;
    if (t->head_bytes >= 9) memcpy(&n, t->head, 8);
    return ends_with(t->name, ".safetensors") || (n > 1 && n < 100000000 && t->head[8] == '{');
}

static int show_weights(const struct target *t, struct err *err) {
    struct safetensors s;
    if (safetensors_open(&s, t->path, err) < 0) return -1;
    const char *naming = weights_naming(&(struct weight_files){.v = &s, .count = 1, .tensors = s.count});
    char kind[64] = "";
    if (naming) snprintf(kind, sizeof kind, "weights, %s names, ", naming);
    say("%s: %s%d tensor%s, %" PRId64 " value%s, %.1f MB", t->path, kind, s.count, plural(s.count),
        count_parameters(&s), plural(count_parameters(&s)), (double)s.map.size / 1e6);
    int status = check_model(t, &s, err);
    if (!t->brief && status == 0) status = say_tensors(&s, err);
    if (status == 0) status = check_finite(&s, t->path, err);
    safetensors_close(&s);
    return status;
}

static bool is_checkpoint(const struct target *t) {
    struct safetensors s;
    struct err ignored;
    if (!is_safetensors(t) || safetensors_open(&s, t->path, &ignored) < 0) return false;
    bool found = s.metadata && strstr(s.metadata, "\"mdm_checkpoint\"");
    safetensors_close(&s);
    return found;
}

static int show_checkpoint(const struct target *t, struct err *err) {
    struct checkpoint c;
    struct safetensors s;
    if (checkpoint_inspect(t->path, &c, err) < 0 || safetensors_open(&s, t->path, err) < 0) return -1;
    say("%s: checkpoint after step %" PRId64 ", %.4g tokens, %.4g FLOPs, loss %.4f, checksum right", t->path, c.step,
        c.tokens, c.flops, c.recent_loss);
    int status = check_model(t, &s, err);
    if (!t->brief && status == 0) status = say_tensors(&s, err);
    if (status == 0) status = check_finite(&s, t->path, err);
    safetensors_close(&s);
    return status;
}

/* ---- data ---- */

/* The magic, or a writer's name: a chunk whose head is damaged. */
static bool is_chunk(const struct target *t) {
    return (t->head_bytes >= 7 && !memcmp(t->head, "LITPKDS", 7)) || chunk_named(t->name);
}

static int show_chunk(const struct target *t, struct err *err) {
    static const char *const types[] = {"?", "u8", "i8", "i16", "i32", "i64", "f32", "f64", "u16"};
    struct chunk c;
    if (chunk_open(&c, t->path, err) < 0) return -1;
    int32_t *ids = mem_alloc(CHUNK_PIECE, sizeof *ids, "tokens", err), most = -1;
    int status = ids ? 0 : -1;
    for (int64_t at = 0; at < c.tokens && status == 0; at += CHUNK_PIECE) {
        int64_t n = c.tokens - at < CHUNK_PIECE ? c.tokens - at : CHUNK_PIECE;
        status = chunk_read(&c, at, n, ids, t->vocab, t->path, err);
        for (int64_t i = 0; i < n && status == 0; i++)
            if (ids[i] > most) most = ids[i];
    }
    if (status == 0)
        say("%s: token chunk, %" PRId64 " token%s of type %s, largest id %d", t->path, c.tokens, plural(c.tokens),
            types[c.dtype], most);
    mem_free(ids);
    chunk_close(&c);
    return status;
}

static bool is_manifest(const struct target *t) {
    const char *format = json_string_value(json_object_get(t->json, "format"));
    return format && !strcmp(format, "mdm-chunks");
}

/* The files that a set of the manifest promises are there and hold its tokens. */
static int check_stream(const struct target *t, const char *prefix, const json_t *stream, struct err *err) {
    char folder[FILE_PATH_MAX], path[FILE_PATH_MAX], name[CHUNK_NAME_MAX];
    int64_t files, tokens, found = 0;
    if (json_get_int(stream, "files", &files, 0, INT32_MAX, true, t->path, err) < 0 ||
        json_get_int(stream, "tokens", &tokens, 0, INT64_MAX, true, t->path, err) < 0 ||
        weights_folder(folder, t->path, err) < 0)
        return -1;
    for (int64_t i = 0; i < files; i++) {
        struct chunk c;
        chunk_name(name, prefix, 0, i);
        if (file_join(path, folder, name, err) < 0 || chunk_open(&c, path, err) < 0) return -1;
        found += c.tokens;
        chunk_close(&c);
    }
    if (found != tokens)
        return err_set(err, "%s: the %" PRId64 " files of %s hold %" PRId64 " tokens, the manifest says %" PRId64,
                       t->path, files, prefix, found, tokens);
    say("  %s: %" PRId64 " tokens in %" PRId64 " file%s", prefix, tokens, files, plural(files));
    return 0;
}

static int show_manifest(const struct target *t, struct err *err) {
    const json_t *sets = json_object_get(t->json, "sets");
    if (!json_is_object(sets)) return err_set(err, "%s: \"sets\" is missing", t->path);
    say("%s: manifest of %zu data set%s", t->path, json_object_size(sets), plural((int64_t)json_object_size(sets)));
    const char *set, *prefix;
    json_t *about, *stream;
    json_object_foreach((json_t *)sets, set, about) {
        const json_t *streams = json_object_get(about, "streams");
        if (!json_is_object(streams)) return err_set(err, "%s: set '%s' has no \"streams\"", t->path, set);
        json_object_foreach((json_t *)streams, prefix, stream) {
            if (check_stream(t, prefix, stream, err) < 0) return -1;
        }
    }
    return 0;
}

/* The largest vocabulary among the sets of a manifest; without one, any id will do. */
static int64_t manifest_vocab(const char *folder) {
    char path[FILE_PATH_MAX];
    struct err ignored;
    int64_t vocab = 0;
    if (file_join(path, folder, "manifest.json", &ignored) < 0 || !file_exists(path)) return INT32_MAX;
    json_t *m = json_read_file(path, JSON_BYTES_MAX, &ignored), *about;
    const char *set;
    json_object_foreach(json_object_get(m, "sets"), set, about) {
        int64_t n = json_integer_value(json_object_get(json_object_get(about, "tokenizer"), "vocab"));
        if (n > vocab) vocab = n;
    }
    json_decref(m);
    return vocab > 0 ? vocab : INT32_MAX;
}

/* ---- runs, tokenizers ---- */

static bool is_run(const struct target *t) {
    return json_is_string(json_object_get(t->json, "mdm")) && json_is_object(json_object_get(t->json, "settings"));
}

/* A run's (dashes "--") as on the command line; a list is the option again and again. Of a plan, whose settings are not all
 * options, their names. */
static void show_setting(const char *dashes, const char *key, const json_t *v) {
    size_t i;
    const json_t *one;
    if (json_is_string(v) && *json_string_value(v)) say("  %s%s %s", dashes, key, json_string_value(v));
    if (json_is_integer(v)) say("  %s%s %" JSON_INTEGER_FORMAT, dashes, key, json_integer_value(v));
    if (json_is_real(v)) say("  %s%s %.15g", dashes, key, json_real_value(v));
    if (json_is_boolean(v)) say("  %s%s%s", dashes, json_is_true(v) ? "" : "no-", key);
    json_array_foreach(v, i, one) {
        show_setting(dashes, key, one);
    }
}

static int show_run(const struct target *t, struct err *err) {
    const json_t *settings = json_object_get(t->json, "settings"), *trainings = json_object_get(t->json, "trainings"),
                 *value;
    int64_t steps;
    if (json_is_array(trainings)) {
        say("%s: plan of a scaling law, %zu training%s", t->path, json_array_size(trainings),
            plural((int64_t)json_array_size(trainings)));
    } else {
        if (json_get_int(t->json, "steps", &steps, 0, INT64_MAX, true, t->path, err) < 0) return -1;
        say("%s: settings of a run of 'mdm %s', %" PRId64 " step%s", t->path,
            json_string_value(json_object_get(t->json, "mdm")), steps, plural(steps));
    }
    const char *key;
    if (t->brief) return 0;
    json_object_foreach((json_t *)settings, key, value) {
        show_setting(json_is_array(trainings) ? "" : "--", key, value);
    }
    return 0;
}

static bool is_config(const struct target *t) {
    static const char *const layers[] = {"n_layer", "num_hidden_layers",
                                         "n_layers"}; /* ours and GPT-2's, Llama's, LLaDA's */
    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++)
        if (json_object_get(t->json, layers[i])) return true;
    return false;
}

/* By its name, so that a damaged one is not passed over, or because it loads. */
static bool is_tokenizer(const struct target *t) {
    struct err ignored;
    if (!strcmp(t->name, "tokenizer.json") || !strcmp(t->name, "tokenizer.model")) return true;
    struct tokenizer *k = tokenizer_load(t->path, &ignored);
    tokenizer_free(k);
    return k != NULL;
}

static int show_tokenizer(const struct target *t, struct err *err) {
    struct tokenizer *k = tokenizer_load(t->path, err);
    if (!k) return -1;
    say("%s: tokenizer of %" PRId64 " tokens, begin id %d, end id %d, digest %s", t->path, tokenizer_vocab_size(k),
        tokenizer_bos(k), tokenizer_eos(k), tokenizer_digest(k));
    tokenizer_free(k);
    return 0;
}

/* ---- results: what shows them is another command ---- */

static int show_results(const struct target *t, const char *what, size_t n, const char *command, struct err *err) {
    char folder[FILE_PATH_MAX];
    if (weights_folder(folder, t->path, err) < 0) return -1;
    say("%s: %zu %s%s; '%s %s' prints what came of it", t->path, n, what, plural((int64_t)n), command, folder);
    return 0;
}

static bool is_evaluation(const struct target *t) {
    return !strcmp(t->name, "eval.json") && json_is_object(json_object_get(t->json, "tasks"));
}

static int show_evaluation(const struct target *t, struct err *err) {
    char folder[FILE_PATH_MAX], path[FILE_PATH_MAX];
    const char *task;
    json_t *of;
    if (weights_folder(folder, t->path, err) < 0) return -1;
    json_object_foreach(json_object_get(t->json, "tasks"), task, of) {
        if (results_samples_path(path, folder, task, err) < 0) return -1;
        if (!file_exists(path)) return err_set(err, "%s is not there: the answers of %.64s are gone", path, task);
    }
    return show_results(t, "evaluated task", json_object_size(json_object_get(t->json, "tasks")), "mdm eval --rescore",
                        err);
}

static bool is_fit(const struct target *t) {
    return !strcmp(t->name, "fit.json") && json_object_size(json_object_get(t->json, "families")) > 0;
}

static int show_fit(const struct target *t, struct err *err) {
    (void)err;
    const char *family;
    json_t *of;
    json_object_foreach(json_object_get(t->json, "families"), family, of) {
        say("%s: scaling law of %s, %zu budget%s", t->path, family, json_array_size(json_object_get(of, "budgets")),
            plural((int64_t)json_array_size(json_object_get(of, "budgets"))));
    }
    return 0;
}

static bool is_judgments(const struct target *t) {
    static const char begins[] = "{\"question_id\""; /* others have pairs, too */
    return (ends_with(t->name, "_single.jsonl") || ends_with(t->name, "_pair.jsonl")) &&
           t->head_bytes >= sizeof begins - 1 && !memcmp(t->head, begins, sizeof begins - 1);
}

static int show_judgments(const struct target *t, struct err *err) {
    struct jsonl *in = jsonl_open(t->path, err);
    json_t *o;
    size_t n = 0;
    int status = in ? 1 : -1;
    for (; status > 0 && (status = jsonl_next(in, &o, err)) > 0; n++) {
        if (!json_object_get(o, "question_id"))
            status = err_set(err, "%s: no \"question_id\": not a judgment of mdm judge", jsonl_where(in));
        json_decref(o);
    }
    jsonl_close(in);
    return status < 0 ? -1 : show_results(t, "judgment", n, "mdm judge show", err);
}

/* ---- which kind ---- */

static const struct kind {
    const char *name;
    bool (*is)(const struct target *t);
    int (*show)(const struct target *t, struct err *err); /* -1 with err: not whole */
} kinds[] = {
    {"checkpoints", is_checkpoint, show_checkpoint},  {"weights (safetensors)", is_safetensors, show_weights},
    {"indexes of weights", is_index, show_index},     {"token chunks", is_chunk, show_chunk},
    {"manifests", is_manifest, show_manifest},        {"run settings", is_run, show_run},
    {"model configurations", is_config, show_config}, {"tokenizers", is_tokenizer, show_tokenizer},
    {"evaluations", is_evaluation, show_evaluation},  {"fits of scaling laws", is_fit, show_fit},
    {"judgments", is_judgments, show_judgments},
};
enum { KINDS = sizeof kinds / sizeof kinds[0] };

static int target_open(struct target *t, struct err *err) {
    const char *slash = strrchr(t->path, '/');
    t->name = slash ? slash + 1 : t->path;
    struct file_map map;
    if (file_map(&map, t->path, err) < 0) return -1;
    t->head_bytes = map.size < HEAD ? map.size : HEAD;
    memcpy(t->head, map.data, t->head_bytes);
    file_unmap(&map);
    if (!ends_with(t->name, ".json")) return 0;
    t->json = json_read_file(t->path, JSON_BYTES_MAX, err);
    return t->json ? 0 : -1;
}

/* 1 whole, 0 of no kind known here, -1 with err. */
static int inspect_file(const char *path, int64_t vocab, bool brief, struct err *err) {
    struct target t = {.path = path, .vocab = vocab, .brief = brief};
    int status = target_open(&t, err), k = 0;
    while (status == 0 && k < KINDS && !kinds[k].is(&t)) k++;
    if (status == 0 && k < KINDS) status = kinds[k].show(&t, err) < 0 ? -1 : 1;
    json_decref(t.json);
    return status;
}

static int unknown(const char *path, struct err *err) {
    char list[512] = "";
    for (int k = 0; k < KINDS; k++) {
        size_t n = strlen(list);
        snprintf(list + n, sizeof list - n, "%s%s", k ? ", " : "", kinds[k].name);
    }
    return err_set(err,
                   file_is_dir(path) ? "%s: a folder without a file that is known here; known are %s"
                                     : "%s: not a file that is known here; known are %s",
                   path, list);
}

static int fail(const struct err *err) {
    fflush(stdout);
    return cmd_fail("inspect", err);
}

/* Every file in the folder, each with its own line when it is damaged. Returns the exit status. */
static int inspect_folder(const char *folder) {
    char **names, path[FILE_PATH_MAX];
    int64_t count, known = 0;
    int status = 0;
    struct err err = {{0}};
    if (file_list(&names, &count, folder, &err) < 0) return fail(&err);
    int64_t vocab = manifest_vocab(folder);
    for (int64_t i = 0; i < count; i++) {
        int r = file_join(path, folder, names[i], &err);
        if (r == 0 && file_is_dir(path)) continue;
        const bool temporary = file_is_temporary(names[i]); /* no damage: the file itself is as it was */
        if (r == 0 && !temporary) r = inspect_file(path, vocab, true, &err);
        if (r == 0)
            say(temporary ? "%s: being written, or left by a write that was killed: the next run here removes it"
                          : "%s: not looked into",
                path);
        if (r < 0) status = fail(&err);
        known += r != 0;
    }
    file_list_free(names, count);
    if (known) return status;
    unknown(folder, &err);
    return fail(&err);
}

static int run(int argc, char **argv) {
    struct err err = {{0}};
    const struct opt opts[] = {{0}};
    int n, status;
    if (!cmd_options(&cmd_inspect, opts, argc, argv, &n, NULL, &status)) return status;
    if (n == 0) err_set(&err, "which file or folder?");
    status = n ? 0 : fail(&err);
    for (int i = 1; i <= n; i++) {
        if (file_is_dir(argv[i])) {
            if (inspect_folder(argv[i]) != 0) status = 2;
            continue;
        }
        int r = inspect_file(argv[i], INT32_MAX, false, &err);
        if (r == 0) unknown(argv[i], &err);
        if (r <= 0) status = fail(&err);
    }
    return status;
}

const struct command cmd_inspect = {"inspect",
                                    "say what a file or folder is, and whether it is whole (status 0) or damaged (2)",
                                    "FILE|DIR...", "mdm inspect run\nmdm inspect mdm-170M-100e18.safetensors", run};
