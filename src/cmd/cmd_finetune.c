/* cmd_finetune: options → weights, a fine-tuning set and trainer's settings. The tasks are a table in train/finetune.c, what
 * their files look like is data/tuning_file.c's affair, and the run is one like that of `pretrain`. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/cpu.h"
#include "base/mem.h"
#include "base/progress.h"
#include "base/stop.h"
#include "cmd/cmd.h"
#include "cmd/training.h"
#include "compute/gemm.h"
#include "compute/linear.h"
#include "model/lm.h"
#include "model/params.h"
#include "model/weights.h"
#include "text/tokenizer.h"
#include "train/finetune.h"
#include "train/settings.h"

static struct {
    const char *task, *weights, *model, *data, *valid_data, *tokenizer, *out, *config, *template, *system;
    int begin;
    double cfg, epochs, validation;
    int64_t steps, length, group, examples;
    bool keep_going;
    struct training training;
} a;

static const struct setting own[] = {
    {{"task", OPT_STR, &a.task, NULL /* reword() */, "what the data is and how it is learned"}, SETTING_FIXED},
    {{"weights", OPT_STR, &a.weights, "FILE|RUN", "the model to start from"}, SETTING_FIXED, .path = true},
    {{"model", OPT_STR, &a.model, "NAME|FILE", "named model or config.json; else the one beside the weights"},
     SETTING_FIXED,
     .path = true,
     .file = true},
    {{"data", OPT_STR, &a.data, "FILE",
      "texts to learn: JSON lines, a JSON array, TSV or Parquet (gsm8k: its text file); also .zst, .gz"},
     SETTING_FREE,
     .path = true},
    {{"valid-data", OPT_STR, &a.valid_data, "FILE", "another one, to validate with"}, SETTING_FREE, .path = true},
    {{"validation", OPT_REAL, &a.validation, "X", "or this share of the records of --data", .min = 0, .max = 0.9},
     SETTING_FIXED},
    {{"keep-going", OPT_FLAG, &a.keep_going, NULL, "leave bad records out; else the first one ends the command"},
     SETTING_FREE},
    {{"tokenizer", OPT_STR, &a.tokenizer, "PATH", "tokenizer file or folder; else the one beside the weights"},
     SETTING_FREE,
     .path = true},
    {{"out", OPT_STR, &a.out, "RUN", "folder of the run; started again, the run goes on"}, SETTING_START},
    {{"config", OPT_STR, &a.config, "RUN.json", "take settings from another run's run.json"}, SETTING_START},
    {{"examples", OPT_INT, &a.examples, "N", "print the first N examples as JSON lines, and train nothing", .min = 1,
      .max = 1e12},
     SETTING_START},
    {{"template", OPT_STR, &a.template, NULL /* reword() */, "of conversations (sharegpt, chat; else vicuna)"},
     SETTING_FIXED},
    {{"system", OPT_STR, &a.system, "TEXT", "their system sentence; else the template's own, '' for none"},
     SETTING_FIXED},
    {{"begin", OPT_CHOICE, &a.begin, "pieces|record|none",
      "the tokenizer's begin id stands before each piece of text (as published), before the first one, nowhere"},
     SETTING_FIXED},
    {{"length", OPT_INT, &a.length, "T", "longer examples are left out; 0: the task's, at most the model's block",
      .min = 0, .max = 1 << 20},
     SETTING_FIXED},
    {{"group", OPT_INT, &a.group, "N", "examples that share the denominator of their loss; 0: as published", .min = 0,
      .max = 1e6},
     SETTING_FIXED},
    {{"cfg", OPT_REAL, &a.cfg, "P", "mdm: probability that a group's prompts are masked, for guidance", .min = 0,
      .max = 1},
     SETTING_FIXED},
    {{"epochs", OPT_REAL, &a.epochs, "X", "budget in passes over the data (default: the task's)", .min = 0, .max = 1e9},
     SETTING_BUDGET},
    {{"steps", OPT_INT, &a.steps, "S", "budget in optimizer steps", .min = 0, .max = 1e12}, SETTING_BUDGET},
};
enum { OWN = sizeof own / sizeof own[0] };

