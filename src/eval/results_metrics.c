/* results_metrics: choices and last words as lm-evaluation-harness 0.4.4 computes them. acc: is the likeliest choice the right
 * one (of equals the first)? acc_norm: the same of log-likelihoods divided by the choices' characters. Last words: acc is
 * is_greedy, perplexity exp(−mean log-likelihood). Written texts: acc is what the task calls right. Chunks: perplexity
 * exp(−Σ log-likelihood / Σ tokens). Standard errors: √(sample variance / n), of the ratio of two sums for chunks; that of
 * last words' perplexity is bootstrap.c's. */
#include "eval/results_metrics.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/err.h"
#include "base/jsonl.h"
#include "base/mem.h"
#include "eval/bleu.h"
#include "eval/bootstrap.h"
#include "eval/pystring.h"

enum { ACC, ACC_NORM, PERPLEXITY, DRAWS, BLEU, SECONDS };
const struct results_metric results_metrics[RESULTS_METRICS] = {[ACC] = {METRIC_ACC, "acc", true},
                                                                [ACC_NORM] = {METRIC_ACC_NORM, "acc_norm", true},
                                                                [PERPLEXITY] = {METRIC_PERPLEXITY, "perplexity", false},
                                                                [DRAWS] = {METRIC_DRAWS, "mask_error", false},
                                                                [BLEU] = {METRIC_BLEU, "bleu", true},
                                                                [SECONDS] = {METRIC_SECONDS, "seconds", false}};

/* ---- an item ---- */

struct answered {
    int n, gold;
    double loglik[TASK_CHOICES], characters[TASK_CHOICES];
    bool is_greedy;
};

/* Code points of the choice, without the space before it. */
static int choice_characters(double *out, const json_t *argument, const char *where, struct err *err) {
    const json_t *v = json_array_get(argument, 1);
    const char *text = json_string_value(v);
    if (!text) return err_set(err, "%s: \"arguments\": expected pairs of texts", where);
    const int64_t space = *text == ' ', n = (int64_t)json_string_length(v) - space;
    *out = (double)py_length(text + space, n);
    return *out > 0 ? 0 : err_set(err, "%s: \"arguments\": a choice is empty", where);
}

static int read_answered(struct answered *a, const json_t *sample, const struct task *t, const char *where,
                         struct err *err) {
    const json_t *resps = json_object_get(sample, "filtered_resps"), *arguments = json_object_get(sample, "arguments");
    const char *target, *end;
    const size_t n = json_array_size(resps);
    if (n < 1 || n > TASK_CHOICES || json_array_size(arguments) != n || (t->kind == TASK_LAST_WORD && n != 1))
        return err_set(err, "%s: \"filtered_resps\" and \"arguments\": expected lists of one length, 1 to %d", where,
                       TASK_CHOICES);
    a->n = (int)n;
    for (size_t i = 0; i < n; i++) {
        const json_t *pair = json_array_get(resps, i), *ll = json_array_get(pair, 0), *greedy = json_array_get(pair, 1);
        if (!json_is_number(ll) || !json_is_boolean(greedy))
            return err_set(err, "%s: \"filtered_resps\": expected pairs of a number and true or false", where);
        a->loglik[i] = json_number_value(ll);
        a->is_greedy = json_is_true(greedy);
        if (choice_characters(&a->characters[i], json_array_get(arguments, i), where, err) < 0) return -1;
    }
    if (t->kind != TASK_CHOICE) return 0;
    if (json_get_str(sample, "target", &target, true, where, err) < 0) return -1;
    const long gold = strtol(target, (char **)(uintptr_t)&end, 10);
    if (end == target || *end || gold < 0 || gold >= (long)n)
        return err_set(err, "%s: \"target\": expected the number of a choice below %zu, found '%.20s'", where, n,
                       target);
    a->gold = (int)gold;
    return 0;
}

static int likeliest(const struct answered *a, bool by_character) {
    int best = 0;
    double most = -INFINITY;
    for (int i = 0; i < a->n; i++) {
        const double v = by_character ? a->loglik[i] / a->characters[i] : a->loglik[i];
        if (v > most) most = v, best = i;
    }
    return best;
}

static int measure_choices(struct results_item *it, const json_t *sample, const struct task *t, const char *where,
                           struct err *err) {
    struct answered a = {0};
    if (read_answered(&a, sample, t, where, err) < 0) return -1;
    it->x[PERPLEXITY] = a.loglik[0];
    it->x[ACC] = t->kind == TASK_LAST_WORD ? a.is_greedy : likeliest(&a, false) == a.gold;
    it->x[ACC_NORM] = likeliest(&a, true) == a.gold;
    return 0;
}

