/* campaign: sizes and steps of the trainings, and plan.json. Running them is campaign_run.c's. */
#include "scaling/campaign.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/file.h"
#include "base/jsonl.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/progress.h"
#include "base/version.h"
#include "model/params.h"
#include "scaling/points.h"
#include "train/pace.h"
#include "train/schedule.h"
#include "train/settings.h"

enum {
    HEAD = 64,            /* width of a head, as in the named models of these sizes */
    NARROW = 16,          /* below it a model has one head, and widths go by this */
    WIDTH_PER_LAYER = 43, /* width / layers of the named ones, in the middle */
    LAYERS_MAX = 48,
    WIDTH_MAX = 4096,
    STEPS_LEAST = 20,
    PLAN_BYTES = 1 << 24
};

/* ---- sizes ---- */

/* The size at which a budget of C FLOPs is expected to give the lowest loss: the published optimum at 6e18 FLOPs
 * (arXiv 2410.18514 §4) times (C/6e18)^0.55; docs/scaling.md says why. */
static double expected_size(enum family family, double flops) {
    const double published = family == FAMILY_MDM ? 84e6 : 153e6;
    return published * pow(flops / 6e18, 0.55);
}

/* How far a shape is from n: sizes count fully, proportions a little. */
static double distance(double n, double layers, double width) {
    const double size = fabs(log(16 * layers * width * width / n));
    return size + 0.1 * fabs(log(width / layers / WIDTH_PER_LAYER));
}

/* The shape nearest to n parameters: a named model within a tenth, else heads of 64 (below a width of 64, one head of 16, 32 or
 * 48) and as many layers as keep it near the proportions of the named ones. */
static void choose_shape(double n, int64_t *layers, int64_t *heads, int64_t *width) {
    double best = INFINITY;
    for (int i = 0; i < named_models_count; i++) {
        const struct named_model *m = &named_models[i];
        const double off = fabs(log(16. * m->n_layer * m->n_embd * m->n_embd / n));
        if (m->intermediate_size != 4 * m->n_embd || off > 0.1 || off > best) continue;
        best = off;
        *layers = m->n_layer, *heads = m->n_head, *width = m->n_embd;
    }
    if (best < INFINITY) return;
    for (int64_t e = NARROW; e <= WIDTH_MAX; e += e < HEAD ? NARROW : HEAD)
        for (int64_t l = 1; l <= LAYERS_MAX; l++)
            if (distance(n, (double)l, (double)e) < best) {
                best = distance(n, (double)l, (double)e);
                *layers = l, *heads = max64(1, e / HEAD), *width = e;
            }
}

int campaign_config(struct config *out, const struct campaign *c, const struct campaign_training *t, struct err *err) {
    const struct campaign_settings *s = &c->settings;
    if (config_named(out, "6", t->family, s->vocab, err) < 0) return -1;
    out->n_layer = t->layers;
    out->n_head = out->n_query_groups = t->heads;
    out->n_embd = t->width;
    out->intermediate_size = 4 * t->width;
    out->block_size = s->length;
    out->bos_id = s->bos_id;
    out->eos_id = s->eos_id;
    return config_check(out, t->name, err);
}

/* ---- the plan ---- */

/* The training of this name; NULL: there is none. */
static const struct campaign_training *planned(const struct campaign *c, const char *name) {
    for (int64_t i = 0; i < c->n; i++)
        if (!strcmp(c->v[i].name, name)) return &c->v[i];
    return NULL;
}