/* All that a start opens. */
struct finetune_job {
    struct run run;
    const struct finetune_task *task;
    struct config config;
    struct weights init; /* all zero: a checkpoint is there */
    struct tokenizer *tokenizer;
    struct tuning *set, *valid_set;
    struct tuning_part train_part, valid_part, unused;
    struct source train, valid;
    struct trainer_settings settings;
    struct trainer *trainer;
};

/* ---- what is settled before the data is read ---- */

/* Settings that are left open get the task's values, which run.json then has. */
static int settle_task(struct finetune_job *j, struct err *err) {
    if (!a.task) return err_set(err, "--task is missing: one of %s", finetune_names());
    if (!a.data) return err_set(err, "--data is missing: the file to learn");
    j->task = finetune_find(a.task, err);
    if (!j->task) return -1;
    if (!j->task->chat && (a.template || a.system))
        return err_set(err, "--%s is for sharegpt and chat: %s has no template", a.template ? "template" : "system",
                       a.task);
    if (a.valid_data && a.validation > 0) return err_set(err, "--valid-data and --validation: give one of the two");
    if (a.training.batch == 0) a.training.batch = j->task->batch;
    if (a.steps == 0 && isnan(a.epochs)) a.epochs = j->task->epochs;
    if (!j->task->chat) return 0;
    if (!a.template) a.template = chat_templates->name;
    const struct chat_template *t = chat_find(a.template, err);
    if (t && !a.system) a.system = t->system;
    return t ? 0 : -1;
}

/* A run that goes on has its model in its folder. */
static int find_model(struct finetune_job *j, struct err *err) {
    const bool init = !j->run.resumed || !training_begun(a.out);
    if (init && !a.weights) return err_set(err, "--weights is missing: the model to start from");
    if (init && weights_load(&j->init, a.weights, a.model, FAMILY_ANY, err) < 0) return -1;
    j->config = j->init.config;
    return j->run.resumed ? config_load(&j->config, a.out, FAMILY_ANY, 0, err) : 0;
}

static int find_tokenizer(struct finetune_job *j, const struct opt_given *given, struct err *err) {
    char beside[FILE_PATH_MAX] = ".";
    if (a.weights && !j->run.resumed && weights_folder(beside, a.weights, err) < 0) return -1;
    if (training_tokenizer(&j->tokenizer, &j->run, a.tokenizer, opt_given(given, "tokenizer"), beside, err) < 0)
        return -1;
    return j->tokenizer ? 0 : err_set(err, "no tokenizer in %s: text needs one, name it with --tokenizer", beside);
}

static int settle_model(struct finetune_job *j, struct err *err) {
    struct config *c = &j->config;
    if (lm_check_tokenizer(c, j->tokenizer, a.weights ? a.weights : a.out, err) < 0) return -1;
    c->bos_id = tokenizer_bos(j->tokenizer);
    c->eos_id = tokenizer_eos(j->tokenizer);
    if (a.cfg > 0 && c->family != FAMILY_MDM) return err_set(err, "--cfg is for models of family mdm; this one is arm");
    if (a.group == 0) a.group = finetune_group(j->task, params_body(c));
    if (a.length == 0)
        a.length = j->task->length > 0 && j->task->length < c->block_size ? j->task->length : c->block_size;
    if (a.length <= c->block_size) return 0;
    return err_set(err, "--length %lld: the model's block size is %lld", (long long)a.length, (long long)c->block_size);
}

/* ---- data ---- */

static int open_set(struct tuning **set, const struct finetune_job *j, const char *path, struct err *err) {
    const struct config *c = &j->config;
    const struct tuning_settings s = {.text = {.form = j->task->form,
                                               .template = j->task->chat ? chat_find(a.template, err) : NULL,
                                               .system = a.system},
                                      .tokenizer = j->tokenizer,
                                      .begin = (enum tuning_begin)a.begin,
                                      .length = a.length,
                                      .whole = j->task->whole,
                                      .fill = j->task->fill && c->family == FAMILY_MDM,
                                      .causal = c->family == FAMILY_ARM,
                                      .mask = c->family == FAMILY_MDM ? (int32_t)c->mask_id : -1,
                                      .keep_going = a.keep_going};
    if (tuning_open(set, path, &s, err) < 0) return -1;
    const struct tuning_counts n = tuning_counts(*set);
    if (n.passed + n.too_long + n.bad > 0)
        progress_say(NULL, "%s: of %lld records %lld are not as the task wants them, %lld too long, %lld bad", path,
                     (long long)n.records, (long long)n.passed, (long long)n.too_long, (long long)n.bad);
    return 0;
}

