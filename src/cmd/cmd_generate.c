/* cmd_generate: options of `mdm generate`, the sequences that samples start from, and the forms of its output. The
 * samplers are infer/. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/jsonl.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/progress.h"
#include "cmd/cmd.h"
#include "cmd/lm_options.h"
#include "cmd/show.h"
#include "infer/engine.h"
#include "infer/scheduler.h"
#include "text/prompt.h"
#include "text/tokenizer.h"
#include "text/utf8.h"

enum { DEFAULT_NEW = 64, UNKNOWN = -2, GROUP = 1024 /* prompts in one queue */ };
enum output { OUTPUT_TEXT, OUTPUT_IDS, OUTPUT_JSON };

struct generate_args {
    struct lm_args model;
    const char *prompt, *prompt_ids, *infill, *prompts;
    int64_t length, steps, count, seed, end_id;
    double temperature, cfg;
    int sampler, output;
    bool show;
};

struct start {      /* what `count` samples begin with */
    struct ids ids; /* prompt, or text with masks in it */
    int64_t length; /* total */
};

struct generate_job {
    const struct generate_args *a;
    struct lm *model;
    struct engine engine;
    struct start *starts; /* of the group that is in the queue */
    int64_t nstarts, capacity;
    struct request *requests; /* [nstarts · count] */
    int32_t *ids;             /* of all requests, one after another */
    struct show show;
    /* of all groups: */
    struct progress progress;
    int64_t done, nfe, evaluations, written; /* samples; the most of one; sums */
    double seconds;
};

/* ---- the starts ---- */

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

static int check_options(const struct generate_args *a, const struct opt_given *given, struct err *err) {
    const int ways = opt_given(given, "prompt") + opt_given(given, "prompt-ids") + opt_given(given, "infill") +
                     opt_given(given, "prompts");
    if (ways != 1)
        return err_set(err, "give one of --prompt TEXT, --prompt-ids 1,2,3, --infill TEXT and --prompts FILE");
    if (a->show && (a->count > 1 || a->prompts))
        return err_set(err, "--show draws one sample: leave out --count and --prompts");
    return 0;
}

static int encode_infill(struct generate_job *j, const char *text, struct ids *out, struct err *err) {
    const struct config *c = &j->model->weights.config;
    if (c->family != FAMILY_MDM) return err_set(err, "gaps are for models of family mdm; this one is autoregressive");
    return prompt_gaps(j->model->tokenizer, text, (int32_t)c->mask_id, out, err);
}

static int encode_prompt(struct generate_job *j, const char *text, int64_t n, struct ids *out, struct err *err) {
    const struct tokenizer *t = j->model->tokenizer;
    if (prompt_encode(t, text, n, out, err) < 0) return -1;
    /* Before a document stands the end of another. */
    if (out->n > 0 || j->model->weights.config.family != FAMILY_ARM || tokenizer_eos(t) < 0) return 0;
    return ids_push(out, tokenizer_eos(t), err);
}

/* `asked`: the total length, or 0: the text with its gaps, or the prompt and some more. */
static int set_length(const struct generate_job *j, struct start *s, int64_t asked, bool gaps, struct err *err) {
    const int64_t n = s->ids.n, most = j->model->weights.config.block_size;
    s->length = asked ? asked : gaps ? n : n + DEFAULT_NEW < most ? n + DEFAULT_NEW : n < most ? most : n;
    if (s->length < n)
        return err_set(err, "a length of %" PRId64 " is shorter than the prompt, which has %" PRId64 " tokens",
                       s->length, n);
    if (s->length > most)
        return err_set(err,
                       "a total length of %" PRId64
                       " does not fit the model, whose longest sequence (block_size) is %" PRId64,
                       s->length, most);
    return 0;
}

static struct start *new_start(struct generate_job *j, struct err *err) {
    if (mem_grow(&j->starts, &j->capacity, j->nstarts + 1, sizeof *j->starts, "prompts", err) < 0) return NULL;
    j->starts[j->nstarts] = (struct start){0};
    return &j->starts[j->nstarts++];
}