static int add(struct campaign *c, enum family family, double flops, double target, struct err *err) {
    const struct campaign_settings *s = &c->settings;
    struct campaign_training t = {.family = family, .flops = flops};
    struct config config;
    choose_shape(target, &t.layers, &t.heads, &t.width);
    if (campaign_config(&config, c, &t, err) < 0) return -1;
    t.n = params_body(&config);
    snprintf(t.name, sizeof t.name, "%s-%.3g-%.3gM", family_names[family], flops, (double)t.n / 1e6);
    if (planned(c, t.name)) return 0; /* two sizes have one nearest shape */
    t.steps = schedule_steps_for_flops(flops, t.n, s->batch, (double)s->length);
    t.tokens = (double)t.steps * (double)s->batch * (double)s->length;
    if (t.steps < STEPS_LEAST || t.steps > SCHEDULE_STEPS)
        return err_set(err,
                       "%.3g FLOPs are %.3g steps of %lld sequences for a model of %.3g M parameters: expected %d to "
                       "%lld; %s",
                       flops, flops / (6.0 * (double)t.n * (double)s->batch * (double)s->length), (long long)s->batch,
                       (double)t.n / 1e6, STEPS_LEAST, (long long)SCHEDULE_STEPS,
                       t.steps < STEPS_LEAST ? "lower --batch or --length, or raise the budget"
                                             : "raise --batch or --length, or lower the budget");
    if (mem_grow(&c->v, &c->capacity, c->n + 1, sizeof *c->v, "trainings", err) < 0) return -1;
    c->v[c->n++] = t;
    return 0;
}

/* Closer ones would be one to a fit. So they also differ in the three digits that the trainings' names have of them. */
static int check_budgets(const struct campaign_settings *s, struct err *err) {
    for (int a = 0; a < s->nbudgets; a++)
        for (int b = 0; b < a; b++) {
            const double x = s->budgets[b], y = s->budgets[a];
            if (fmax(x, y) <= SCALE_SAME_BUDGET * fmin(x, y))
                return err_set(
                    err,
                    "budgets %.10g and %.10g: a fit would take them for one; expected ones more than %.3g %% "
                    "apart",
                    x, y, 100 * (SCALE_SAME_BUDGET - 1));
        }
    return 0;
}

int campaign_plan(struct campaign *c, const struct campaign_settings *s, struct err *err) {
    *c = (struct campaign){.settings = *s};
    if (check_budgets(s, err) < 0) return -1;
    for (int b = 0; b < s->nbudgets; b++)
        for (int f = 0; f < 2; f++)
            for (int k = 0; s->family[f] && k < s->sizes; k++) {
                const double at = s->sizes > 1 ? (double)k / (s->sizes - 1) - 0.5 : 0;
                const double n = s->around * expected_size((enum family)f, s->budgets[b]) * pow(s->spread, at);
                if (add(c, (enum family)f, s->budgets[b], n, err) < 0) return -1;
            }
    return 0;
}

int campaign_time(struct campaign *c, struct err *err) {
    struct progress bar;
    progress_start(&bar, "measuring", "shapes", (double)c->n, 1);
    for (int64_t i = 0; i < c->n; i++) {
        struct campaign_training *t = &c->v[i];
        struct config config;
        struct pace pace = {0};
        for (int64_t k = 0; k < i; k++) /* a shape is measured once */
            if (c->v[k].family == t->family && c->v[k].layers == t->layers && c->v[k].width == t->width)
                pace.tokens_per_s = c->v[k].tokens / c->v[k].seconds;
        if (pace.tokens_per_s == 0) {
            if (campaign_config(&config, c, t, err) < 0) return -1;
            if (pace_of_training(&pace, &config, c->settings.precision ? DTYPE_F32 : DTYPE_BF16, c->settings.length,
                                 c->settings.batch, err) < 0)
                return -1;
        }
        t->seconds = t->tokens / pace.tokens_per_s;
        progress_at(&bar, (double)(i + 1), t->name);
    }
    progress_end(&bar, (double)c->n, NULL);
    return 0;
}

/* ---- plan.json ---- */

static json_t *settings_json(const struct campaign_settings *s) {
    json_t *budgets = json_array(), *families = json_array();
    for (int i = 0; i < s->nbudgets; i++) json_array_append_new(budgets, json_real(s->budgets[i]));
    for (int f = 0; f < 2; f++)
        if (s->family[f]) json_array_append_new(families, json_string(family_names[f]));
    return json_pack("{s:o, s:o, s:i, s:f, s:f, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:s, s:s}", "budgets", budgets,
                     "families", families, "sizes", s->sizes, "spread", s->spread, "around", s->around, "data", s->data,
                     "vocab", (json_int_t)s->vocab, "bos_id", (json_int_t)s->bos_id, "eos_id", (json_int_t)s->eos_id,
                     "length", (json_int_t)s->length, "batch", (json_int_t)s->batch, "seed", (json_int_t)s->seed, "lr",
                     s->lr, "precision", s->precision ? "f32" : "bf16", "recipe", recipe_names[s->recipe]);
}