static int open_data(struct finetune_job *j, struct err *err) {
    const uint64_t seed = (uint64_t)a.training.seed;
    if (open_set(&j->set, j, a.data, err) < 0 ||
        tuning_split(&j->train_part, &j->valid_part, j->set, a.validation, seed, err) < 0)
        return -1;
    if (a.valid_data) {
        tuning_part_free(&j->valid_part);
        if (open_set(&j->valid_set, j, a.valid_data, err) < 0 ||
            tuning_split(&j->unused, &j->valid_part, j->valid_set, 1, seed, err) < 0)
            return -1;
    }
    if (j->train_part.n == 0 || (a.validation > 0 && j->valid_part.n == 0))
        return err_set(err, "%s: --validation %g leaves nothing to %s", a.data, a.validation,
                       j->train_part.n == 0 ? "train on" : "validate with");
    j->train = tuning_source(&j->train_part, a.group);
    if (j->valid_part.n > 0)
        j->valid = tuning_source(&j->valid_part, a.group < j->valid_part.n ? a.group : j->valid_part.n);
    return 0;
}

static int settle(struct finetune_job *j, struct err *err) {
    if (a.steps > 0 && !isnan(a.epochs)) return err_set(err, "give one of --epochs and --steps");
    const double examples = a.epochs * (double)(j->train.size * training_views(&a.training));
    if (a.steps == 0 && examples < (double)a.training.batch)
        return err_set(err, "%.0f examples in all are no step of %lld: raise --epochs, or lower --batch", examples,
                       (long long)a.training.batch);
    /* An example is what a step of pre-training has of a sequence of one token. */
    const struct budget budget = {.steps = a.steps, .tokens = a.steps > 0 ? 0 : examples};
    const int64_t steps = schedule_steps(&budget, params_body(&j->config), a.training.batch, 1, err);
    if (steps < 0 || training_check_steps(&j->run, steps, err) < 0) return -1;
    j->settings = training_settings(&a.training, steps);
    if (training_check(&a.training, &j->settings, err) < 0) return -1;
    if (a.training.warmup == 0) j->settings.schedule.warmup = finetune_warmup(j->task, steps);
    j->settings.config = j->config;
    j->settings.run = a.out;
    j->settings.drop = a.cfg;
    j->settings.init = j->init.v ? &j->init : NULL;
    return 0;
}

/* ---- the run ---- */

/* All that can be wrong is found here, before anything is written. */
static int open_all(struct finetune_job *j, const struct opt_given *given, struct err *err) {
    int status = -1;
    if (kernels_init(err) == 0 && gemm_init(cpu_threads_for(a.training.threads), err) == 0 &&
        settle_task(j, err) == 0 && find_model(j, err) == 0 && find_tokenizer(j, given, err) == 0 &&
        settle_model(j, err) == 0 && open_data(j, err) == 0)
        status = settle(j, err);
    return training_open(&j->trainer, status, &j->settings, &j->train, j->valid_part.n ? &j->valid : NULL, err);
}

static void close_all(struct finetune_job *j) {
    trainer_close(j->trainer);
    tuning_part_free(&j->train_part);
    tuning_part_free(&j->valid_part);
    tuning_part_free(&j->unused);
    tuning_close(j->set);
    tuning_close(j->valid_set);
    weights_free(&j->init);
    tokenizer_free(j->tokenizer);
    run_close(&j->run);
}

static void tell(const struct finetune_job *j) {
    char what[160];
    const int64_t steps = j->settings.schedule.steps;
    snprintf(what, sizeof what, "%s examples in groups of %lld: %.1f passes over %lld", j->task->name,
             (long long)a.group,
             j->train.epoch(j->train.context, steps * a.training.batch / training_views(&a.training)),
             (long long)j->train.size);
    training_tell(&j->settings, what);
}