static int start_from_options(struct generate_job *j, struct err *err) {
    const struct generate_args *a = j->a;
    struct start *s = new_start(j, err);
    int status = s ? 0 : -1;
    if (s && a->prompt_ids) status = parse_ids(&s->ids, a->prompt_ids, err);
    if (s && a->infill) status = encode_infill(j, a->infill, &s->ids, err);
    if (s && a->prompt) status = encode_prompt(j, a->prompt, (int64_t)strlen(a->prompt), &s->ids, err);
    return status < 0 ? -1 : set_length(j, s, a->length, a->infill != NULL, err);
}

static int start_from_line(struct generate_job *j, const json_t *o, const char *where, struct err *err) {
    const char *prompt = NULL, *infill = NULL;
    int32_t *ids = NULL;
    int64_t n = 0, nids = 0, length = j->a->length;
    struct start *s = new_start(j, err);
    if (!s || json_get_text(o, "prompt", &prompt, &n, false, where, err) < 0 ||
        json_get_str(o, "infill", &infill, false, where, err) < 0 ||
        json_get_int(o, "length", &length, 1, INT32_MAX, false, where, err) < 0 ||
        json_get_ids(o, "prompt_ids", &ids, &nids, config_embedding_rows(&j->model->weights.config), false, where,
                     err) < 0)
        return -1;
    int status = 0;
    for (int64_t i = 0; i < nids && status == 0; i++) status = ids_push(&s->ids, ids[i], err);
    mem_free(ids);
    if (status < 0) return -1;
    if ((prompt != NULL) + (infill != NULL) + (ids != NULL) != 1)
        return err_set(err, "%s: expected one of \"prompt\", \"infill\" (texts) and \"prompt_ids\"", where);
    if (!ids && !j->model->tokenizer)
        return err_set(
            err, "%s: text needs a tokenizer, and there is none beside the weights: name it with --tokenizer", where);
    if (infill) status = encode_infill(j, infill, &s->ids, err);
    if (prompt) status = encode_prompt(j, prompt, n, &s->ids, err);
    if (status == 0) status = set_length(j, s, length, infill != NULL, err);
    return status < 0 ? err_prefix(err, "%s", where) : 0;
}

/* Lines until there are GROUP, or the input pauses. 0: it has ended; -1: no more can be read behind the starts. */
static int read_group(struct generate_job *j, struct jsonl *in, struct err *err) {
    json_t *o;
    int status = 1;
    while (status > 0 && j->nstarts < GROUP && (j->nstarts == 0 || !jsonl_waits(in))) {
        if ((status = jsonl_next(in, &o, err)) <= 0) break;
        const int64_t before = j->nstarts;
        status = start_from_line(j, o, jsonl_where(in), err) < 0 ? -1 : 1;
        if (status < 0 && j->nstarts > before) ids_free(&j->starts[--j->nstarts].ids);
        json_decref(o);
    }
    return status;
}

/* ---- sampling ---- */

/* Draws what a step has changed. */
static void show_step(struct request *r) {
    struct generate_job *j = r->ctx;
    char label[64];
    if (r->sampler == &sampler_causal)
        snprintf(label, sizeof label, "token %" PRId64 "/%" PRId64, r->n, r->room);
    else
        snprintf(label, sizeof label, "step %" PRId64 "/%" PRId64, r->steps_done, r->steps);
    if (show_changed(&j->show, r->ids, r->n)) show_draw(&j->show, label, r->ids, r->n);
}

