/* cmd_pretrain: options → model, data and trainer's settings. What a run's folder is, and what is kept in it, is
 * train/run.c's affair. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "base/mem.h"
#include "base/progress.h"
#include "base/stop.h"
#include "cmd/cmd.h"
#include "cmd/training.h"
#include "compute/gemm.h"
#include "compute/linear.h"
#include "data/loader.h"
#include "text/tokenizer.h"
#include "train/run.h"
#include "train/settings.h"

enum { SOURCES_MAX = 16, BLOCK_WINDOW = 8 };

static struct {
    int objective;
    const char *model, *init_from, *tokenizer, *out, *config, *data[SOURCES_MAX + 1];
    struct budget budget;
    double random_length;
    int64_t length, vocab;
    struct training training;
} a;

static const struct setting own[] = {
    {{"objective", OPT_CHOICE, &a.objective, "mdm|arm", "masked diffusion or left to right"}, SETTING_FIXED},
    {{"model", OPT_STR, &a.model, "NAME|FILE", "a named model ('mdm models' lists them) or a config.json"},
     SETTING_FIXED,
     .path = true,
     .file = true},
    {{"init-from", OPT_STR, &a.init_from, "WEIGHTS", "start from these weights; they bring their model"},
     SETTING_FIXED,
     .path = true},
    {{"data", OPT_LIST, a.data, "DIR[=W],...",
      "folders of token chunks ('mdm prepare'), each with its weight in the mixture", .max = SOURCES_MAX},
     SETTING_FREE,
     .path = true},
    {{"tokenizer", OPT_STR, &a.tokenizer, "FILE",
      "gives the vocabulary and is copied beside the model (default: the one in --data)"},
     SETTING_FREE,
     .path = true},
    {{"vocab", OPT_INT, &a.vocab, "N", "tokens of the vocabulary; not given: as many as the tokenizer has", .min = 0,
      .max = 10e6},
     SETTING_FIXED},
    {{"out", OPT_STR, &a.out, "RUN", "folder of the run; started again, the run goes on", .required = true},
     SETTING_START},
    {{"config", OPT_STR, &a.config, "RUN.json", "take settings from another run's run.json"}, SETTING_START},
    {{"flops", OPT_REAL, &a.budget.flops, "C",
      "budget: steps = C / (6 N batch mean-length); the published '--flops 10.' is 10e18 here", .min = 0, .max = 1e30},
     SETTING_BUDGET},
    {{"tokens", OPT_REAL, &a.budget.tokens, "D", "budget in training tokens", .min = 0, .max = 1e18}, SETTING_BUDGET},
    {{"steps", OPT_INT, &a.budget.steps, "S", "budget in optimizer steps; more than before: a run goes on to there",
      .min = 0, .max = 1e12},
     SETTING_BUDGET},
    {{"length", OPT_INT, &a.length, "T", "tokens per sequence; 0: the model's block", .min = 0, .max = 1 << 20},
     SETTING_FIXED},
    {{"random-length", OPT_REAL, &a.random_length, "R", "share of sequences cut to a random length", .min = 0,
      .max = 1},
     SETTING_FIXED},
};
enum { OWN = sizeof own / sizeof own[0] };

/* All that a start opens. */
struct pretrain_job {
    struct run run;
    struct loader_source sources[SOURCES_MAX];
    int nsources;
    char paths[SOURCES_MAX][FILE_PATH_MAX];
    struct config config;
    struct weights init;         /* all zero: random weights */
    struct tokenizer *tokenizer; /* NULL: none */
    struct loader *train_loader, *valid_loader;
    struct source train, valid;
    struct trainer_settings settings;
    struct trainer *trainer;
};

static int parse_sources(struct pretrain_job *j, struct err *err) {
    for (; a.data[j->nsources]; j->nsources++) {
        const char *text = a.data[j->nsources];
        const size_t n = run_path_bytes(text);
        struct loader_source *s = &j->sources[j->nsources];
        char *end = NULL;
        if (n >= FILE_PATH_MAX) return err_set(err, "--data: a path of %zu bytes is too long", n);
        memcpy(j->paths[j->nsources], text, n);
        if (!file_exists(j->paths[j->nsources]))
            return err_set(err, "--data: no such folder: '%s'", j->paths[j->nsources]);
        *s = (struct loader_source){.path = j->paths[j->nsources], .weight = 1};
        if (!text[n]) continue;
        s->weight = strtod(text + n + 1, &end);
        if (*end || end == text + n + 1 || !(s->weight > 0) || !isfinite(s->weight))
            return err_set(err, "--data %s: expected a weight above 0 after '='", text);
    }
    return j->nsources ? 0 : err_set(err, "--data is missing: a folder made by 'mdm prepare'");
}

