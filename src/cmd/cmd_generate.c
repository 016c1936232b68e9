/* cmd_generate: options of `mdm generate`, its starting sequence, and the forms of its output. The samplers are infer/.
 */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/progress.h"
#include "cmd/cmd.h"
#include "cmd/lm_options.h"
#include "cmd/show.h"
#include "infer/engine.h"
#include "infer/generate_arm.h"
#include "infer/generate_mdm.h"
#include "text/prompt.h"
#include "text/tokenizer.h"
#include "text/utf8.h"

enum { DEFAULT_NEW = 64, PUBLISHED_END = 2, UNKNOWN = -2 };
enum output { OUTPUT_TEXT, OUTPUT_IDS, OUTPUT_JSON };

struct args {
    struct lm_args model;
    const char *prompt, *prompt_ids, *infill;
    int64_t length, steps, count, seed, end_id;
    double temperature, cfg;
    int sampler, output;
    bool show;
};

struct job {
    const struct args *a;
    struct lm *model;
    struct engine engine;
    struct ids start;          /* prompt, or prompt and masks */
    int64_t length;            /* total */
    int32_t *ids;              /* [count · length] */
    int64_t *starts, *lengths; /* [count + 1], [count] */
    struct generate_stats stats;
    double seconds;
    struct show show;
};

/* ---- the start ---- */

static int parse_ids(struct ids *out, const char *s, struct err *err) {
    for (const char *at = s; *at;) {
        char *end;
        const long long id = strtoll(at, &end, 10);
        if (end == at || (*end && *end != ',') || id < 0 || id > INT32_MAX)
            return err_set(err, "--prompt-ids must be whole numbers with commas between, such as 1,2,3; found '%s'", s);
        if (ids_push(out, (int32_t)id, err) < 0) return -1;
        at = *end ? end + 1 : end;
    }
    return 0;
}

static int check_options(const struct args *a, const struct opt_given *given, struct err *err) {
    if (opt_given(given, "prompt") + opt_given(given, "prompt-ids") + opt_given(given, "infill") != 1)
        return err_set(err, "give one of --prompt TEXT, --prompt-ids 1,2,3 and --infill TEXT");
    if (opt_given(given, "show") && a->count > 1) return err_set(err, "--show draws one sample: leave out --count");
    return 0;
}

/* Options that a model of this family has no use for. */
static int check_family(const struct job *j, const struct opt_given *given, struct err *err) {
    static const char *const mdm_only[] = {"infill", "steps", "sampler", "cfg"};
    if (j->model->weights.config.family == FAMILY_MDM)
        return opt_given(given, "end-id")
                   ? err_set(err, "--end-id is for autoregressive models; this one is of family mdm")
                   : 0;
    for (int i = 0; i < 4; i++)
        if (opt_given(given, mdm_only[i]))
            return err_set(err, "--%s is for models of family mdm; this one is autoregressive", mdm_only[i]);
    return 0;
}

static int make_start(struct job *j, struct err *err) {
    const struct args *a = j->a;
    const struct config *c = &j->model->weights.config;
    int status;
    if (a->prompt_ids)
        status = parse_ids(&j->start, a->prompt_ids, err);
    else if (a->infill)
        status = prompt_gaps(j->model->tokenizer, a->infill, (int32_t)c->mask_id, &j->start, err);
    else
        status = prompt_encode(j->model->tokenizer, a->prompt, (int64_t)strlen(a->prompt), &j->start, err);
    /* Before a document stands the end of another. */
    if (status == 0 && a->prompt && j->start.n == 0 && c->family == FAMILY_ARM &&
        tokenizer_eos(j->model->tokenizer) >= 0)
        status = ids_push(&j->start, tokenizer_eos(j->model->tokenizer), err);
    if (status < 0) return -1;
    const int64_t n = j->start.n, most = c->block_size;
    j->length = a->length ? a->length : a->infill ? n : n + DEFAULT_NEW < most ? n + DEFAULT_NEW : n < most ? most : n;
    if (j->length < n)
        return err_set(err, "--length %" PRId64 " is shorter than the prompt, which has %" PRId64 " tokens", j->length,
                       n);
    if (j->length > most)
        return err_set(err,
                       "a total length of %" PRId64
                       " does not fit the model, whose longest sequence (block_size) is %" PRId64,
                       j->length, most);
    return j->length > 0 ? 0 : err_set(err, "nothing to start from: the text has no tokens and no gap");
}

static int lay_out(struct job *j, struct err *err) {
    const int64_t count = j->a->count, n = j->start.n;
    j->ids = mem_alloc(count * j->length, sizeof *j->ids, "samples", err);
    j->starts = mem_alloc(count + 1, sizeof *j->starts, "samples", err);
    j->lengths = mem_alloc(count, sizeof *j->lengths, "samples", err);
    if (!j->ids || !j->starts || !j->lengths) return -1;
    for (int64_t s = 0; s < count; s++) {
        int32_t *ids = j->ids + s * j->length;
        if (n > 0) memcpy(ids, j->start.v, (size_t)n * sizeof *ids);
        for (int64_t i = n; i < j->length; i++) ids[i] = (int32_t)j->model->weights.config.mask_id;
        j->starts[s + 1] = (s + 1) * j->length;
        j->lengths[s] = n;
    }
    return 0;
}

