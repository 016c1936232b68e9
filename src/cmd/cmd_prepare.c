/* cmd_prepare: options and presets of `mdm prepare`, and the account it gives at the end. The work is data/prepare. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/cpu.h"
#include "base/file.h"
#include "base/num.h"
#include "base/progress.h"
#include "base/stop.h"
#include "cmd/cmd.h"
#include "comm/comm.h"
#include "data/chunk.h"
#include "data/prepare.h"
#include "text/tokenizer.h"

struct prepare_args {
    const char *tokenizer, *out, *split, *name, *text_field, *separator;
    const char *skip[READER_SKIPS_MAX + 1];
    double validation;
    bool bos, eos;
    int64_t limit_documents, limit_tokens, chunk_tokens, threads;
    int preset;
};

/* What the published experiments did; an option given on the command line comes before it. */
static const struct preset {
    const char *name, *text_field, *skip;
    bool bos, eos;
    int64_t chunk_tokens, limit_tokens;
} presets[] = {
    {"slimpajama", "text", "meta.redpajama_set_name=RedPajamaGithub", false, true, CHUNK_TOKENS, 0},
    {"starcoder", "content", NULL, false, true, CHUNK_TOKENS, 0},
    /* the temporal-shift test: the first 100 * 1024 * 2048 tokens of a snapshot, documents with begin and without end
       id */
    {"fineweb", "text", NULL, true, false, 2048 * 1024, 100 * 1024 * 2048},
    {"plain", NULL, NULL, false, true, CHUNK_TOKENS, 0},
    {0},
};

static void apply_preset(struct prepare_args *a, const struct opt_given *given) {
    const struct preset *p = &presets[a->preset];
    if (!opt_given(given, "name")) a->name = p->name;
    if (!opt_given(given, "text-field")) a->text_field = p->text_field;
    if (!opt_given(given, "skip")) a->skip[0] = p->skip;
    if (!opt_given(given, "bos")) a->bos = p->bos;
    if (!opt_given(given, "eos")) a->eos = p->eos;
    if (!opt_given(given, "chunk-tokens")) a->chunk_tokens = p->chunk_tokens;
    if (!opt_given(given, "limit-tokens")) a->limit_tokens = p->limit_tokens;
}

static void tell_stream(const struct prepare_settings *s, const struct prepare_result *r, int i) {
    const char *split = i == PREPARE_MAIN ? s->split : "validation";
    if (r->counts.stream[i].files == 0) {
        printf("%s_%s: no documents\n", split, s->name);
        return;
    }
    printf("%s_%s: %" PRId64 " document%s, %" PRId64 " tokens in %" PRId64 " chunk file%s of %" PRId64 " tokens", split,
           s->name, r->counts.stream[i].documents, plural(r->counts.stream[i].documents), r->counts.stream[i].tokens,
           r->counts.stream[i].files, plural(r->counts.stream[i].files), s->chunk_tokens);
    if (r->last[i] > 0) printf("; the last one is shorter: %" PRId64, r->last[i]);
    printf("\n");
}

static void tell(const struct prepare_settings *s, const struct prepare_result *r) {
    const struct prepare_counts *c = &r->counts;
    if (r->complete) {
        printf("%s: already complete, made with these settings and files: nothing to do\n", s->out);
        return;
    }
    for (int i = 0; i <= (s->validation > 0); i++) tell_stream(s, r, i);
    printf("%" PRId64 " document%s, %.2f MB of text, %" PRId64 " left out, %" PRId64 " empty", c->documents,
           plural(c->documents), (double)c->text_bytes * 1e-6, c->skipped, c->empty);
    char time[32];
    clock_format(time, r->seconds);
    double tokens = (double)(c->tokens - r->tokens_before);
    printf("; %s, %.2f MB/s of files, %.0f k tokens/s%s%s\n", time, (double)r->bytes_read * 1e-6 / r->seconds,
           tokens * 1e-3 / r->seconds, r->resumed ? "; went on from a saved position" : "",
           r->limited ? "; ended by the limit" : "");
}