static json_t *training_json(const struct campaign_training *t) {
    return json_pack("{s:s, s:s, s:f, s:I, s:I, s:I, s:I, s:I, s:f, s:f}", "name", t->name, "family",
                     family_names[t->family], "flops", t->flops, "params", (json_int_t)t->n, "layers",
                     (json_int_t)t->layers, "heads", (json_int_t)t->heads, "width", (json_int_t)t->width, "steps",
                     (json_int_t)t->steps, "tokens", t->tokens, "seconds", t->seconds);
}

static int model_path(char path[FILE_PATH_MAX], const char *folder, const struct campaign_training *t,
                      struct err *err) {
    char name[CAMPAIGN_NAME + 16];
    snprintf(name, sizeof name, "models/%s.json", t->name);
    return file_join(path, folder, name, err);
}

static int write_models(const struct campaign *c, const char *folder, struct err *err) {
    char path[FILE_PATH_MAX];
    if (file_join(path, folder, "models", err) < 0 || file_mkdirs(path, err) < 0) return -1;
    file_sweep(folder);
    file_sweep(path);
    for (int64_t i = 0; i < c->n; i++) {
        struct config config;
        if (campaign_config(&config, c, &c->v[i], err) < 0 || model_path(path, folder, &c->v[i], err) < 0) return -1;
        json_t *o = config_to_json(&config);
        const int r = o ? json_write_file(path, o, err) : err_set(err, "out of memory: %s", path);
        json_decref(o);
        if (r < 0) return -1;
    }
    return 0;
}

static int write_plan(const struct campaign *c, const char *folder, struct err *err) {
    char path[FILE_PATH_MAX];
    if (file_join(path, folder, "plan.json", err) < 0) return -1;
    json_t *list = json_array();
    for (int64_t i = 0; i < c->n; i++) json_array_append_new(list, training_json(&c->v[i]));
    json_t *o = json_pack("{s:s, s:s, s:o, s:o}", "mdm", "scale", "version", MDM_VERSION, "settings",
                          settings_json(&c->settings), "trainings", list);
    const int r = o && json_array_size(list) == (size_t)c->n ? json_write_file(path, o, err)
                                                             : err_set(err, "out of memory: %s", path);
    json_decref(o);
    return r;
}

/* A plan that is there; nothing where there is none. */
static int read_old(struct campaign *old, const char *folder, struct err *err) {
    char path[FILE_PATH_MAX];
    *old = (struct campaign){0};
    if (file_join(path, folder, "plan.json", err) < 0) return -1;
    if (!file_exists(path) || campaign_read(old, folder, err) == 0) return 0;
    return err_set(err, "%s; delete the plan that is there to make another one, or use another --out", err->msg);
}

/* plan.json comes last: where it is, the models are. */
int campaign_write(const struct campaign *c, const char *folder, struct err *err) {
    char path[FILE_PATH_MAX];
    struct campaign old;
    struct err none = {{0}};
    if (read_old(&old, folder, err) < 0) return -1;
    const int r = write_models(c, folder, err) < 0 ? -1 : write_plan(c, folder, err);
    for (int64_t i = 0; r == 0 && i < old.n; i++)
        if (!planned(c, old.v[i].name) && model_path(path, folder, &old.v[i], &none) == 0) unlink(path);
    campaign_free(&old);
    return r;
}

static int find_family(const char *name, const char *where, struct err *err) {
    for (int f = 0; f < 2; f++)
        if (!strcmp(name, family_names[f])) return f;
    return err_set(err, "%s: family '%.40s': expected mdm or arm", where, name);
}