/* ---- sampling ---- */

static void show_step(void *ctx, int64_t seq, int64_t step, const int32_t *ids) {
    struct job *j = ctx;
    (void)seq; /* there is one */
    char label[64];
    snprintf(label, sizeof label, "step %" PRId64 "/%" PRId64, step + 1, j->a->steps);
    show_draw(&j->show, label, ids, j->length);
}

static void show_token(void *ctx, int64_t seq, int64_t length) {
    struct job *j = ctx;
    char label[64];
    snprintf(label, sizeof label, "token %" PRId64 "/%" PRId64, length, j->length);
    show_draw(&j->show, label, j->ids + j->starts[seq], length);
}

static int sample_mdm(struct job *j, struct err *err) {
    const struct args *a = j->a;
    const struct generate_mdm g = {.sampler = (enum sampler)a->sampler,
                                   .steps = a->steps,
                                   .temperature = a->temperature,
                                   .cfg = a->cfg,
                                   .seed = (uint64_t)a->seed,
                                   .step = a->show ? show_step : NULL,
                                   .ctx = j};
    if (generate_mdm(&j->engine, &g, j->ids, NULL, j->starts, a->count, &j->stats, err) < 0) return -1;
    for (int64_t s = 0; s < a->count; s++) j->lengths[s] = j->length;
    return 0;
}

/* The one asked for, the config's, the tokenizer's, the published models'. */
static int32_t end_id(const struct job *j) {
    const int64_t of_config = j->model->weights.config.eos_id;
    if (j->a->end_id != UNKNOWN) return (int32_t)j->a->end_id;
    if (of_config >= 0) return (int32_t)of_config;
    return j->model->tokenizer ? tokenizer_eos(j->model->tokenizer) : PUBLISHED_END;
}

static int sample_arm(struct job *j, struct err *err) {
    const struct args *a = j->a;
    const struct generate_arm g = {.temperature = a->temperature,
                                   .end_id = end_id(j),
                                   .seed = (uint64_t)a->seed,
                                   .step = a->show ? show_token : NULL,
                                   .ctx = j};
    return generate_arm(&j->engine, &g, j->ids, j->starts, j->lengths, a->count, &j->stats, err);
}

static int sample(struct job *j, struct err *err) {
    const struct args *a = j->a;
    const bool guided = a->cfg > 0, mdm = j->model->weights.config.family == FAMILY_MDM;
    const struct engine_settings s = {
        .precision = j->model->precision, .max_rows = engine_rows(a->count, j->length, guided), .guided = guided};
    if (engine_open(&j->engine, &j->model->weights, &s, err) < 0) return -1;
    if (a->show && show_open(&j->show, j->model->tokenizer, (int32_t)j->model->weights.config.mask_id, err) < 0)
        return -1;
    const double start = clock_seconds();
    if ((mdm ? sample_mdm : sample_arm)(j, err) < 0) return -1;
    j->seconds = clock_seconds() - start;
    return 0;
}

/* ---- output ---- */

/* The text of ids, without those the tokenizer does not know (masks, the padding of the vocabulary). */
static int decode(const struct tokenizer *t, const int32_t *ids, int64_t n, struct bytes *out, struct err *err) {
    struct ids known = {0};
    int status = 0;
    for (int64_t i = 0; i < n && status == 0; i++)
        if (ids[i] < tokenizer_vocab_size(t)) status = ids_push(&known, ids[i], err);
    if (status == 0) status = tokenizer_decode(t, known.v, known.n, false, out, err);
    ids_free(&known);
    return status;
}

static int print_json(const struct job *j, const int32_t *ids, int64_t n, struct err *err) {
    struct bytes raw = {0}, text = {0};
    json_t *o = json_object(), *list = json_array();
    int status = 0;
    for (int64_t i = 0; i < n; i++) json_array_append_new(list, json_integer(ids[i]));
    if (j->model->tokenizer) {
        status = decode(j->model->tokenizer, ids, n, &raw, err);
        if (status == 0) status = utf8_clean(&text, raw.v ? raw.v : "", raw.n, err);
        if (status == 0) json_object_set_new(o, "text", json_stringn(text.v ? text.v : "", (size_t)text.n));
    }
    json_object_set_new(o, "ids", list);
    json_object_set_new(o, "prompt_tokens", json_integer(j->start.n));
    json_object_set_new(o, "nfe", json_integer(j->stats.nfe));
    char *line = status == 0 ? json_dumps(o, JSON_COMPACT) : NULL;
    if (line)
        puts(line);
    else if (status == 0)
        status = err_set(err, "out of memory for a line of JSON");
    free(line);
    json_decref(o);
    bytes_free(&raw);
    bytes_free(&text);
    return status;
}