static int make_requests(struct generate_job *j, struct err *err) {
    const struct generate_args *a = j->a;
    const bool mdm = j->model->weights.config.family == FAMILY_MDM;
    const int32_t end_id = a->end_id == UNKNOWN ? lm_end_id(j->model) : (int32_t)a->end_id;
    int64_t total = 0, count = 0;
    for (int64_t i = 0; i < j->nstarts; i++) total += j->starts[i].length * a->count;
    j->requests = mem_alloc(j->nstarts * a->count, sizeof *j->requests, "samples", err);
    j->ids = mem_alloc(total, sizeof *j->ids, "samples", err);
    if (!j->requests || !j->ids) return -1;
    int32_t *ids = j->ids;
    for (int64_t i = 0; i < j->nstarts; i++)
        for (int64_t k = 0; k < a->count; k++, count++) {
            const struct start *s = &j->starts[i];
            if (s->ids.n > 0) memcpy(ids, s->ids.v, (size_t)s->ids.n * sizeof *ids);
            for (int64_t p = s->ids.n; p < s->length; p++) ids[p] = (int32_t)j->model->weights.config.mask_id;
            j->requests[count] = (struct request){.sampler = mdm ? samplers[a->sampler] : &sampler_causal,
                                                  .ids = ids,
                                                  .n = mdm ? s->length : s->ids.n,
                                                  .room = s->length,
                                                  .steps = mdm ? a->steps : s->length,
                                                  .temperature = a->temperature,
                                                  .cfg = a->cfg,
                                                  .seed = (uint64_t)a->seed,
                                                  .sample = (uint64_t)(j->done + count),
                                                  .end_id = mdm ? -1 : end_id,
                                                  .step = a->show ? show_step : NULL,
                                                  .ctx = j};
            ids += s->length;
        }
    return 0;
}

/* `all`: no later group will have longer sequences. */
static int open_engine(struct generate_job *j, bool all, struct err *err) {
    const bool guided = j->a->cfg > 0;
    int64_t longest = all ? 1 : j->model->weights.config.block_size;
    for (int64_t i = 0; i < j->nstarts; i++)
        if (j->starts[i].length > longest) longest = j->starts[i].length;
    const struct engine_settings s = {.precision = j->model->precision,
                                      .max_rows = engine_rows(j->nstarts * j->a->count, longest, guided),
                                      .guided = guided};
    return engine_open(&j->engine, &j->model->weights, &s, err);
}

static int print_sample(const struct generate_job *j, int64_t s, struct err *err);

static int take_sample(const struct generate_job *j, int64_t s, struct err *err) {
    if (scheduler_check(&j->requests[s], err) < 0)
        return err_prefix(err, "sample %" PRId64 " of those asked for", j->done + s + 1);
    return print_sample(j, s, err);
}

/* Samples are printed in order, each as soon as it and those before it are done. */
static int run_requests(struct generate_job *j, struct scheduler *s, struct err *err) {
    const int64_t n = j->nstarts * j->a->count;
    int64_t printed = 0;
    int more = 1;
    for (int64_t i = 0; i < n; i++)
        if (scheduler_add(s, &j->requests[i], err) < 0) return -1;
    while (printed < n && more > 0) {
        more = scheduler_step(s, err);
        for (; printed < n && j->requests[printed].done; printed++)
            if (take_sample(j, printed, err) < 0) return -1;
        if (!j->a->show) progress_at(&j->progress, (double)(j->done + printed), NULL);
    }
    return more;
}

static void count_group(struct generate_job *j) {
    const int64_t n = j->nstarts * j->a->count;
    for (int64_t i = 0; i < n; i++) {
        const struct request *r = &j->requests[i];
        if (r->nfe > j->nfe) j->nfe = r->nfe;
        j->evaluations += r->evaluations;
        j->written += r->written;
    }
    j->done += n;
}

static void free_group(struct generate_job *j) {
    for (int64_t i = 0; i < j->nstarts; i++) ids_free(&j->starts[i].ids);
    mem_free(j->requests);
    mem_free(j->ids);
    j->requests = NULL;
    j->ids = NULL;
    j->nstarts = 0;
}

/* All samples of the group; `all`: it is the only one. */
static int sample(struct generate_job *j, bool all, struct err *err) {
    struct scheduler *s;
    if ((!j->engine.weights && open_engine(j, all, err) < 0) || make_requests(j, err) < 0) return -1;
    if (j->a->show && show_open(&j->show, j->model->tokenizer, (int32_t)j->model->weights.config.mask_id, j->ids,
                                j->requests[0].n, err) < 0)
        return -1;
    if (scheduler_open(&s, &j->engine, SCHEDULER_STORES, err) < 0) return -1;
    if (j->done == 0)
        progress_start(&j->progress, "generate", "samples", all ? (double)(j->nstarts * j->a->count) : 0, 1);
    const double start = clock_seconds();
    const int status = run_requests(j, s, err);
    j->seconds += clock_seconds() - start;
    scheduler_close(s);
    if (status == 0) count_group(j);
    return status;
}

