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
#include "comm/comm.h"
#include "data/reader.h"
#include "eval/evaluate.h"
#include "infer/sampler.h"
#include "model/params.h"
#include "text/chat.h"
#include "text/tokenizer.h"
#include "text/utf8.h"

enum { TASKS = 32 };

struct eval_args {
    struct lm_args model;
    const char *tasks, *out, *rescore, *template, *separator;
    int likelihood, begin, sampler;
    int64_t turns;
    struct evaluate_settings s;
};

/* Which kinds of tasks an option is for. */
enum { LIKELIHOODS = 1 << TASK_CHOICE | 1 << TASK_LAST_WORD, TEXTS = 1 << TASK_GENERATE | 1 << TASK_CHAT };
static const struct {
    const char *name;
    unsigned kinds;
    const char *what;
} uses[] = {{"likelihood", LIKELIHOODS, "that are scored by likelihood"},
            {"mc", LIKELIHOODS | 1 << TASK_PERPLEXITY, "that are scored by likelihood"},
            {"cfg", LIKELIHOODS | TEXTS, "that have a context"},
            {"steps", TEXTS, "for which the model writes"},
            {"sampler", TEXTS, "for which the model writes"},
            {"temperature", TEXTS, "for which the model writes"},
            {"batch", TEXTS, "for which the model writes"},
            {"length", TEXTS | 1 << TASK_PERPLEXITY, "for which the model writes, and perplexity"},
            {"template", 1 << TASK_CHAT, "that are conversations"},
            {"system", 1 << TASK_CHAT, "that are conversations"},
            {"turns", 1 << TASK_CHAT, "that are conversations"},
            {"model-id", 1 << TASK_CHAT, "that are conversations"},
            {"text-field", 1 << TASK_PERPLEXITY, "of documents: perplexity"},
            {"by-month", 1 << TASK_PERPLEXITY, "of documents: perplexity"},
            {"separator", 1 << TASK_PERPLEXITY, "of documents: perplexity"},
            {0}};

static int check_uses(const struct opt_given *given, const struct task *const *list, int n, struct err *err) {
    unsigned kinds = 0;
    for (int i = 0; i < n; i++) kinds |= 1u << list[i]->kind;
    for (int i = 0; uses[i].name; i++)
        if (opt_given(given, uses[i].name) && !(uses[i].kinds & kinds))
            return err_set(err, "--%s is for tasks %s: none of those in --tasks is one", uses[i].name, uses[i].what);
    return 0;
}

/* Of tasks whose likelihoods all come by the chain rule, --mc says nothing. */
static int check_draws(const struct eval_args *a, const struct opt_given *given, const struct task *const *list, int n,
                       struct err *err) {
    for (int i = 0; i < n; i++) {
        const bool scored = LIKELIHOODS >> list[i]->kind & 1;
        const int method = a->s.likelihood < 0 ? (int)list[i]->published.likelihood : a->s.likelihood;
        if (list[i]->kind == TASK_PERPLEXITY || (scored && method == LIKELIHOOD_MC)) return 0;
    }
    if (!opt_given(given, "mc")) return 0;
    return err_set(err, "--mc: --tasks are scored by the chain rule, which draws nothing; --likelihood mc draws");
}

/* What the weights' file or folder is called, without .safetensors, in UTF-8. */
static void name_weights(char out[256], const char *path) {
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') n--;
    size_t start = n;
    while (start > 0 && path[start - 1] != '/') start--;
    static const char end[] = ".safetensors";
    if (n - start > sizeof end - 1 && !strncmp(path + n - (sizeof end - 1), end, sizeof end - 1)) n -= sizeof end - 1;
    snprintf(out, 256, "%.*s", (int)(n - start), path + start);
    for (char *bad; *(bad = out + utf8_valid(out, (int64_t)strlen(out)));) *bad = '_';
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
    static const char *const mdm_only[] = {"likelihood", "mc", "cfg", "steps", "sampler", NULL}, *const none[] = {NULL};
    const struct config *c = &m->weights.config;
    const struct task *list[TASKS];
    struct results *r = NULL;
    struct evaluate_summary summary = {0};
    int nothing = 0; /* or the command's status, of a task of which nothing could be evaluated; the others go on */
    if (lm_options_unused(given, c->family == FAMILY_MDM ? none : mdm_only, c, err) < 0) return -1;
    const int n = task_list(list, TASKS, a->tasks, err);
    if (n < 0 || check_uses(given, list, n, err) < 0 || check_draws(a, given, list, n, err) < 0) return -1;
    if (evaluate_check(m, list, n, &a->s, err) < 0) return -1;
    json_t *config = config_json(m);
    int status = comm_settle(config ? 0 : err_set(err, "out of memory for results"), err);
    if (status == 0) status = results_open(&r, a->out, config, list, n, err);
    json_decref(config);
    int i;
    for (i = 0; i < n && status == 0 && !summary.stopped; i++) {
        status = evaluate_task(m, list[i], &a->s, r, &summary, err);
        if (summary.nothing) {
            status = 0;
            nothing = cmd_fail("eval", err);
        } else if (status == 0 && summary.skipped > 0)
            progress_say(NULL, "%s: %lld bad item%s left out", list[i]->name, (long long)summary.skipped,
                         summary.skipped == 1 ? " was" : "s were");
    }
    struct err later = {{0}};
    if (status == 0)
        status = results_write(r, stdout, err);
    else if (i > 1) /* what the tasks before the one that failed came to */
        results_write(r, stdout, &later);
    for (; status == 0 && i < n; i++)
        if (comm_rank() == 0 && !results_whole(r, list[i])) printf("%s: not reached\n", list[i]->name);
    results_close(r);
    if (status == 0 && summary.stopped)
        progress_say(NULL, "stopped; what was answered is in %s, the same command goes on", a->out);
    if (status < 0 || summary.stopped) return status < 0 ? -1 : cmd_stopped();
    return nothing;
}

