/* cmd_score: options of `mdm score`; JSON lines in, JSON lines out, in order, a group at a time. The numbers are
 * infer/likelihood's. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/jsonl.h"
#include "base/mem.h"
#include "base/progress.h"
#include "cmd/cmd.h"
#include "cmd/lm_options.h"
#include "infer/engine.h"
#include "infer/likelihood.h"
#include "text/prompt.h"

enum { GROUP = 256 }; /* items scored together */

struct args {
    struct lm_args model;
    int64_t mc, batch, pad, seed;
    double cfg;
    int likelihood;
    bool greedy;
};

struct question { /* one line; owns its ids */
    struct ids prefix, target;
};

struct job {
    const struct args *a;
    struct lm *model;
    struct engine engine;
    struct likelihood_settings settings;
    struct question *questions;    /* [GROUP] */
    struct likelihood_item *items; /* [GROUP] */
    struct likelihood_result *results;
    int64_t done;
};

static int push_ids(struct ids *out, const json_t *o, const char *key, int64_t limit, const char *where,
                    struct err *err) {
    int32_t *ids;
    int64_t n;
    if (json_get_ids(o, key, &ids, &n, limit, true, where, err) < 0) return -1;
    int status = 0;
    for (int64_t i = 0; i < n && status == 0; i++) status = ids_push(out, ids[i], err);
    mem_free(ids);
    return status;
}

static int read_question(const struct job *j, const json_t *o, const char *where, struct question *q, struct err *err) {
    const int64_t limit = j->engine.id_end;
    const char *context, *continuation;
    if (!json_is_object(o)) return err_set(err, "%s: expected an object", where);
    if (json_object_get(o, "prefix") || json_object_get(o, "target")) {
        if (push_ids(&q->prefix, o, "prefix", limit, where, err) < 0) return -1;
        return push_ids(&q->target, o, "target", limit, where, err);
    }
    if (!json_object_get(o, "context") && !json_object_get(o, "continuation"))
        return err_set(err, "%s: expected \"prefix\" and \"target\" (ids) or \"context\" and \"continuation\" (text)",
                       where);
    if (json_get_str(o, "context", &context, true, where, err) < 0) return -1;
    if (json_get_str(o, "continuation", &continuation, true, where, err) < 0) return -1;
    if (!j->model->tokenizer)
        return err_set(
            err, "%s: text needs a tokenizer, and there is none beside the weights: name it with --tokenizer", where);
    if (prompt_pair(j->model->tokenizer, context, continuation, &q->prefix, &q->target, err) < 0)
        return err_prefix(err, "%s", where);
    return 0;
}

/* The first length is not known before the input is read, so the engine takes the model's longest. */
static int open_engine(struct job *j, struct err *err) {
    const struct config *c = &j->model->weights.config;
    const bool guided = j->settings.cfg > 0;
    if (guided && c->family == FAMILY_ARM)
        return err_set(err, "--cfg is for models of family mdm; this one is autoregressive");
    const struct engine_settings s = {
        .precision = j->model->precision, .max_rows = engine_rows(GROUP, c->block_size, guided), .guided = guided};
    return engine_open(&j->engine, &j->model->weights, &s, err);
}

/* Reads up to GROUP questions; how many, or -1. */
static int64_t read_group(struct job *j, struct jsonl *in, struct err *err) {
    int64_t n = 0;
    while (n < GROUP) {
        json_t *o;
        const int r = jsonl_next(in, &o, err);
        if (r < 0) return -1;
        if (r == 0) break;
        struct question *q = &j->questions[n];
        q->prefix.n = q->target.n = 0;
        const int status = read_question(j, o, jsonl_where(in), q, err);
        json_decref(o);
        if (status < 0) return -1;
        j->items[n++] = (struct likelihood_item){q->prefix.v, q->target.v, q->prefix.n, q->target.n};
    }
    return n;
}

static void print_results(const struct job *j, int64_t n) {
    const bool greedy = j->settings.greedy || j->model->weights.config.family == FAMILY_ARM;
    for (int64_t i = 0; i < n; i++) {
        printf("{\"nll\": %.17g, \"tokens\": %" PRId64, j->results[i].nll, j->items[i].ntarget);
        if (greedy) printf(", \"is_greedy\": %s", j->results[i].is_greedy ? "true" : "false");
        printf("}\n");
    }
    fflush(stdout);
}

