/* cmd_pretrain: options → trainer settings; the run's folder, run.json, and what is left in it at the end.
 * One table of options serves the command line, --config and run.json. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "base/file.h"
#include "base/jsonl.h"
#include "base/mem.h"
#include "base/progress.h"
#include "base/stop.h"
#include "cmd/cmd.h"
#include "compute/gemm.h"
#include "compute/linear.h"
#include "data/loader.h"
#include "text/tokenizer.h"
#include "train/trainer.h"

enum { SOURCES_MAX = 16, BLOCK_WINDOW = 8 };

struct args {
    int objective, precision;
    const char *model, *data, *out, *config, *tokenizer;
    double flops, tokens, random_length, lr, min_lr, beta1, beta2, eps, weight_decay, clip;
    int64_t steps, warmup, batch, micro_batch, length, seed, threads, save_every, eval_every, keep, mc, valid_sequences,
        vocab;
    bool recompute;
};

static struct args a = {.objective = FAMILY_MDM,
                        .lr = 2e-4,
                        .min_lr = 0,
                        .beta1 = 0.9,
                        .beta2 = 0.95,
                        .eps = 1e-8,
                        .weight_decay = 0.1,
                        .clip = 1.0,
                        .batch = 256,
                        .length = 2048,
                        .save_every = 5000,
                        .eval_every = 1000,
                        .keep = 2,
                        .mc = 128,
                        .valid_sequences = 16};

static const struct opt opts[] = {
    {"objective", OPT_CHOICE, &a.objective, "mdm|arm", "masked diffusion or left to right"},
    {"model", OPT_STR, &a.model, "NAME|FILE", "a named model ('mdm models' lists them) or a config.json"},
    {"data", OPT_STR, &a.data, "DIR[=W],...",
     "folders of token chunks ('mdm prepare'), each with its weight in the mixture"},
    {"tokenizer", OPT_STR, &a.tokenizer, "FILE",
     "gives the vocabulary and is copied beside the model (default: the one in --data)"},
    {"vocab", OPT_INT, &a.vocab, "N", "vocabulary when there is no tokenizer", .min = 0, .max = 10e6},
    {"out", OPT_STR, &a.out, "RUN", "folder of the run; started again, the run goes on", .required = true},
    {"config", OPT_STR, &a.config, "RUN.json", "take settings from another run's run.json"},
    {"flops", OPT_REAL, &a.flops, "C",
     "budget: steps = C / (6 N batch mean-length); the published '--flops 10.' is 10e18 here", .min = 0, .max = 1e30},
    {"tokens", OPT_REAL, &a.tokens, "D", "budget in training tokens", .min = 0, .max = 1e18},
    {"steps", OPT_INT, &a.steps, "S", "budget in optimizer steps", .min = 0, .max = 1e12},
    {"batch", OPT_INT, &a.batch, "N", "sequences per step", .min = 1, .max = 1e6},
    {"micro-batch", OPT_INT, &a.micro_batch, "N", "sequences per forward pass; 0: by memory", .min = 0, .max = 1e6},
    {"length", OPT_INT, &a.length, "T", "tokens per sequence", .min = 1, .max = 1 << 20},
    {"random-length", OPT_REAL, &a.random_length, "R", "share of sequences cut to a random length", .min = 0, .max = 1},
    {"lr", OPT_REAL, &a.lr, "X", "peak learning rate", .min = 0, .max = 10},
    {"min-lr", OPT_REAL, &a.min_lr, "X", "last learning rate; 0: a tenth of --lr", .min = 0, .max = 10},
    {"warmup", OPT_INT, &a.warmup, "N", "warm-up steps; 0: max(100, 1 %), at most a tenth of the run", .min = 0,
     .max = 1e12},
    {"beta1", OPT_REAL, &a.beta1, "X", "AdamW", .min = 0, .max = 1},
    {"beta2", OPT_REAL, &a.beta2, "X", "AdamW", .min = 0, .max = 1},
    {"eps", OPT_REAL, &a.eps, "X", "AdamW", .min = 0, .max = 1},
    {"weight-decay", OPT_REAL, &a.weight_decay, "X", "AdamW, on every weight", .min = 0, .max = 10},
    {"clip", OPT_REAL, &a.clip, "X", "largest gradient norm; 0: none", .min = 0, .max = 1e9},
    {"precision", OPT_CHOICE, &a.precision, "bf16|f32", "of matmul inputs"},
    {"recompute", OPT_FLAG, &a.recompute, NULL, "save memory: compute activations again in backward"},
    {"seed", OPT_INT, &a.seed, "N", "of weights, masks and order", .min = 0, .max = 9e18},
    {"threads", OPT_INT, &a.threads, "N", "0: all cores; results do not depend on it", .min = 0, .max = 4096},
    {"save-every", OPT_INT, &a.save_every, "N", "steps between checkpoints", .min = 1, .max = 1e12},
    {"keep", OPT_INT, &a.keep, "N", "checkpoints to keep", .min = 1, .max = 1e6},
    {"eval-every", OPT_INT, &a.eval_every, "N", "steps between validations", .min = 1, .max = 1e12},
    {"mc", OPT_INT, &a.mc, "N", "mask draws per validation sequence", .min = 1, .max = 1e6},
    {"valid-sequences", OPT_INT, &a.valid_sequences, "N", "validation sequences", .min = 1, .max = 1e9},
    {0}};
enum { OPTIONS = sizeof opts / sizeof opts[0] - 1 };

/* Options that do not change what is computed: a resumed run may be given others. */
static const char *const free_options[] = {"out", "config",          "threads",     "save-every", "keep", "eval-every",
                                           "mc",  "valid-sequences", "micro-batch", "recompute",  "data", "tokenizer",
                                           NULL};