/* Both without white space around them and in small letters, as published. */
static int bleu(double *out, const char *text, const char *target, struct err *err) {
    struct bytes hypothesis = {0}, reference = {0};
    int64_t n = (int64_t)strlen(text), m = (int64_t)strlen(target);
    py_strip(&text, &n);
    py_strip(&target, &m);
    int status = py_lower(&hypothesis, text, n, err) < 0 || py_lower(&reference, target, m, err) < 0 ? -1 : 0;
    if (status == 0) status = bleu_characters(out, reference.v, reference.n, hypothesis.v, hypothesis.n, err);
    bytes_free(&hypothesis);
    bytes_free(&reference);
    return status;
}

static int measure_text(struct results_item *it, const json_t *sample, const struct task *t, const char *where,
                        struct err *err) {
    const char *text = json_string_value(json_array_get(json_object_get(sample, "filtered_resps"), 0)), *target;
    bool right;
    if (!text) return err_set(err, "%s: \"filtered_resps\": expected a list of a text", where);
    if (json_get_str(sample, "target", &target, true, where, err) < 0 || t->right(&right, text, target, err) < 0)
        return -1;
    it->x[ACC] = right;
    return t->metrics & METRIC_BLEU ? bleu(&it->x[BLEU], text, target, err) : 0;
}

/* Several log-likelihoods are of as many draws: their mean counts, and its variance. */
static int measure_chunk(struct results_item *it, const json_t *sample, const char *where, struct err *err) {
    const json_t *resps = json_object_get(sample, "filtered_resps");
    const size_t n = json_array_size(resps);
    int64_t tokens;
    if (n < 1) return err_set(err, "%s: \"filtered_resps\": expected a list of numbers", where);
    if (json_get_int(json_object_get(sample, "doc"), "tokens", &tokens, 1, INT32_MAX, true, where, err) < 0) return -1;
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++) {
        const json_t *v = json_array_get(resps, i);
        if (!json_is_number(v)) return err_set(err, "%s: \"filtered_resps\": expected a list of numbers", where);
        sum += json_number_value(v);
    }
    const double mean = sum / (double)n;
    for (size_t i = 0; i < n; i++) {
        const double d = json_number_value(json_array_get(resps, i)) - mean;
        squares += d * d;
    }
    it->x[PERPLEXITY] = mean;
    it->weight = (double)tokens;
    it->noise = n > 1 ? squares / (double)(n - 1) / (double)n : NAN;
    return 0;
}

static int measure_chat(struct results_item *it, const json_t *sample, const char *where, struct err *err) {
    const json_t *seconds = json_object_get(sample, "seconds_of_turns");
    double sum = 0;
    int n = 0;
    for (size_t i = 0; i < json_array_size(seconds); i++) {
        const json_t *v = json_array_get(seconds, i);
        if (json_is_null(v)) continue; /* a turn that did not fit the model was not asked */
        sum += json_number_value(v);
        n++;
    }
    it->x[SECONDS] = sum / n;
    return n > 0 ? 0 : err_set(err, "%s: \"seconds_of_turns\": expected a list of numbers", where);
}

static int measure(struct results_item *it, const json_t *sample, const struct task *t, const char *where,
                   struct err *err) {
    *it = (struct results_item){.weight = 1, .noise = NAN};
    switch (t->kind) {
    case TASK_GENERATE:
        return measure_text(it, sample, t, where, err);
    case TASK_PERPLEXITY:
        return measure_chunk(it, sample, where, err);
    case TASK_CHAT:
        return measure_chat(it, sample, where, err);
    default:
        return measure_choices(it, sample, t, where, err);
    }
}

int results_metrics_of(json_t *sample, const struct task *t, const char *where, struct err *err) {
    struct results_item it;
    if (measure(&it, sample, t, where, err) < 0) return -1;
    for (int m = 0; m < RESULTS_METRICS; m++)
        if ((t->metrics & results_metrics[m].bit) && m != DRAWS &&
            json_object_set_new(sample, results_metrics[m].name, json_real(it.x[m])) < 0)
            return err_set(err, "out of memory for results");
    return 0;
}

/* ---- a task ---- */

/* The item's group, a new one behind the others, or the whole task. NULL with err. */
static struct results_group *group_of(struct results_groups *g, const json_t *sample, const char *where,
                                      struct err *err) {
    const char *name = "";
    if (json_get_str(sample, "group", &name, false, where, err) < 0) return NULL;
    if (strlen(name) >= RESULTS_GROUP)
        return err_set(err, "%s: \"group\": a name of at most %d bytes was expected", where, RESULTS_GROUP - 1), NULL;
    if (!*name) return &g->whole;
    for (int64_t i = g->n - 1; i >= 0; i--)
        if (!strcmp(g->v[i].name, name)) return &g->v[i];
    if (mem_grow(&g->v, &g->capacity, g->n + 1, sizeof *g->v, "groups", err) < 0) return NULL;
    struct results_group *new = &g->v[g->n++];
    *new = (struct results_group){.perplexity_error = NAN};
    strcpy(new->name, name);
    return new;
}