static int read_lists(struct campaign_settings *s, const json_t *o, const char *where, struct err *err) {
    const json_t *budgets = json_object_get(o, "budgets"), *families = json_object_get(o, "families");
    if (!json_is_array(budgets) || json_array_size(budgets) < 1 || json_array_size(budgets) > CAMPAIGN_BUDGETS)
        return err_set(err, "%s: \"budgets\" must be a list of 1 to %d numbers", where, CAMPAIGN_BUDGETS);
    for (size_t i = 0; i < json_array_size(budgets); i++) {
        const double b = json_number_value(json_array_get(budgets, i));
        if (!(b > 0) || !isfinite(b)) return err_set(err, "%s: \"budgets\": expected numbers above 0", where);
        s->budgets[s->nbudgets++] = b;
    }
    for (size_t i = 0; i < json_array_size(families); i++) {
        const char *name = json_string_value(json_array_get(families, i));
        const int f = find_family(name ? name : "", where, err);
        if (f < 0) return -1;
        s->family[f] = true;
    }
    return 0;
}

static int read_settings(struct campaign_settings *s, const json_t *o, const char *where, struct err *err) {
    const char *data = NULL, *precision = NULL, *recipe = recipe_names[0]; /* older plans do not say */
    int64_t sizes = 0;
    if (!json_is_object(o)) return err_set(err, "%s: no \"settings\": not a plan.json of mdm scale", where);
    if (read_lists(s, o, where, err) < 0 || json_get_int(o, "sizes", &sizes, 1, CAMPAIGN_SIZES, true, where, err) < 0 ||
        json_get_real(o, "spread", &s->spread, true, where, err) < 0 ||
        json_get_real(o, "around", &s->around, true, where, err) < 0 ||
        json_get_str(o, "data", &data, true, where, err) < 0 ||
        json_get_int(o, "vocab", &s->vocab, 1, 10000000, true, where, err) < 0 ||
        json_get_int(o, "bos_id", &s->bos_id, -1, s->vocab - 1, true, where, err) < 0 ||
        json_get_int(o, "eos_id", &s->eos_id, -1, s->vocab - 1, true, where, err) < 0 ||
        json_get_int(o, "length", &s->length, 1, 1 << 20, true, where, err) < 0 ||
        json_get_int(o, "batch", &s->batch, 1, TRAINING_BATCH, true, where, err) < 0 ||
        json_get_int(o, "seed", &s->seed, 0, TRAINING_SEED, true, where, err) < 0 ||
        json_get_real(o, "lr", &s->lr, true, where, err) < 0 ||
        json_get_str(o, "precision", &precision, true, where, err) < 0 ||
        json_get_str(o, "recipe", &recipe, false, where, err) < 0)
        return -1;
    if (strcmp(precision, "f32") != 0 && strcmp(precision, "bf16") != 0)
        return err_set(err, "%s: \"precision\": expected bf16 or f32, found '%.40s'", where, precision);
    while (recipe_names[s->recipe] && strcmp(recipe, recipe_names[s->recipe]) != 0) s->recipe++;
    if (!recipe_names[s->recipe])
        return err_set(err, "%s: \"recipe\": expected one of %s, found '%.40s'", where, recipe_list(), recipe);
    s->sizes = (int)sizes;
    s->precision = !strcmp(precision, "f32");
    s->data = mem_strdup(data, err);
    return s->data ? 0 : -1;
}

static int read_training(struct campaign_training *t, const json_t *o, const char *where, struct err *err) {
    const char *name = NULL, *family = NULL;
    if (json_get_str(o, "name", &name, true, where, err) < 0 ||
        json_get_str(o, "family", &family, true, where, err) < 0 ||
        json_get_real(o, "flops", &t->flops, true, where, err) < 0 ||
        json_get_int(o, "params", &t->n, 1, INT64_MAX, true, where, err) < 0 ||
        json_get_int(o, "layers", &t->layers, 1, 1000, true, where, err) < 0 ||
        json_get_int(o, "heads", &t->heads, 1, 1000, true, where, err) < 0 ||
        json_get_int(o, "width", &t->width, 1, 1 << 20, true, where, err) < 0 ||
        json_get_int(o, "steps", &t->steps, 1, SCHEDULE_STEPS, true, where, err) < 0 ||
        json_get_real(o, "tokens", &t->tokens, true, where, err) < 0 ||
        json_get_real(o, "seconds", &t->seconds, true, where, err) < 0)
        return -1;
    const int f = find_family(family, where, err);
    if (f < 0) return -1;
    t->family = (enum family)f;
    if (!*name || strlen(name) >= CAMPAIGN_NAME || strchr(name, '/') || *name == '.')
        return err_set(err, "%s: \"name\" '%.60s': expected the name of a folder, at most %d bytes", where, name,
                       CAMPAIGN_NAME - 1);
    snprintf(t->name, sizeof t->name, "%s", name);
    return 0;
}