static bool is_free(const char *name) {
    for (int i = 0; free_options[i]; i++)
        if (!strcmp(free_options[i], name)) return true;
    return false;
}

/* The value as the command line would spell it. */
static void spell(const struct opt *o, char *out, size_t size) {
    switch (o->type) {
    case OPT_FLAG:
        snprintf(out, size, "%s", *(bool *)o->target ? "true" : "false");
        break;
    case OPT_INT:
        snprintf(out, size, "%lld", (long long)*(int64_t *)o->target);
        break;
    case OPT_REAL:
        snprintf(out, size, "%.17g", *(double *)o->target);
        break;
    case OPT_STR:
        snprintf(out, size, "%s", *(const char **)o->target ? *(const char **)o->target : "");
        break;
    case OPT_CHOICE: {
        const char *p = o->meta;
        for (int i = *(int *)o->target; i > 0; i--) p = strchr(p, '|') + 1;
        snprintf(out, size, "%.*s", (int)strcspn(p, "|"), p);
        break;
    }
    case OPT_LIST:
        err_bug(__FILE__, __LINE__, "run.json holds no lists");
    }
}

/* Take the settings of a run.json for options not given. `resume`: a given option that changes the computation must
 * agree. */
static int apply(const json_t *o, const char *path, const struct opt_given *given, bool resume, struct err *err) {
    for (int i = 0; i < OPTIONS; i++) {
        const char *value = json_string_value(json_object_get(o, opts[i].name));
        char now[FILE_PATH_MAX];
        if (!value || !*value || !strcmp(opts[i].name, "out") || !strcmp(opts[i].name, "config")) continue;
        if (!opt_given(given, opts[i].name)) {
            char *copy =
                opts[i].type == OPT_STR ? mem_strdup(value, err) : NULL; /* lives as long as the process, like argv */
            if ((opts[i].type == OPT_STR && !copy) || opt_set(&opts[i], copy ? copy : value, err) < 0)
                return err_prefix(err, "%s", path);
            continue;
        }
        spell(&opts[i], now, sizeof now);
        if (resume && !is_free(opts[i].name) && strcmp(now, value) != 0)
            return err_set(err, "--%s %s: the run in %s was started with %s; leave it out, or use another --out",
                           opts[i].name, now, a.out, value);
    }
    return 0;
}

static int settle(const struct opt_given *given, struct err *err) {
    char path[FILE_PATH_MAX];
    const char *from[2] = {a.config, path};
    if (file_join(path, a.out, "run.json", err) < 0) return -1;
    for (int resume = 0; resume < 2; resume++) {
        if (!from[resume] || (resume && !file_exists(path))) continue;
        if (resume && a.config) return err_set(err, "%s is there already: leave out --config to go on with it", path);
        json_t *o = json_read_file(from[resume], 1 << 20, err), *settings = json_object_get(o, "settings");
        int r = !o ? -1
                : !json_is_object(settings)
                    ? err_set(err, "%s: no \"settings\": not a run.json of mdm pretrain", from[resume])
                    : 0;
        if (r == 0) r = apply(settings, from[resume], given, resume, err);
        json_decref(o);
        if (r < 0) return -1;
    }
    if (!a.model) return err_set(err, "--model is missing: a name ('mdm models' lists them) or a config.json");
    if (!a.data) return err_set(err, "--data is missing: a folder made by 'mdm prepare'");
    if ((a.flops > 0) + (a.tokens > 0) + (a.steps > 0) != 1)
        return err_set(err, "give one of --flops, --tokens and --steps");
    return 0;
}