static int prepare(const struct prepare_args *a, const struct sources *src, struct prepare_result *result,
                   struct err *err) {
    char separator[READER_SEPARATOR_MAX + 1];
    struct prepare_settings s = {.out = a->out,
                                 .split = a->split,
                                 .name = a->name,
                                 .sources = src,
                                 .validation = a->validation,
                                 .bos = a->bos,
                                 .eos = a->eos,
                                 .limit_documents = a->limit_documents,
                                 .limit_tokens = a->limit_tokens,
                                 .chunk_tokens = a->chunk_tokens,
                                 .threads = cpu_threads_for(a->threads),
                                 .save_seconds = 3,
                                 .reader = {.text_field = a->text_field, .skip = a->skip[0] ? a->skip : NULL}};
    if (reader_separator(separator, a->separator, &s.reader, err) < 0) return -1;
    struct tokenizer *t = tokenizer_load(a->tokenizer, err);
    int r = comm_settle(t ? 0 : -1, err);
    if (r == 0) r = prepare_run(&s, t, result, err);
    tokenizer_free(t);
    if (r == 0 && !result->stopped) tell(&s, result);
    return r;
}

static int run(int argc, char **argv) {
    struct prepare_args a = {.split = "train", .eos = true, .chunk_tokens = CHUNK_TOKENS, .preset = 3};
    char names[OPT_NAMES];
    const struct opt opts[] = {
        {"tokenizer", OPT_STR, &a.tokenizer, "FILE", "tokenizer file or folder", .required = true},
        {"out", OPT_STR, &a.out, "DIR", "folder for the chunk files and manifest.json", .required = true},
        {"split", OPT_STR, &a.split, "NAME", "first part of the chunk files' names"},
        {"name", OPT_STR, &a.name, "NAME", "second part of their names (default: the preset)"},
        {"validation", OPT_REAL, &a.validation, "SHARE",
         "share of documents for the split 'validation', chosen by their hash", .min = 0, .max = 0.999},
        {"text-field", OPT_STR, &a.text_field, "FIELD",
         "jsonl, Parquet: where the text is, e.g. content or doc.body (default: text, else content)"},
        {"skip", OPT_LIST, a.skip, "FIELD=VALUE", "jsonl, Parquet: leave out documents that say so",
         .max = READER_SKIPS_MAX},
        {"separator", OPT_STR, &a.separator, "TEXT",
         "plain text: what divides documents; \\n, \\t, \\r, \\\\ are understood (default: a blank line)"},
        {"bos", OPT_FLAG, &a.bos, NULL, "begin id before each document"},
        {"eos", OPT_FLAG, &a.eos, NULL, "end id after each document"},
        {"limit-documents", OPT_INT, &a.limit_documents, "N", "stop after N documents (0: all)", .min = 0, .max = 1e15},
        {"limit-tokens", OPT_INT, &a.limit_tokens, "N", "stop after N tokens, exactly (0: all)", .min = 0, .max = 1e15},
        {"chunk-tokens", OPT_INT, &a.chunk_tokens, "N", "tokens in a chunk file", .min = 1, .max = CHUNK_TOKENS_MAX},
        {"threads", OPT_INT, &a.threads, "N", "tokenizing threads; 0: all cores; the output does not depend on it",
         .min = 0, .max = CPU_THREADS},
        {"preset", OPT_CHOICE, &a.preset, opt_names(names, presets, sizeof *presets),
         "settings of the published sources; fineweb: the temporal-shift test"},
        {0}};
    int noperands, status;
    struct opt_given given;
    if (!cmd_options(&cmd_prepare, opts, argc, argv, &noperands, &given, &status)) return status;
    struct err err = {0};
    struct sources src = {0};
    struct prepare_result result = {0};
    apply_preset(&a, &given);
    stop_install();
    stop_when_unread();
    int r = noperands > 0 ? 0 : err_set(&err, "no input: name files, folders or patterns");
    for (int i = 1; i <= noperands && r == 0; i++) r = sources_add(&src, argv[i], &err);
    if (r == 0 && src.passed > 0)
        progress_say(NULL, "mdm prepare: passed over %" PRId64 " file%s not taken for text", src.passed,
                     plural(src.passed));
    r = comm_settle(r, &err);
    if (r == 0) r = prepare(&a, &src, &result, &err);
    sources_free(&src);
    if (r < 0) return cmd_fail("prepare", &err);
    if (!result.stopped) return 0;
    progress_say(NULL, "mdm prepare: stopped after %" PRId64 " document%s; the same command goes on from here",
                 result.counts.documents, plural(result.counts.documents));
    return cmd_stopped();
}

const struct command cmd_prepare = {
    "prepare",
    "turn documents (text, jsonl, Parquet; .zst, .gz) into chunk files of tokens",
    "FILE|DIR|PATTERN...",
    "mdm prepare --tokenizer tokenizer.model --out data/slim --preset slimpajama slimpajama/train/\n"
    "mdm prepare --tokenizer tokenizer.json --out data/books --validation 0.01 --separator '<|endoftext|>' books/*.txt",
    run,
    .ranks = true,
};
