/* cmd_eval: options of an evaluation. The work is eval/. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/progress.h"
#include "base/stop.h"
#include "cmd/cmd.h"
#include "cmd/lm_options.h"
#include "eval/evaluate.h"
#include "model/params.h"
#include "text/tokenizer.h"

enum { TASKS = 32 };

struct eval_args {
    struct lm_args model;
    const char *tasks, *out;
    int likelihood, begin;
    double cfg;
    bool rescore;
    struct evaluate_settings s;
};

/* The tasks that are named; all must be of a kind that is scored by likelihood. */
static int pick(const struct task **list, const char *names, struct err *err) {
    const int n = task_list(list, TASKS, names, err);
    for (int i = 0; i < n; i++)
        if (!evaluate_can(list[i]))
            return err_set(err,
                           "%s is not scored by likelihood: mdm eval asks for choices and last words ('--tasks all' is "
                           "all of them)",
                           list[i]->name);
    return n;
}

/* Of the first and last bytes of every parameter. */
static void digest_weights(char digest[20], const struct weights *w) {
    enum { PIECE = 4096 };
    uint64_t h = HASH_START;
    for (int i = 0; i < w->params.count; i++) {
        const struct param *p = &w->params.v[i];
        const size_t bytes = (size_t)(p->rows * p->cols) * dtype_size(w->v[i].type), n = bytes < PIECE ? bytes : PIECE;
        h = hash_add(h, w->v[i].data, n);
        h = hash_add(h, (const char *)w->v[i].data + bytes - n, n);
    }
    snprintf(digest, 20, "%016llx", (unsigned long long)hash_finish(h));
}

/* What the numbers depend on. */
static json_t *config_json(const struct lm *m) {
    const struct config *c = &m->weights.config;
    char digest[20];
    digest_weights(digest, &m->weights);
    return json_pack("{s:s, s:s, s:I, s:s, s:s, s:s}", "model", "mdm", "family", family_names[c->family], "parameters",
                     (json_int_t)params_all(c), "weights", digest, "precision",
                     m->precision == DTYPE_F32 ? "f32" : "bf16", "tokenizer", tokenizer_digest(m->tokenizer));
}

/* Status of the command: 0, 2, or 128 + a signal. */
static int evaluate(const struct eval_args *a, const struct opt_given *given, const struct lm *m, struct err *err) {
    static const char *const mdm_only[] = {"likelihood", "mc", "cfg", NULL}, *const none[] = {NULL};
    const struct config *c = &m->weights.config;
    const struct task *list[TASKS];
    struct results *r = NULL;
    struct evaluate_summary summary = {0};
    if (lm_options_unused(given, c->family == FAMILY_MDM ? none : mdm_only, c, err) < 0) return -1;
    const int n = pick(list, a->tasks, err);
    json_t *config = n > 0 ? config_json(m) : NULL;
    int status = config ? results_open(&r, a->out, config, err) : -1;
    if (n > 0 && !config) err_set(err, "out of memory, or a name is not UTF-8");
    json_decref(config);
    for (int i = 0; i < n && status == 0 && !summary.stopped; i++) {
        status = evaluate_task(m, list[i], &a->s, r, &summary, err);
        if (status == 0 && summary.skipped > 0)
            progress_say(NULL, "%s: %lld bad items were left out", list[i]->name, (long long)summary.skipped);
    }
    if (status == 0) status = results_write(r, stdout, err);
    results_close(r);
    if (status == 0 && summary.stopped)
        progress_say(NULL, "stopped; what was answered is in %s, the same command goes on", a->out);
    return status < 0 ? -1 : summary.stopped ? 128 + stop_signal() : 0;
}

static int run(int argc, char **argv) {
    struct err err = {{0}};
    struct eval_args a = {.model = LM_ARGS, .tasks = "all", .likelihood = 0, .cfg = NAN};
    const struct opt opts[] = {
        LM_OPTIONS(a.model),
        {"tasks", OPT_STR, &a.tasks, "NAME,...", "of docs/evaluation.md, or all"},
        {"data", OPT_STR, &a.s.data, "DIR", "folder with a folder of files for each task"},
        {"out", OPT_STR, &a.out, "OUT", "folder of results.json and samples; a stopped evaluation goes on",
         .required = true},
        {"likelihood", OPT_CHOICE, &a.likelihood, "published|mc|chain",
         "as published for the task; Monte Carlo; the chain rule token by token (mdm)"},
        {"cfg", OPT_REAL, &a.cfg, "W", "strength of guidance towards the context; not given: as published (mdm)",
         .max = 1e6},
        {"mc", OPT_INT, &a.s.mc, "N", "Monte Carlo draws, a multiple of 16; 0: 1024, as published (mdm)", .max = 1e7},
        {"bos", OPT_CHOICE, &a.begin, "auto|yes|no",
         "begin id before every context; auto: not for models of other projects, whose contexts are cut from the left"},
        {"limit", OPT_INT, &a.s.limit, "N", "the first N items of a task; 0: all", .max = 1e15},
        {"seed", OPT_INT, &a.s.seed, "N", "the draws are a function of it", .max = 0x1p53},
        {"keep-going", OPT_FLAG, &a.s.keep_going, NULL,
         "leave bad items out and count them; else one ends the command"},
        {"rescore", OPT_FLAG, &a.rescore, NULL, "compute the metrics in OUT again from its samples; no model is read"},
        {0}};
    struct opt more[sizeof opts / sizeof *opts];
    struct opt_given given;
    int n, status;
    memcpy(more, opts, sizeof opts);
    more[0].required = false; /* --rescore reads no weights */
    if (!cmd_options(&cmd_eval, more, argc, argv, &n, &given, &status)) return status;
    if (a.rescore) return results_rescore(a.out, stdout, &err) < 0 ? cmd_fail("eval", &err) : 0;
    if (!a.model.weights || !a.s.data) {
        err_set(&err, "--%s is missing; 'mdm eval --help' shows an example", a.model.weights ? "data" : "weights");
        return cmd_fail("eval", &err);
    }
    a.s.likelihood = a.likelihood - 1;
    a.s.cfg = a.cfg;
    a.s.begin = a.begin;
    struct lm model;
    stop_install();
    if (lm_open(&model, &a.model, true, &err) < 0) return cmd_fail("eval", &err);
    status = evaluate(&a, &given, &model, &err);
    lm_close(&model);
    return status < 0 ? cmd_fail("eval", &err) : status;
}

const struct command cmd_eval = {"eval", "score a model on zero-shot tasks, as lm-evaluation-harness does", NULL,
                                 "mdm eval --tasks hellaswag,piqa --weights run --data eval --out results\n"
                                 "mdm eval --tasks lambada_standard --weights gpt2-xl --data eval --out results-gpt2\n"
                                 "mdm eval --rescore --out results",
                                 run};