/* Training needs no texts: one beside the data that cannot be read is none. Chunks without a manifest do not say whose
 * ids they hold; a run that goes on has the data that it began with. */
static int find_tokenizer(struct pretrain_job *j, const struct opt_given *given, struct err *err) {
    struct err ignored = {{0}};
    int r = training_tokenizer(&j->tokenizer, &j->run, a.tokenizer, opt_given(given, "tokenizer"), j->sources[0].path,
                               a.tokenizer ? err : &ignored);
    if (r < 0) return a.tokenizer ? -1 : 0;
    for (int i = 1; i < j->nsources && j->tokenizer && !j->run.resumed && r == 0; i++)
        r = tokenizer_suits(j->tokenizer, j->sources[i].path, err);
    return r;
}

/* The weights that a fresh run starts from, and their model. */
static int config_of_weights(struct pretrain_job *j, int64_t vocab, struct err *err) {
    if (weights_load(&j->init, a.init_from, a.model, (enum family)a.objective, err) < 0) return -1;
    j->config = j->init.config;
    return config_check_vocab(&j->config, vocab, a.init_from, err);
}

static int config_of_model(struct pretrain_job *j, int64_t vocab, struct err *err) {
    if (!a.model) return err_set(err, "--model is missing: a name ('mdm models' lists them) or a config.json");
    if (vocab < 1)
        return err_set(err,
                       "%s holds no tokenizer that can be read: name one with --tokenizer, or its size with --vocab",
                       j->sources[0].path);
    return config_load(&j->config, a.model, (enum family)a.objective, vocab, err);
}

/* A run that goes on has its model in its folder. */
static int find_config(struct pretrain_job *j, struct err *err) {
    const int64_t vocab = a.vocab > 0 ? a.vocab : j->tokenizer ? tokenizer_vocab_size(j->tokenizer) : 0;
    const bool init = a.init_from && !training_begun(a.out);
    int r = init ? config_of_weights(j, vocab, err) : j->run.resumed ? 0 : config_of_model(j, vocab, err);
    if (r == 0 && j->run.resumed) r = config_load(&j->config, a.out, (enum family)a.objective, vocab, err);
    if (r < 0) return -1;
    if (!j->run.resumed && j->tokenizer) {
        j->config.bos_id = tokenizer_bos(j->tokenizer);
        j->config.eos_id = tokenizer_eos(j->tokenizer);
    }
    if ((int)j->config.family != a.objective)
        return err_set(err, "%s is a model of family %s, but --objective is %s", init ? a.init_from : a.model,
                       family_names[j->config.family], family_names[a.objective]);
    if (a.length == 0) a.length = j->config.block_size;
    if (a.length <= j->config.block_size) return 0;
    return err_set(err, "--length %lld: the model's block size is %lld", (long long)a.length,
                   (long long)j->config.block_size);
}

static int open_loader(struct loader **l, const struct pretrain_job *j, enum split split, int window, struct err *err) {
    const struct loader_settings set = {.split = split,
                                        .block = a.length + 1,
                                        .vocab = j->config.vocab_size,
                                        .tokenizer = j->tokenizer ? tokenizer_digest(j->tokenizer) : NULL,
                                        .window = window,
                                        .seed = (uint64_t)a.training.seed,
                                        .take = a.length + (a.objective == FAMILY_ARM)};
    return loader_open(l, j->sources, j->nsources, &set, err);
}

static int open_data(struct pretrain_job *j, struct err *err) {
    if (open_loader(&j->train_loader, j, SPLIT_TRAIN, BLOCK_WINDOW, err) < 0 ||
        open_loader(&j->valid_loader, j, SPLIT_VALIDATION, 0, err) < 0)
        return -1;
    j->train = source_of_blocks(j->train_loader);
    if (j->valid_loader) j->valid = source_of_blocks(j->valid_loader);
    return 0;
}

static int settle(struct pretrain_job *j, struct err *err) {
    const int64_t steps = schedule_steps(&a.budget, params_body(&j->config), a.training.batch,
                                         objective_mean_length(a.length, a.random_length), err);
    if (steps < 0) return -1;
    if (training_check_steps(&j->run, steps, err) < 0) return -1;
    j->settings = training_settings(&a.training, steps);
    if (training_check(&a.training, &j->settings, err) < 0) return -1;
    j->settings.config = j->config;
    j->settings.run = a.out;
    j->settings.random_length = a.random_length;
    j->settings.init = j->init.v ? &j->init : NULL;
    return 0;
}

