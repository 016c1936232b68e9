/* results_metrics: as lm-evaluation-harness 0.4.4 computes them. acc: is the likeliest choice the right one (of equals the
 * first)? acc_norm: the same of log-likelihoods divided by the choices' characters. Last words: acc is is_greedy,
 * perplexity exp(−mean log-likelihood). Standard errors: √(sample variance / n); the perplexity's is bootstrap.c's. */
#include "eval/results_metrics.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/jsonl.h"
#include "base/mem.h"
#include "eval/bootstrap.h"
#include "eval/pystring.h"

enum { ACC, ACC_NORM, PERPLEXITY, CHOICES_MAX = 64 };
const struct results_metric results_metrics[RESULTS_METRICS] = {
    [ACC] = {METRIC_ACC, "acc", true},
    [ACC_NORM] = {METRIC_ACC_NORM, "acc_norm", true},
    [PERPLEXITY] = {METRIC_PERPLEXITY, "perplexity", false}};

/* ---- an item ---- */

struct answered {
    int n, gold;
    double loglik[CHOICES_MAX], characters[CHOICES_MAX];
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
    if (n < 1 || n > CHOICES_MAX || json_array_size(arguments) != n || (t->kind == TASK_LAST_WORD && n != 1))
        return err_set(err, "%s: \"filtered_resps\" and \"arguments\": expected lists of one length, 1 to %d", where,
                       CHOICES_MAX);
    *a = (struct answered){.n = (int)n};
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

/* The value whose mean over the items is the metric, or its logarithm. */
static double value_of(const struct answered *a, const struct task *t, int metric) {
    if (metric == PERPLEXITY) return a->loglik[0];
    if (t->kind == TASK_LAST_WORD) return a->is_greedy;
    return likeliest(a, metric == ACC_NORM) == a->gold;
}

int results_metrics_of(json_t *sample, const struct task *t, const char *where, struct err *err) {
    struct answered a;
    if (read_answered(&a, sample, t, where, err) < 0) return -1;
    for (int m = 0; m < RESULTS_METRICS; m++)
        if ((t->metrics & results_metrics[m].bit) &&
            json_object_set_new(sample, results_metrics[m].name, json_real(value_of(&a, t, m))) < 0)
            return err_set(err, "out of memory for results");
    return 0;
}

/* ---- a task ---- */

/* Σx, Σx² of the item. */
static void count(struct results_sums *s, const struct answered *a, const struct task *t) {
    for (int m = 0; m < RESULTS_METRICS; m++) {
        if (!(t->metrics & results_metrics[m].bit)) continue;
        const double x = value_of(a, t, m);
        if (s->n == 0) s->of[m].first = x;
        s->of[m].sum += x - s->of[m].first;
        s->of[m].squares += (x - s->of[m].first) * (x - s->of[m].first);
    }
    s->n++;
}

int results_sums_read(struct results_sums *s, const struct task *t, const char *path, struct err *err) {
    struct jsonl *in = jsonl_open(path, err);
    json_t *o;
    double *logliks = NULL; /* of the last words */
    int64_t capacity = 0;
    int status = in ? 1 : -1;
    *s = (struct results_sums){.perplexity_error = NAN};
    while (status > 0 && (status = jsonl_next(in, &o, err)) > 0) {
        struct answered a;
        if (read_answered(&a, o, t, jsonl_where(in), err) < 0 ||
            mem_grow(&logliks, &capacity, s->n + 1, sizeof *logliks, "log-likelihoods", err) < 0)
            status = -1;
        json_decref(o);
        if (status < 0) break;
        logliks[s->n] = a.loglik[0];
        count(s, &a, t);
    }
    if (status == 0 && (t->metrics & METRIC_PERPLEXITY))
        status = bootstrap_perplexity(&s->perplexity_error, logliks, s->n, BOOTSTRAP_ROUNDS, err);
    mem_free(logliks);
    jsonl_close(in);
    return status;
}

static double mean_of(const struct results_sums *s, int metric) {
    const double n = (double)s->n;
    return (s->of[metric].first * n + s->of[metric].sum) / n;
}

double results_value(const struct results_sums *s, int metric) {
    return metric == PERPLEXITY ? exp(-mean_of(s, metric)) : mean_of(s, metric);
}

double results_error(const struct results_sums *s, int metric) {
    const double n = (double)s->n, sum = s->of[metric].sum;
    if (metric == PERPLEXITY) return s->perplexity_error;
    if (s->n < 2) return NAN;
    return sqrt(fmax(s->of[metric].squares - sum * sum / n, 0) / (n - 1) / n);
}

json_t *results_sums_json(const struct results_sums *s, const struct task *t) {
    json_t *o = json_pack("{s:s}", "alias", t->name);
    char key[64];
    for (int m = 0; m < RESULTS_METRICS && o; m++) {
        if (!(t->metrics & results_metrics[m].bit)) continue;
        const double v = results_value(s, m), e = results_error(s, m);
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

void results_table_head(FILE *out) {
    fprintf(out, "|     Tasks      |Version|Filter|n-shot|  Metric  |   |  Value  |   |Stderr |\n"
                 "|----------------|------:|------|-----:|----------|---|--------:|---|------:|\n");
}

void results_table_rows(FILE *out, const struct results_sums *s, const struct task *t) {
    const char *name = t->name, *version = t->version;
    for (int m = 0; m < RESULTS_METRICS; m++) {
        if (!(t->metrics & results_metrics[m].bit)) continue;
        const double error = results_error(s, m);
        char text[24] = "N/A";
        if (isfinite(error)) snprintf(text, sizeof text, "%.4f", error);
        fprintf(out, "|%-16s|%7s|%-6s|%6s|%-10s|%-3s|%9.4f|%-3s|%7s|\n", name, version, "none", "0",
                results_metrics[m].name, results_metrics[m].higher_is_better ? "↑  " : "↓  ", results_value(s, m),
                "±  ", text);
        name = version = "";
    }
}