/* What eval.json keeps must be UTF-8. */
static int check_texts(const struct evaluate_settings *s, struct err *err) {
    const char *const texts[][2] = {{"model-id", s->model_id},
                                    {"system", s->system},
                                    {"text-field", s->documents.text_field},
                                    {"by-month", s->documents.month_field},
                                    {"separator", s->documents.separator}};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        const char *text = texts[i][1];
        if (text && text[utf8_valid(text, (int64_t)strlen(text))])
            return err_set(err, "--%s '%s': not UTF-8, so eval.json cannot keep it", texts[i][0], text);
    }
    return 0;
}

/* What the options say, as settings. */
static int settle(struct eval_args *a, char separator[READER_SEPARATOR_MAX + 1], char name[256], struct err *err) {
    struct reader_settings r = {0};
    a->s.likelihood = a->likelihood - 1;
    a->s.begin = a->begin;
    a->s.turns = (int)a->turns;
    if (a->sampler >= 0) a->s.sampler = samplers[a->sampler];
    name_weights(name, a->model.weights);
    if (!a->s.model_id) a->s.model_id = name;
    if (!*a->s.model_id) return err_set(err, "--model-id must not be empty");
    a->s.template = chat_find(a->template, err);
    if (!a->s.template || reader_separator(separator, a->separator, &r, err) < 0) return -1;
    a->s.documents.separator = r.separator;
    return check_texts(&a->s, err);
}

static int rescore(const struct eval_args *a, const struct opt_given *given, struct err *err) {
    for (int i = 0; given->opts[i].name; i++)
        if (given->row[i] && strcmp(given->opts[i].name, "rescore") != 0)
            return err_set(err, "--%s: --rescore asks nothing, it takes all samples of its folder; leave it out",
                           given->opts[i].name);
    return results_rescore(a->rescore, stdout, err);
}

/* Returns the exit status, or -1 with err. */
static int rescore_or_evaluate(struct eval_args *a, const struct opt_given *given, struct err *err) {
    char separator[READER_SEPARATOR_MAX + 1], name[256];
    struct lm model;
    if (a->rescore) return rescore(a, given, err);
    if (!a->model.weights || !a->s.data || !*a->s.data || !a->out)
        return err_set(err, "--%s is missing; 'mdm eval --help' shows an example",
                       !a->model.weights ? "weights"
                       : !a->out         ? "out"
                                         : "data");
    if (settle(a, separator, name, err) < 0) return -1;
    stop_install();
    const int opened = lm_open(&model, &a->model, true, err);
    const int status = comm_settle(opened, err) == 0 ? evaluate(a, given, &model, err) : -1;
    if (opened == 0) lm_close(&model);
    return status;
}