/* Of a run that begins. Only the tokenizers could tell that ids mean the same; and one vocabulary may stand in files of two
 * forms. */
static void compare_tokenizers(const struct pretrain_job *j) {
    struct err none = {{0}};
    struct tokenizer *theirs = j->init.v ? tokenizer_load(a.init_from, &none) : NULL;
    if (theirs && strcmp(tokenizer_digest(theirs), tokenizer_digest(j->tokenizer)) != 0)
        progress_say(
            NULL,
            "note: the tokenizer in %s is not the data's: if it is not the same vocabulary in another file, the "
            "weights take ids for other words",
            a.init_from);
    tokenizer_free(theirs);
}

static void tell(const struct pretrain_job *j) {
    const struct trainer_settings *s = &j->settings;
    const double tokens =
        (double)s->schedule.steps * (double)s->batch * objective_mean_length(a.length, a.random_length);
    char what[96];
    snprintf(what, sizeof what, "× %lld tokens = %.3g tokens, %.2g FLOPs", (long long)a.length, tokens,
             6 * tokens * (double)params_body(&s->config));
    training_tell(s, what);
    const double passes = loader_epoch(j->train_loader, s->schedule.steps * s->batch / training_views(&a.training));
    if (passes > 1) progress_say(NULL, "note: the run passes over its data %.1f times", passes);
    if (!j->valid_loader) progress_say(NULL, "note: the data has no validation split: no validation losses");
    if (j->tokenizer && !j->run.resumed) compare_tokenizers(j);
}

/* All that can be wrong is found here, before anything is written. */
static int open_all(struct pretrain_job *j, const struct opt_given *given, struct err *err) {
    int status = -1;
    if (kernels_init(err) == 0 && gemm_init(cpu_threads_for(a.training.threads), err) == 0 &&
        parse_sources(j, err) == 0 && find_tokenizer(j, given, err) == 0 && find_config(j, err) == 0 &&
        open_data(j, err) == 0)
        status = settle(j, err);
    return training_open(&j->trainer, status, &j->settings, &j->train, j->valid_loader ? &j->valid : NULL, err);
}

static void close_all(struct pretrain_job *j) {
    trainer_close(j->trainer);
    loader_close(j->train_loader);
    loader_close(j->valid_loader);
    weights_free(&j->init);
    tokenizer_free(j->tokenizer);
    run_close(&j->run);
}

static int run(int argc, char **argv) {
    struct err err = {{0}};
    struct setting table[OWN + TRAINING_SETTINGS + 1] = {{{0}}};
    struct opt opts[RUN_SETTINGS + 1];
    struct opt_given given;
    struct trainer_result result = {.end = TRAINER_UNBEGUN};
    int noperands, status;
    a.training = training_defaults;
    memcpy(table, own, sizeof own);
    training_table(table + OWN, &a.training);
    run_options(opts, table);
    if (!cmd_options(&cmd_pretrain, opts, argc, argv, &noperands, &given, &status)) return status;
    static struct pretrain_job job;
    struct pretrain_job *j = &job;
    int r = training_recipe(&given, &a.training, &err);
    if (r == 0) r = run_open(&j->run, "pretrain", a.out, a.config, table, &given, &err);
    stop_install();
    stop_when_unread();
    if (r == 0) {
        r = open_all(j, &given, &err);
        if (r == 0) r = training_write(&j->run, &j->settings, j->tokenizer, j->trainer, &err);
        if (r == 0) tell(j);
        if (r == 0) r = trainer_run(j->trainer, &result, &err);
        close_all(j);
    }
    return training_end("pretrain", r, &result, &err);
}

const struct command cmd_pretrain = {
    "pretrain",
    "train a masked diffusion or autoregressive model from scratch",
    NULL,
    "mdm pretrain --objective mdm --model 6 --data data --out run --flops 1e15 --batch 16 --length 512\n"
    "mdm pretrain --out run                 # go on after a stop, from any folder\n"
    "mdm pretrain --out run --steps 20000   # make the run longer\n"
    "mpirun -n 4 mdm pretrain …             # the same run by four processes (make MPI=1)",
    run,
    .ranks = true};