static int from_json(struct campaign *c, const json_t *o, const char *path, struct err *err) {
    const json_t *list = json_object_get(o, "trainings");
    char where[FILE_PATH_MAX + 40];
    if (read_settings(&c->settings, json_object_get(o, "settings"), path, err) < 0) return -1;
    const int64_t n = (int64_t)json_array_size(list);
    if (n < 1) return err_set(err, "%s: no \"trainings\"", path);
    if (mem_grow(&c->v, &c->capacity, n, sizeof *c->v, "trainings", err) < 0) return -1;
    for (; c->n < n; c->n++) {
        c->v[c->n] = (struct campaign_training){0};
        snprintf(where, sizeof where, "%s: training %lld", path, (long long)c->n + 1);
        if (read_training(&c->v[c->n], json_array_get(list, (size_t)c->n), where, err) < 0) return -1;
    }
    return 0;
}

int campaign_read(struct campaign *c, const char *folder, struct err *err) {
    char path[FILE_PATH_MAX];
    *c = (struct campaign){0};
    if (file_join(path, folder, "plan.json", err) < 0) return -1;
    if (!file_exists(path)) return err_set(err, "%s is not there: 'mdm scale plan --out %s' makes it", path, folder);
    json_t *o = json_read_file(path, PLAN_BYTES, err);
    const int r = o ? from_json(c, o, path, err) : -1;
    json_decref(o);
    if (r < 0) campaign_free(c);
    return r;
}

/* Does the setting say which trainings there are, not what one is? */
static bool says_which(const char *setting) {
    static const char *const which[] = {"budgets", "families", "sizes", "spread", "around"};
    for (size_t i = 0; i < sizeof which / sizeof *which; i++)
        if (!strcmp(setting, which[i])) return true;
    return false;
}

static int check_settings(const struct campaign *c, const struct campaign *old, const char *folder, struct err *err) {
    json_t *mine = settings_json(&c->settings), *its = settings_json(&old->settings), *value;
    const char *name;
    int r = mine && its ? 0 : err_set(err, "out of memory, or the name of the data is not UTF-8");
    json_object_foreach(its, name, value) {
        if (r < 0 || says_which(name) || json_equal(value, json_object_get(mine, name))) continue;
        char *was = json_dumps(value, JSON_ENCODE_ANY);
        r = err_set(err,
                    "%s: trainings of the plan that is there were begun with another %s (%s; 'mdm scale run' goes on "
                    "with them): use another --out for another plan",
                    folder, name, was ? was : "?");
        free(was);
    }
    json_decref(mine);
    json_decref(its);
    return r;
}

int campaign_check_begun(const struct campaign *c, const char *folder, struct err *err) {
    struct campaign old;
    char path[FILE_PATH_MAX];
    int r = 0;
    if (read_old(&old, folder, err) < 0) return -1;
    for (int64_t i = 0; r == 0 && i < old.n; i++) {
        const struct campaign_training *was = &old.v[i], *is = planned(c, was->name);
        if (file_join(path, folder, was->name, err) < 0)
            r = -1;
        else if (!file_exists(path))
            continue;
        else if ((r = check_settings(c, &old, folder, err)) == 0 &&
                 (!is || is->layers != was->layers || is->heads != was->heads || is->width != was->width ||
                  is->steps != was->steps))
            r = err_set(err,
                        "%s: this training was begun, and the new plan has none like it: delete its folder to take it "
                        "back, plan its budget too, or use another --out",
                        path);
    }
    campaign_free(&old);
    return r;
}

void campaign_free(struct campaign *c) {
    mem_free(c->settings.data);
    mem_free(c->v);
    *c = (struct campaign){0};
}