static int run(int argc, char **argv) {
    struct err err = {{0}};
    struct eval_args a = {.model = LM_ARGS,
                          .tasks = "all",
                          .template = chat_templates->name,
                          .turns = 1,
                          .sampler = -1,
                          .s = {.cfg = NAN, .temperature = NAN}};
    char tasks_help[400];
    snprintf(tasks_help, sizeof tasks_help,
             "of %s; all: those that are scored by likelihood item by item, but for cloze", task_names());
    const struct opt opts[] = {
        LM_OPTIONS(a.model),
        {"tasks", OPT_STR, &a.tasks, "NAME,...", tasks_help},
        {"data", OPT_STR, &a.s.data, "DIR", "folder with a folder of files for each task (docs/evaluation.md)"},
        {"out", OPT_STR, &a.out, "OUT", "folder of results.json and samples; a stopped evaluation goes on"},
        {"likelihood", OPT_CHOICE, &a.likelihood, "published|mc|chain",
         "as published for the task; Monte Carlo; the chain rule token by token (mdm)"},
        {"cfg", OPT_REAL, &a.s.cfg, "W", "strength of guidance towards the context; not given: as published (mdm)",
         .max = 1e6},
        {"mc", OPT_INT, &a.s.mc, "N",
         "Monte Carlo draws, a multiple of 16 but for perplexity; 0: as published, 1024, of perplexity 128 (mdm)",
         .max = 1e7},
        {"steps", OPT_INT, &a.s.steps, "N", "sampling steps; 0: as published for the task (mdm)", .max = 1e9},
        {"sampler", OPT_CHOICE, &a.sampler, sampler_names(), "not given: as published for the task (mdm)"},
        {"temperature", OPT_REAL, &a.s.temperature, "T", "of what is written; not given: as published", .max = 1e6},
        {"length", OPT_INT, &a.s.length, "N",
         "tokens of a text, its prompt included, or of a chunk of perplexity; 0: as published, of a chunk the model's "
         "longest",
         .max = 1e9},
        {"batch", OPT_INT, &a.s.batch, "N",
         "texts written together: speed alone depends on it, and the times of mtbench, which goes on with the same one "
         "only; 0: as many as are of use, of mtbench one, whose times are then each answer's own",
         .max = EVALUATE_BATCH},
        {"template", OPT_STR, &a.template, chat_names(), "of mtbench's conversations"},
        {"system", OPT_STR, &a.s.system, "TEXT", "their system sentence; else the template's own, '' for none"},
        {"turns", OPT_INT, &a.turns, "N", "of mtbench to be answered: 1, as published, or 2", .min = 1, .max = 2},
        {"model-id", OPT_STR, &a.s.model_id, "NAME",
         "whose mtbench's answers are; not given: what the weights are called"},
        {"text-field", OPT_STR, &a.s.documents.text_field, "FIELD",
         "perplexity: where a row has its text; else \"text\", then \"content\""},
        {"by-month", OPT_STR, &a.s.documents.month_field, "FIELD",
         "perplexity: results for each month of this date or time of a row; not given: for each file"},
        {"separator", OPT_STR, &a.separator, "TEXT",
         "perplexity: between documents of plain text (\\n, \\t: line break, tab); not given: a blank line"},
        {"bos", OPT_CHOICE, &a.begin, "auto|yes|no",
         "begin id before every context; auto: not for models of other projects, whose contexts are cut from the left. "
         "perplexity: before every document; no: the end id behind it"},
        {"limit", OPT_INT, &a.s.limit, "N", "the first N items of a task, or of each of its groups; 0: all",
         .max = 1e15},
        {"seed", OPT_INT, &a.s.seed, "N", "draws and texts are a function of it", .max = 0x1p53},
        {"keep-going", OPT_FLAG, &a.s.keep_going, NULL,
         "leave bad items out and count them; a task of which nothing is left is an error, but the others are "
         "evaluated; else the first bad item ends the command"},
        {"rescore", OPT_STR, &a.rescore, "OUT",
         "alone: compute the metrics in OUT again from its samples; no model is read"},
        {0}};
    struct opt more[sizeof opts / sizeof *opts];
    struct opt_given given;
    int n, status;
    memcpy(more, opts, sizeof opts);
    more[0].required = false; /* --rescore reads no weights */
    if (!cmd_options(&cmd_eval, more, argc, argv, &n, &given, &status)) return status;
    status = rescore_or_evaluate(&a, &given, &err);
    return status < 0 ? cmd_fail("eval", &err) : status;
}

const struct command cmd_eval = {
    "eval",
    "score a model on tasks, as lm-evaluation-harness does",
    NULL,
    "mdm eval --tasks hellaswag,piqa --weights run --data eval --out results\n"
    "mdm eval --tasks lambada_standard --weights gpt2-xl --data eval --out results-gpt2\n"
    "mdm eval --tasks reverse_dtn --weights reversed --data eval --out results-reverse --steps 16\n"
    "mdm eval --tasks perplexity --by-month date --weights run --data eval --out results-months\n"
    "mdm eval --rescore results",
    run,
    .details = "An evaluation needs --weights, --data and --out. It prints the harness's table, and under it what is "
               "not whole.",
    .ranks = true};