struct inputs {
    struct loader_source sources[SOURCES_MAX];
    int count;
    char *text;
    struct config config;
    struct tokenizer *tokenizer; /* NULL: none */
};

/* "DIR=2,DIR" → sources. */
static int parse_sources(struct inputs *in, struct err *err) {
    in->text = mem_strdup(a.data, err);
    if (!in->text) return -1;
    for (char *save = NULL, *p = strtok_r(in->text, ",", &save); p; p = strtok_r(NULL, ",", &save)) {
        char *equals = strrchr(p, '='), *end = NULL;
        if (in->count == SOURCES_MAX) return err_set(err, "--data: more than %d folders", SOURCES_MAX);
        struct loader_source *s = &in->sources[in->count++];
        *s = (struct loader_source){.path = p, .weight = 1};
        if (!equals || file_exists(p)) continue;
        *equals = 0;
        s->weight = strtod(equals + 1, &end);
        if (*end || end == equals + 1 || !(s->weight > 0) || !isfinite(s->weight))
            return err_set(err, "--data %s=%s: expected a weight above 0 after '='", p, equals + 1);
    }
    return in->count ? 0 : err_set(err, "--data is empty: expected a folder");
}

static int find_model(struct inputs *in, struct err *err) {
    const char *where = a.tokenizer ? a.tokenizer : in->sources[0].path;
    struct err none = {{0}};
    struct tokenizer *t = in->tokenizer = tokenizer_load(where, a.tokenizer ? err : &none);
    if (!t && a.tokenizer) return -1;
    if (!t && !file_exists(where)) return err_set(err, "--data: no such folder: '%s'", where);
    if (!t && a.vocab < 1)
        return err_set(err, "%s holds no tokenizer: name it with --tokenizer, or its size with --vocab", where);
    const int64_t vocab = a.vocab > 0 ? a.vocab : tokenizer_vocab_size(t);
    int r = config_load(&in->config, a.model, (enum family)a.objective, vocab, err);
    if (r == 0 && (int)in->config.family != a.objective)
        r = err_set(err, "%s is a configuration of family %s, but --objective is %s", a.model,
                    family_names[in->config.family], family_names[a.objective]);
    if (r == 0 && a.length > in->config.block_size)
        r = err_set(err, "--length %lld: the model's block size is %lld", (long long)a.length,
                    (long long)in->config.block_size);
    if (r == 0 && t) {
        in->config.bos_id = tokenizer_bos(t);
        in->config.eos_id = tokenizer_eos(t);
    }
    return r;
}

static int64_t total_steps(const struct config *c) {
    const double mean = objective_mean_length(a.length, a.random_length);
    if (a.flops > 0) return schedule_steps_for_flops(a.flops, params_body(c), a.batch, mean);
    if (a.tokens > 0) return schedule_steps_for_tokens(a.tokens, a.batch, mean);
    return a.steps;
}

/* run.json: every setting as it was resolved; config.json; the tokenizer. */
static int write_run(const struct inputs *in, const struct trainer_settings *s, struct err *err) {
    char path[FILE_PATH_MAX];
    json_t *settings = json_object(), *o = json_object(), *c = config_to_json(&in->config);
    for (int i = 0; i < OPTIONS; i++) {
        char value[FILE_PATH_MAX];
        spell(&opts[i], value, sizeof value);
        json_object_set_new(settings, opts[i].name, json_string(value));
    }
    json_object_set_new(o, "mdm", json_string("pretrain"));
    json_object_set_new(o, "settings", settings);
    json_object_set_new(o, "steps", json_integer(s->schedule.steps));
    json_object_set_new(o, "warmup", json_integer(s->schedule.warmup));
    json_object_set_new(o, "min_lr", json_real(s->schedule.min_lr));
    json_object_set_new(o, "parameters", json_integer(params_all(&in->config)));
    json_object_set_new(o, "parameters_body", json_integer(params_body(&in->config)));
    json_object_set_new(o, "processor", json_string(cpu_model()));
    int r = file_join(path, a.out, "run.json", err) < 0 ? -1 : json_write_file(path, o, err);
    if (r == 0) r = file_join(path, a.out, "config.json", err) < 0 ? -1 : json_write_file(path, c, err);
    if (r == 0 && in->tokenizer) r = tokenizer_copy(in->tokenizer, a.out, err);
    json_decref(o);
    json_decref(c);
    return r;
}

static int open_loader(struct loader **l, const struct inputs *in, enum split split, int window, struct err *err) {
    const struct loader_settings set = {.split = split,
                                        .block = a.length + 1,
                                        .vocab = in->config.vocab_size,
                                        .tokenizer = in->tokenizer ? tokenizer_digest(in->tokenizer) : NULL,
                                        .window = window,
                                        .seed = (uint64_t)a.seed};
    return loader_open(l, in->sources, in->count, &set, err);
}