/* Answers each group before it reads on, and what stands before a bad line before that is told. */
static int sample_prompts(struct generate_job *j, struct err *err) {
    struct jsonl *in = jsonl_open(j->a->prompts, err);
    int status = in ? 1 : -1;
    while (status > 0) {
        status = read_group(j, in, err);
        const struct err why = *err;
        if (status < 0 && j->nstarts == 0) break;
        if (sample(j, status <= 0 && j->done == 0, err) < 0)
            status = -1;
        else if (status < 0)
            *err = why;
        free_group(j);
    }
    jsonl_close(in);
    return status;
}

/* ---- output ---- */

static int print_json(const struct generate_job *j, const struct request *r, int64_t prompt_tokens, struct err *err) {
    struct bytes raw = {0}, text = {0};
    json_t *o = json_object(), *list = json_array();
    int status = 0;
    bool lost = false; /* memory was short: jansson keeps track of it, a NULL in, a negative status out */
    for (int64_t i = 0; i < r->n; i++) lost = json_array_append_new(list, json_integer(r->ids[i])) < 0 || lost;
    if (j->model->tokenizer) {
        status = lm_decode(j->model, r->ids, r->n, &raw, err);
        if (status == 0) status = utf8_clean(&text, raw.v ? raw.v : "", raw.n, err);
        if (status == 0)
            lost = json_object_set_new(o, "text", json_stringn(text.v ? text.v : "", (size_t)text.n)) < 0 || lost;
    }
    lost = json_object_set_new(o, "ids", list) < 0 || lost;
    lost = json_object_set_new(o, "prompt_tokens", json_integer(prompt_tokens)) < 0 || lost;
    lost = json_object_set_new(o, "nfe", json_integer(r->nfe)) < 0 || lost;
    char *line = status == 0 && !lost ? json_dumps(o, JSON_COMPACT) : NULL;
    if (line) {
        puts(line);
        status = cmd_flush(err);
    } else if (status == 0)
        status = err_set(err, "out of memory for a line of JSON");
    free(line);
    json_decref(o);
    bytes_free(&raw);
    bytes_free(&text);
    return status;
}

static int print_sample(const struct generate_job *j, int64_t s, struct err *err) {
    const struct request *r = &j->requests[s];
    struct bytes text = {0};
    int status = 0;
    if (j->a->output == OUTPUT_JSON) return print_json(j, r, j->starts[s / j->a->count].ids.n, err);
    if (j->a->output == OUTPUT_IDS) {
        for (int64_t i = 0; i < r->n; i++) printf("%s%d", i ? "," : "", r->ids[i]);
    } else {
        status = lm_decode(j->model, r->ids, r->n, &text, err);
        if (status == 0) fwrite(text.v ? text.v : "", 1, (size_t)text.n, stdout);
    }
    if (status == 0) printf("\n");
    bytes_free(&text);
    return status == 0 ? cmd_flush(err) : -1;
}

static void tell(struct generate_job *j) {
    const double each = j->done > 0 ? (double)j->evaluations / (double)j->done : 0;
    progress_end(&j->progress, (double)j->done, NULL);
    progress_say(NULL, "nfe %" PRId64 " (%.4g forward%s run per sample), %" PRId64 " token%s in %.3f s, %.1f tokens/s",
                 j->nfe, each, each == 1 ? "" : "s", j->written, plural(j->written), j->seconds,
                 j->seconds > 0 ? (double)j->written / j->seconds : 0.0);
}

/* Options that a model of this family has no use for. */
static int check_family(const struct generate_job *j, const struct opt_given *given, struct err *err) {
    static const char *const mdm_only[] = {"infill", "steps", "sampler", "cfg", NULL};
    static const char *const arm_only[] = {"end-id", NULL};
    const bool mdm = j->model->weights.config.family == FAMILY_MDM;
    return lm_options_unused(given, mdm ? arm_only : mdm_only, &j->model->weights.config, err);
}