static int add_sample(struct results_groups *groups, const json_t *sample, const struct task *t, const char *where,
                      struct err *err) {
    struct results_item it;
    if (measure(&it, sample, t, where, err) < 0) return -1;
    struct results_group *g = group_of(groups, sample, where, err);
    if (!g || mem_grow(&g->v, &g->capacity, g->n + 1, sizeof *g->v, "items", err) < 0) return -1;
    g->v[g->n++] = it;
    return 0;
}

static int add_group(struct results_group *to, const struct results_group *g, struct err *err) {
    if (mem_grow(&to->v, &to->capacity, to->n + g->n, sizeof *to->v, "items", err) < 0) return -1;
    memcpy(to->v + to->n, g->v, (size_t)g->n * sizeof *g->v);
    to->n += g->n;
    return 0;
}

static int bootstrap(struct results_group *g, struct err *err) {
    double *logliks = mem_alloc(g->n, sizeof *logliks, "log-likelihoods", err);
    for (int64_t i = 0; logliks && i < g->n; i++) logliks[i] = g->v[i].x[PERPLEXITY];
    const int status = logliks ? bootstrap_perplexity(&g->perplexity_error, logliks, g->n, BOOTSTRAP_ROUNDS, err) : -1;
    mem_free(logliks);
    return status;
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const struct results_group *)a)->name, ((const struct results_group *)b)->name);
}

int results_groups_read(struct results_groups *g, const struct task *t, const char *path, struct err *err) {
    struct jsonl *in = jsonl_open(path, err);
    json_t *o;
    int status = in ? 1 : -1;
    g->whole.perplexity_error = NAN;
    while (status > 0 && (status = jsonl_next(in, &o, err)) > 0) {
        if (add_sample(g, o, t, jsonl_where(in), err) < 0) status = -1;
        json_decref(o);
    }
    jsonl_close(in);
    if (t->kind == TASK_PERPLEXITY && g->n > 0) qsort(g->v, (size_t)g->n, sizeof *g->v, by_name); /* months in order */
    for (int64_t i = 0; i < g->n && status == 0; i++) status = add_group(&g->whole, &g->v[i], err);
    return status == 0 && t->kind == TASK_LAST_WORD && g->whole.n > 0 ? bootstrap(&g->whole, err) : status;
}

void results_groups_free(struct results_groups *g) {
    for (int64_t i = 0; i < g->n; i++) mem_free(g->v[i].v);
    mem_free(g->v);
    mem_free(g->whole.v);
    *g = (struct results_groups){0};
}

static double weights(const struct results_group *g) {
    double sum = 0;
    for (int64_t i = 0; i < g->n; i++) sum += g->v[i].weight;
    return sum;
}

static double mean_of(const struct results_group *g, int metric) {
    double sum = 0;
    for (int64_t i = 0; i < g->n; i++) sum += g->v[i].x[metric];
    return sum / weights(g);
}

double results_value(const struct results_group *g, int metric) {
    double noise = 0;
    if (metric == PERPLEXITY) return exp(-mean_of(g, metric));
    if (metric != DRAWS) return mean_of(g, metric);
    for (int64_t i = 0; i < g->n; i++) noise += g->v[i].noise;
    return results_value(g, PERPLEXITY) * sqrt(noise) / weights(g);
}

double results_error(const struct results_group *g, const struct task *t, int metric) {
    const double n = (double)g->n, mean = mean_of(g, metric);
    double squares = 0;
    if (metric == PERPLEXITY && t->kind == TASK_LAST_WORD) return g->perplexity_error;
    if (metric == DRAWS || g->n < 2) return NAN;
    for (int64_t i = 0; i < g->n; i++) {
        const double d = g->v[i].x[metric] - mean * g->v[i].weight;
        squares += d * d;
    }
    const double error = sqrt(squares / (n - 1) * n) / weights(g);
    return metric == PERPLEXITY ? results_value(g, metric) * error : error;
}

bool results_told(const struct results_group *g, const struct task *t, int metric) {
    return (t->metrics & results_metrics[metric].bit) && !(metric == DRAWS && isnan(results_value(g, DRAWS)));
}

json_t *results_group_json(const struct results_group *g, const struct task *t) {
    json_t *o = *g->name ? json_pack("{s:s++}", "alias", " ", "- ", g->name) : json_pack("{s:s}", "alias", t->name);
    char key[64];
    for (int m = 0; m < RESULTS_METRICS && o; m++) {
        if (!results_told(g, t, m)) continue;
        const double v = results_value(g, m), e = results_error(g, t, m);
        snprintf(key, sizeof key, "%s,none", results_metrics[m].name);
        int bad = json_object_set_new(o, key, isfinite(v) ? json_real(v) : json_null());
        snprintf(key, sizeof key, "%s_stderr,none", results_metrics[m].name);
        bad |= json_object_set_new(o, key, isfinite(e) ? json_real(e) : json_string("N/A"));
        if (bad) {
            json_decref(o);
            o = NULL;
        }
    }
    return o;
}