static void tell_start(const struct trainer_settings *s, const struct loader *train) {
    if (progress_quiet) return;
    const double tokens = (double)(s->schedule.steps * s->batch) * objective_mean_length(s->length, s->random_length);
    fprintf(stderr,
            "%s, %.1f M parameters (N = %.1f M), %lld steps of %lld × %lld tokens = %.3g tokens, %.2g FLOPs, %s, %d "
            "threads\n",
            family_names[s->config.family], (double)params_all(&s->config) / 1e6, (double)params_body(&s->config) / 1e6,
            (long long)s->schedule.steps, (long long)s->batch, (long long)s->length, tokens,
            6 * tokens * (double)params_body(&s->config),
            s->precision == DTYPE_F32 ? "f32"
            : gemm_native_bf16()      ? "bf16"
                                      : "bf16 (multiplied as f32: this processor has no bf16 arithmetic)",
            gemm_threads());
    const double passes = loader_epoch(train, s->schedule.steps * s->batch);
    if (passes > 1) fprintf(stderr, "note: the run passes over its data %.1f times\n", passes);
}

static int train(struct inputs *in, struct trainer_result *result, struct err *err) {
    struct trainer_settings s = {.config = in->config,
                                 .run = a.out,
                                 .precision = a.precision == 0 ? DTYPE_BF16 : DTYPE_F32,
                                 .seed = (uint64_t)a.seed,
                                 .batch = a.batch,
                                 .micro_batch = a.micro_batch,
                                 .length = a.length,
                                 .random_length = a.random_length,
                                 .beta1 = a.beta1,
                                 .beta2 = a.beta2,
                                 .eps = a.eps,
                                 .weight_decay = a.weight_decay,
                                 .clip = a.clip,
                                 .recompute = a.recompute,
                                 .save_every = a.save_every,
                                 .eval_every = a.eval_every,
                                 .keep = a.keep,
                                 .valid_sequences = a.valid_sequences,
                                 .mc = a.mc};
    if ((s.machine_rate = linear_rate(s.precision, err)) < 0) return -1;
    s.schedule.steps = total_steps(&in->config);
    s.schedule.warmup = a.warmup > 0 ? a.warmup : schedule_warmup(s.schedule.steps);
    s.schedule.lr = a.lr;
    s.schedule.min_lr = a.min_lr > 0 ? a.min_lr : a.lr / 10;
    if (s.schedule.steps < 1)
        return err_set(err, "the budget is below one step of %lld sequences: raise it, or lower --batch",
                       (long long)a.batch);
    struct loader *loader, *valid = NULL;
    if (open_loader(&loader, in, SPLIT_TRAIN, BLOCK_WINDOW, err) < 0) return -1;
    int r = open_loader(&valid, in, SPLIT_VALIDATION, 0, err);
    if (valid && loader_blocks(valid) < s.valid_sequences) s.valid_sequences = loader_blocks(valid);
    if (r == 0) r = file_mkdirs(a.out, err);
    if (r == 0) r = write_run(in, &s, err);
    if (r == 0) {
        tell_start(&s, loader);
        r = trainer_run(&s, loader, valid, result, err);
    }
    loader_close(valid);
    loader_close(loader);
    return r;
}

static int run(int argc, char **argv) {
    struct err err = {{0}};
    struct inputs in = {0};
    struct trainer_result result;
    struct opt_given given;
    int noperands, status;
    if (!cmd_options(&cmd_pretrain, opts, argc, argv, &noperands, &given, &status)) return status;
    int r = settle(&given, &err);
    if (r == 0) r = kernels_init(&err);
    if (r == 0) r = gemm_init(cpu_threads_for(a.threads), &err);
    if (r == 0) r = parse_sources(&in, &err);
    if (r == 0) r = find_model(&in, &err);
    stop_install();
    if (r == 0) r = train(&in, &result, &err);
    tokenizer_free(in.tokenizer);
    mem_free(in.text);
    if (r < 0) return cmd_fail("pretrain", &err);
    if (!progress_quiet || result.end == TRAINER_DIVERGED) fprintf(stderr, "%s\n", result.message);
    if (result.end == TRAINER_STOPPED) return 128 + stop_signal();
    return result.end == TRAINER_DIVERGED ? 1 : 0;
}

const struct command cmd_pretrain = {
    "pretrain", "train a masked diffusion or autoregressive model from scratch", NULL,
    "mdm pretrain --objective mdm --model 6 --data data --out run --flops 1e15 --batch 16 --length 512\n"
    "mdm pretrain --out run                 # go on after a stop",
    run};