static int train(struct finetune_job *j, const struct setting *table, struct opt_given *given) {
    struct err err = {{0}};
    struct trainer_result result = {.end = TRAINER_UNBEGUN};
    int r = a.out ? 0 : err_set(&err, "--out is missing: the folder of the run");
    if (r == 0) r = training_recipe(given, &a.training, &err);
    if (r == 0) r = run_open(&j->run, "finetune", a.out, a.config, table, given, &err);
    if (r < 0) return cmd_fail("finetune", &err);
    r = open_all(j, given, &err);
    if (r == 0) r = training_write(&j->run, &j->settings, j->tokenizer, j->trainer, &err);
    if (r == 0) tell(j);
    if (r == 0) r = trainer_run(j->trainer, &result, &err);
    close_all(j);
    return training_end("finetune", r, &result, &err);
}

/* ---- a look before ---- */

/* Examples need a tokenizer; without weights they are those of an mdm as long as the task allows. */
static int open_examples(struct finetune_job *j, const struct opt_given *given, struct err *err) {
    char run[FILE_PATH_MAX] = "";
    if (a.out && file_join(run, a.out, "run.json", err) < 0) return -1;
    if (a.config || file_exists(run))
        return err_set(err, "--examples does not read %s: leave out --%s, and give the options that it has",
                       a.config ? a.config : run, a.config ? "config" : "out");
    if (settle_task(j, err) < 0) return -1;
    if (!a.weights && !a.tokenizer)
        return err_set(err, "--weights is missing: the model to start from (or, for --examples, --tokenizer)");
    if (a.weights && find_model(j, err) < 0) return -1;
    if (find_tokenizer(j, given, err) < 0) return -1;
    if (!a.weights) {
        const int64_t vocab = tokenizer_vocab_size(j->tokenizer);
        if (config_named(&j->config, "6", FAMILY_MDM, vocab, err) < 0) return -1;
    }
    if (settle_model(j, err) < 0) return -1;
    return open_set(&j->set, j, a.data, err);
}

static int print_examples(struct finetune_job *j, const struct opt_given *given) {
    struct err err = {{0}};
    int r = open_examples(j, given, &err);
    int32_t *ids = r == 0 ? mem_alloc(a.length, sizeof *ids, "an example", &err) : NULL;
    for (int64_t i = 0; ids && i < a.examples && i < tuning_examples(j->set); i++) {
        struct example e;
        tuning_example(j->set, i, ids, &e);
        for (int64_t k = 0; k < e.n; k++) printf("%s%" PRId32, k == 0 ? "{\"ids\":[" : ",", ids[k]);
        printf("],\"prompt_tokens\":%" PRId64 "}\n", e.prompt);
    }
    r = ids ? 0 : cmd_fail("finetune", &err);
    mem_free(ids);
    close_all(j);
    return r;
}

/* The tables of tasks and templates name themselves, and two settings of every training mean something else where 0 stands
 * for the task's value. */
static void reword(struct setting *rows, int n) {
    for (int i = 0; i < n; i++) {
        struct opt *o = &rows[i].opt;
        if (!strcmp(o->name, "task")) o->meta = finetune_names();
        if (!strcmp(o->name, "template")) o->meta = chat_names();
        if (!strcmp(o->name, "warmup")) o->help = "warm-up steps; 0: the task's, at most half of the run";
        if (strcmp(o->name, "batch") != 0) continue;
        o->help = "examples per step; 0: the task's";
        o->min = 0;
    }
}

static int run(int argc, char **argv) {
    struct setting table[OWN + TRAINING_SETTINGS + 1] = {{{0}}};
    struct opt opts[RUN_SETTINGS + 1];
    struct opt_given given;
    int noperands, status;
    a.training = training_defaults;
    a.training.batch = 0;
    a.epochs = NAN;
    memcpy(table, own, sizeof own);
    reword(table, OWN + training_table(table + OWN, &a.training));
    run_options(opts, table);
    if (!cmd_options(&cmd_finetune, opts, argc, argv, &noperands, &given, &status)) return status;
    static struct finetune_job job;
    struct finetune_job *j = &job;
    j->run.lock = -1;
    stop_install();
    if (a.examples == 0) stop_when_unread();
    status = a.examples > 0 ? print_examples(j, &given) : train(j, table, &given);
    return status;
}

const struct command cmd_finetune = {
    "finetune",
    "go on training a model on questions and answers",
    NULL,
    "mdm finetune --task reverse --weights run --data all_prompts_train.jsonl --out reverse --validation 0.05\n"
    "mdm finetune --task chat --weights run --data chats.jsonl --examples 2   # look before training\n"
    "mdm finetune --out reverse              # go on after a stop, from any folder",
    run,
    .ranks = true};