static int work(struct generate_job *j, const struct opt_given *given, struct err *err) {
    if (check_family(j, given, err) < 0) return -1;
    const int status = j->a->prompts                    ? sample_prompts(j, err)
                       : start_from_options(j, err) < 0 ? -1
                                                        : sample(j, true, err);
    if (status == 0) tell(j);
    return status;
}

static int run(int argc, char **argv) {
    struct err err = {0};
    struct generate_args a = {.model = LM_ARGS, .steps = 64, .count = 1, .end_id = UNKNOWN};
    while (samplers[a.sampler] != &sampler_confidence) a.sampler++;
    const struct opt opts[] = {
        LM_OPTIONS(a.model),
        {"prompt", OPT_STR, &a.prompt, "TEXT", "text to go on from"},
        {"prompt-ids", OPT_STR, &a.prompt_ids, "1,2,3", "token ids to go on from, used as they are"},
        {"infill", OPT_STR, &a.infill, "TEXT",
         "text with gaps: each [[n]] is n tokens to be written (mdm); one space before a gap is left out, since the "
         "word that fills it brings its own"},
        {"prompts", OPT_STR, &a.prompts, "FILE",
         "JSON lines ('-': standard input), each with one of \"prompt\", \"infill\" (texts), \"prompt_ids\", and "
         "perhaps a \"length\": samples for each, in order, as soon as the input pauses"},
        {"length", OPT_INT, &a.length, "N",
         "total length in tokens, prompt included; 0: prompt + 64, or the --infill text", .max = 1e9},
        {"steps", OPT_INT, &a.steps, "N", "sampling steps (mdm)", .min = 1, .max = 1e9},
        {"sampler", OPT_CHOICE, &a.sampler, sampler_names(),
         "which positions a step writes (mdm): random ones, or those the model is surest of, by the probability of the "
         "token, its lead over the second, or the entropy of all. The surest int(open places x share of the step) are "
         "written, so the last two of a short gap often come in one step"},
        {"temperature", OPT_REAL, &a.temperature, "T", "0: the most probable token", .max = 1e6},
        {"cfg", OPT_REAL, &a.cfg, "W", "strength of guidance towards the prompt (mdm)", .max = 1e6},
        {"count", OPT_INT, &a.count, "N", "samples of each prompt", .min = 1, .max = 1e6},
        {"seed", OPT_INT, &a.seed, "N", "samples are a function of it", .max = 0x1p53},
        {"end-id", OPT_INT, &a.end_id, "ID",
         "where a sample ends (arm); -1: nowhere; -2: as the config or tokenizer says, else 2", .min = -2,
         .max = INT32_MAX},
        {"output", OPT_CHOICE, &a.output, "text|ids|json", "form of the samples; the prompt is part of them"},
        {"show", OPT_FLAG, &a.show, NULL,
         "draw the sequence on standard error while it is written: each step that changes it"},
        {0}};
    struct opt_given given;
    int noperands, status;
    if (!cmd_options(&cmd_generate, opts, argc, argv, &noperands, &given, &status)) return status;
    if (check_options(&a, &given, &err) < 0) return cmd_fail("generate", &err);
    struct lm model;
    const bool text = a.prompt || a.infill || (opt_given(&given, "output") && a.output == OUTPUT_TEXT);
    if (lm_open(&model, &a.model, text, &err) < 0) return cmd_fail("generate", &err);
    if (!model.tokenizer && a.output == OUTPUT_TEXT) a.output = OUTPUT_IDS;
    struct generate_job j = {.a = &a, .model = &model};
    status = work(&j, &given, &err) < 0 ? cmd_fail("generate", &err) : 0;
    show_close(&j.show);
    engine_close(&j.engine);
    free_group(&j);
    mem_free(j.starts);
    lm_close(&model);
    return status;
}

const struct command cmd_generate = {
    "generate", "write text with a model", NULL,
    "mdm generate --weights run --prompt 'A glass of' --steps 64 --show\n"
    "mdm generate --weights run --infill 'A [[4]] of milk' --count 5 --temperature 1\n"
    "mdm generate --weights run --prompts prompts.jsonl --output json\n"
    "mdm generate --weights mdm-170M.safetensors --model 170 --tokenizer tokenizer.model --prompt 'Once' --cfg 0.5",
    run};