static int print_sample(const struct job *j, int64_t s, struct err *err) {
    const int32_t *ids = j->ids + j->starts[s];
    const int64_t n = j->lengths[s];
    if (j->a->output == OUTPUT_JSON) return print_json(j, ids, n, err);
    if (j->a->output == OUTPUT_IDS) {
        for (int64_t i = 0; i < n; i++) printf("%s%d", i ? "," : "", ids[i]);
        printf("\n");
        return 0;
    }
    struct bytes text = {0};
    const int status = decode(j->model->tokenizer, ids, n, &text, err);
    if (status == 0) {
        fwrite(text.v ? text.v : "", 1, (size_t)text.n, stdout);
        printf("\n");
    }
    bytes_free(&text);
    return status;
}

static void tell(const struct job *j) {
    const struct generate_stats *s = &j->stats;
    progress_say(NULL, "nfe %" PRId64 " (%.4g forwards run per sample), %" PRId64 " tokens in %.3f s, %.1f tokens/s",
                 s->nfe, (double)s->evaluations / (double)j->a->count, s->tokens, j->seconds,
                 j->seconds > 0 ? (double)s->tokens / j->seconds : 0.0);
}

static int work(struct job *j, const struct opt_given *given, struct err *err) {
    if (check_family(j, given, err) < 0 || make_start(j, err) < 0 || lay_out(j, err) < 0 || sample(j, err) < 0)
        return -1;
    for (int64_t s = 0; s < j->a->count; s++)
        if (print_sample(j, s, err) < 0) return -1;
    tell(j);
    return 0;
}

static int run(int argc, char **argv) {
    struct err err = {0};
    struct args a = {.model = LM_ARGS, .steps = 64, .count = 1, .end_id = UNKNOWN, .sampler = SAMPLER_CONFIDENCE};
    const struct opt opts[] = {
        LM_OPTIONS(a.model),
        {"prompt", OPT_STR, &a.prompt, "TEXT", "text to go on from"},
        {"prompt-ids", OPT_STR, &a.prompt_ids, "1,2,3", "token ids to go on from, used as they are"},
        {"infill", OPT_STR, &a.infill, "TEXT", "text with gaps: each [[n]] is n tokens to be written (mdm)"},
        {"length", OPT_INT, &a.length, "N",
         "total length in tokens, prompt included; 0: prompt + 64, or the --infill text", .max = 1e9},
        {"steps", OPT_INT, &a.steps, "N", "sampling steps (mdm)", .min = 1, .max = 1e9},
        {"sampler", OPT_CHOICE, &a.sampler, "ancestral|confidence", "which positions a step reveals (mdm)"},
        {"temperature", OPT_REAL, &a.temperature, "T", "0: the most probable token", .max = 1e6},
        {"cfg", OPT_REAL, &a.cfg, "W", "strength of guidance towards the prompt (mdm)", .max = 1e6},
        {"count", OPT_INT, &a.count, "N", "samples", .min = 1, .max = 1e6},
        {"seed", OPT_INT, &a.seed, "N", "samples are a function of it", .max = 0x1p53},
        {"end-id", OPT_INT, &a.end_id, "ID",
         "where a sample ends (arm); -1: nowhere; -2: as the config or tokenizer says, else 2", .min = -2,
         .max = INT32_MAX},
        {"output", OPT_CHOICE, &a.output, "text|ids|json", "form of the samples; the prompt is part of them"},
        {"show", OPT_FLAG, &a.show, NULL, "draw the sequence while it is written"},
        {0}};
    struct opt_given given;
    int noperands, status;
    if (!cmd_options(&cmd_generate, opts, argc, argv, &noperands, &given, &status)) return status;
    if (check_options(&a, &given, &err) < 0) return cmd_fail("generate", &err);
    struct lm model;
    const bool text = !a.prompt_ids || (opt_given(&given, "output") && a.output == OUTPUT_TEXT);
    if (lm_open(&model, &a.model, text, &err) < 0) return cmd_fail("generate", &err);
    if (!model.tokenizer && a.output == OUTPUT_TEXT) a.output = OUTPUT_IDS;
    struct job j = {.a = &a, .model = &model};
    status = work(&j, &given, &err) < 0 ? cmd_fail("generate", &err) : 0;
    show_close(&j.show);
    engine_close(&j.engine);
    mem_free(j.ids);
    mem_free(j.starts);
    mem_free(j.lengths);
    ids_free(&j.start);
    lm_close(&model);
    return status;
}

const struct command cmd_generate = {
    "generate", "write text with a model", NULL,
    "mdm generate --weights run --prompt 'A glass of' --steps 64 --show\n"
    "mdm generate --weights run --infill 'A [[4]] of milk' --count 5 --temperature 1\n"
    "mdm generate --weights mdm-170M.safetensors --model 170 --tokenizer tokenizer.model --prompt 'Once' --cfg 0.5",
    run};