static int score(struct job *j, struct jsonl *in, struct err *err) {
    for (;;) {
        const int64_t n = read_group(j, in, err);
        if (n <= 0) return (int)n;
        j->settings.first_sample = (uint64_t)j->done;
        if (likelihood(&j->engine, &j->settings, j->items, n, j->results, err) < 0) return -1;
        print_results(j, n);
        j->done += n;
    }
}

static int work(struct job *j, const char *path, struct err *err) {
    if (open_engine(j, err) < 0) return -1;
    j->questions = mem_alloc(GROUP, sizeof *j->questions, "questions", err);
    j->items = mem_alloc(GROUP, sizeof *j->items, "questions", err);
    j->results = mem_alloc(GROUP, sizeof *j->results, "questions", err);
    if (!j->questions || !j->items || !j->results) return -1;
    struct jsonl *in = jsonl_open(path, err);
    if (!in) return -1;
    const double start = clock_seconds();
    const int status = score(j, in, err);
    jsonl_close(in);
    if (status == 0)
        progress_say(NULL, "%" PRId64 " %s in %.3f s, %" PRId64 " forwards", j->done, j->done == 1 ? "item" : "items",
                     clock_seconds() - start, j->engine.forwards);
    return status;
}

static int run(int argc, char **argv) {
    struct err err = {0};
    struct args a = {.model = LM_ARGS, .mc = 1024, .batch = 16};
    const struct opt opts[] = {
        LM_OPTIONS(a.model),
        {"likelihood", OPT_CHOICE, &a.likelihood, likelihood_methods,
         "Monte Carlo, or the chain rule token by token (mdm)"},
        {"mc", OPT_INT, &a.mc, "N", "Monte Carlo draws, a multiple of --batch", .min = 1, .max = 1e7},
        {"batch", OPT_INT, &a.batch, "N", "draws that share one stratified time", .min = 1, .max = 1e7},
        {"cfg", OPT_REAL, &a.cfg, "W", "strength of guidance towards the prefix (mdm)", .max = 1e6},
        {"greedy", OPT_FLAG, &a.greedy, NULL,
         "also tell whether greedy decoding writes the target (always told for arm)"},
        {"pad", OPT_INT, &a.pad, "N", "extend every sequence with masks to this length (mdm)", .max = 1e9},
        {"seed", OPT_INT, &a.seed, "N", "the draws are a function of it", .max = 0x1p53},
        {0}};
    int noperands, status;
    if (!cmd_options(&cmd_score, opts, argc, argv, &noperands, NULL, &status)) return status;
    if (noperands > 1) {
        err_set(&err, "expected one file, found %d", noperands);
        return cmd_fail("score", &err);
    }
    struct lm model;
    if (lm_open(&model, &a.model, false, &err) < 0) return cmd_fail("score", &err);
    struct job j = {.a = &a, .model = &model};
    j.settings = (struct likelihood_settings){.method = (enum likelihood_method)a.likelihood,
                                              .mc_draws = a.mc,
                                              .mc_batch = a.batch,
                                              .cfg = a.cfg,
                                              .greedy = a.greedy,
                                              .pad = a.pad,
                                              .seed = (uint64_t)a.seed};
    status = work(&j, noperands ? argv[1] : "-", &err) < 0 ? cmd_fail("score", &err) : 0;
    for (int64_t i = 0; j.questions && i < GROUP; i++) {
        ids_free(&j.questions[i].prefix);
        ids_free(&j.questions[i].target);
    }
    mem_free(j.questions);
    mem_free(j.items);
    mem_free(j.results);
    engine_close(&j.engine);
    lm_close(&model);
    return status;
}

const struct command cmd_score = {
    "score", "likelihood of targets after prefixes, one JSON line each", "[FILE]",
    "echo '{\"context\": \"The sky is\", \"continuation\": \" blue\"}' | mdm score --weights run\n"
    "mdm score --weights run --likelihood chain --greedy questions.jsonl",
    run};
