/* cmd_tokenizer: `mdm tokenizer train|encode|decode`: options, and JSON lines in and out. The work is text/. */
#include <inttypes.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "base/file.h"
#include "base/jsonl.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/progress.h"
#include "cmd/cmd.h"
#include "data/reader.h"
#include "data/sources.h"
#include "text/bpe_train.h"
#include "text/tokenizer.h"

#define THREADS_OPTION(value)                                                                                          \
    { "threads", OPT_INT, &(value), "N", "0: all cores; results do not depend on it", .min = 0, .max = CPU_THREADS }
enum { SPECIALS = 64, BATCH = 512, BATCH_BYTES = 4 << 20 };

/* The documents of all files, one after another, for bpe_train(). */
struct corpus {
    const struct sources *sources;
    struct reader_settings settings;
    struct reader *reader;
    int64_t file, documents, text_bytes;
    double file_bytes; /* of the files before this one */
    struct progress progress;
};

static int next_document(void *ctx, const char **text, int64_t *n, struct err *err) {
    struct corpus *c = ctx;
    struct document doc;
    for (;;) {
        if (!c->reader) {
            if (c->file == c->sources->n) return 0;
            c->reader = reader_open(c->sources->paths[c->file], &c->settings, err);
            if (!c->reader) return -1;
        }
        int more = reader_next(c->reader, &doc, err);
        progress_at(&c->progress, c->file_bytes + (double)reader_bytes(c->reader), NULL);
        if (more < 0) return -1;
        if (more > 0) {
            *text = doc.text;
            *n = doc.n;
            c->documents++;
            c->text_bytes += doc.n;
            return 1;
        }
        reader_close(c->reader);
        c->reader = NULL;
        c->file_bytes += (double)c->sources->sizes[c->file++];
    }
}

/* "a,b" -> {"a", "b", NULL}; cuts `list` up. */
static int split_list(char *list, const char *out[SPECIALS + 1], struct err *err) {
    int n = 0;
    char *rest = NULL;
    for (char *s = strtok_r(list, ",", &rest); s; s = strtok_r(NULL, ",", &rest)) {
        if (n == SPECIALS) return err_set(err, "--special: more than %d tokens", SPECIALS);
        out[n++] = s;
    }
    out[n] = NULL;
    return 0;
}

static int train(int argc, char **argv);
static int encode(int argc, char **argv);
static int decode(int argc, char **argv);

static const struct command verbs[] = {
    {"tokenizer train", "learn a byte-level BPE vocabulary from text and write a tokenizer.json", "FILE...",
     "mdm tokenizer train --vocab 8k --out tokenizer.json stories.txt more.jsonl.zst", train},
    {"tokenizer encode", "read lines {\"text\": ...}, write lines {\"ids\": [...]}", "[FILE]",
     "echo '{\"text\": \"Once upon a time\"}' | mdm tokenizer encode --tokenizer tokenizer.json", encode},
    {"tokenizer decode", "read lines {\"ids\": [...]}, write lines {\"text\": ...}", "[FILE]",
     "echo '{\"ids\": [9038, 2501, 263, 931]}' | mdm tokenizer decode --tokenizer tokenizer.json", decode},
    {0},
};

static int train(int argc, char **argv) {
    struct err err = {0};
    struct sources sources = {0};
    struct corpus c = {.sources = &sources};
    struct bpe_train_settings s = {.vocab_size = 32000, .min_count = 2};
    const char *out = NULL, *special = "<|endoftext|>", *said = NULL, *names[SPECIALS + 1];
    int64_t threads = 0;
    char separator[READER_SEPARATOR_MAX + 1];
    const struct opt opts[] = {
        {"vocab", OPT_INT, &s.vocab_size, "N", "tokens, the 256 bytes and the special ones included", .min = 257,
         .max = 1e6},
        {"out", OPT_STR, &out, "FILE", "the tokenizer.json to write", .required = true},
        {"special", OPT_STR, &special, "A,B,...", "special tokens, ids from 0; <|endoftext|> or </s> ends a document"},
        {"min-count", OPT_INT, &s.min_count, "N", "pairs rarer than this are not merged", .min = 1, .max = 1e9},
        {"separator", OPT_STR, &said, "TEXT",
         "plain text: what divides documents; \\n, \\t, \\r, \\\\ are understood (default: a blank line)"},
        {"text-field", OPT_STR, &c.settings.text_field, "NAME", "jsonl, Parquet: the member that holds the text"},
        THREADS_OPTION(threads),
        {0}};
    int n, status;
    if (!cmd_options(&verbs[0], opts, argc, argv, &n, NULL, &status)) return status;
    omp_set_num_threads(cpu_threads_for(threads));
    char *list = mem_strdup(special, &err);
    int r = list ? split_list(list, names, &err) : -1;
    if (r == 0) r = reader_separator(separator, said, &c.settings, &err);
    s.specials = names;
    if (r == 0 && n == 0) r = err_set(&err, "no files of text given; 'mdm tokenizer train --help' shows an example");
    for (int i = 1; i <= n && r == 0; i++) r = sources_add(&sources, argv[i], &err);
    if (r == 0) r = sources_check(&sources, &err);
    if (r == 0) {
        progress_start(&c.progress, "tokenizer", "MB", (double)sources.bytes, 1e-6);
        r = bpe_train(out, &s, next_document, &c, &err);
    }
    reader_close(c.reader);
    struct tokenizer *t = r == 0 ? tokenizer_load(out, &err) : NULL;
    if (t) {
        int64_t made = tokenizer_vocab_size(t);
        printf("%s: %" PRId64 " tokens from %" PRId64 " document%s, %.2f MB", out, made, c.documents,
               plural(c.documents), (double)c.text_bytes * 1e-6);
        if (made < s.vocab_size) {
            printf("; fewer than %" PRId64 ": no more pairs come %" PRId64 " times", s.vocab_size, s.min_count);
        }
        printf("\n");
    }
    status = t ? 0 : cmd_fail("tokenizer", &err);
    tokenizer_free(t);
    sources_free(&sources);
    mem_free(list);
    return status;
}

/* What encode and decode share. */
struct lines {
    const char *path;
    bool bos, eos, keep_special;
    int64_t threads;
    struct tokenizer *tokenizer;
    struct jsonl *in;
};

static int lines_open(struct lines *l, const char *file, struct err *err) {
    l->tokenizer = tokenizer_load(l->path, err);
    if (!l->tokenizer) return -1;
    if (l->bos && tokenizer_bos(l->tokenizer) < 0) return err_set(err, "--bos: %s has no begin token", l->path);
    if (l->eos && tokenizer_eos(l->tokenizer) < 0) return err_set(err, "--eos: %s has no end token", l->path);
    l->in = jsonl_open(file, err);
    return l->in ? 0 : -1;
}

static int lines_close(struct lines *l, int r, const struct err *err) {
    tokenizer_free(l->tokenizer);
    jsonl_close(l->in);
    return r < 0 ? cmd_fail("tokenizer", err) : 0;
}

/* A batch of lines: read in order, worked on by all threads, written in order. */
struct line {
    json_t *in;
    struct bytes out;
    struct err err;
    int failed;
    char where[FILE_PATH_MAX + 64];
};

/* printf is a third of the time here. */
static int append_id(struct bytes *b, int32_t id, struct err *err) {
    char text[12], *p = text + sizeof text;
    do *--p = (char)('0' + id % 10);
    while (id /= 10);
    return bytes_push(b, p, text + sizeof text - p, err);
}

static int encode_line(const struct lines *l, struct line *k, struct ids *ids) {
    const json_t *text = json_object_get(k->in, "text");
    struct bytes *out = &k->out;
    ids->n = 0;
    if (l->bos && ids_push(ids, tokenizer_bos(l->tokenizer), &k->err) < 0) return -1;
    if (tokenizer_encode(l->tokenizer, json_string_value(text), (int64_t)json_string_length(text), ids, &k->err) < 0) {
        return -1;
    }
    if (l->eos && ids_push(ids, tokenizer_eos(l->tokenizer), &k->err) < 0) return -1;
    if (bytes_push(out, "{\"ids\":[", 8, &k->err) < 0) return -1;
    for (int64_t i = 0; i < ids->n; i++) {
        if (i > 0 && bytes_push(out, ",", 1, &k->err) < 0) return -1;
        if (append_id(out, ids->v[i], &k->err) < 0) return -1;
    }
    return bytes_push(out, "]}\n", 3, &k->err);
}

static void encode_batch(const struct lines *l, struct line *batch, int n) {
#pragma omp parallel
    {
        struct ids ids = {0};
#pragma omp for schedule(dynamic, 1)
        for (int i = 0; i < n; i++) {
            batch[i].out.n = 0;
            batch[i].failed = encode_line(l, &batch[i], &ids);
        }
        ids_free(&ids);
    }
}

/* Read up to a batch, or to where the input pauses: whoever writes it may wait for the answers. *n lines, also when one
 * more could not be read. 1: there may be more. */
static int read_batch(const struct lines *l, struct line *batch, int *n, struct err *err) {
    size_t bytes = 0;
    int more = 1;
    for (*n = 0; *n < BATCH && bytes < BATCH_BYTES && (*n == 0 || !jsonl_waits(l->in)); ++*n) {
        const char *text;
        int64_t length;
        json_t *v;
        if ((more = jsonl_next(l->in, &v, err)) <= 0) break;
        if (json_get_text(v, "text", &text, &length, true, jsonl_where(l->in), err) < 0) {
            json_decref(v);
            return -1;
        }
        batch[*n].in = v;
        snprintf(batch[*n].where, sizeof batch->where, "%s", jsonl_where(l->in));
        bytes += (size_t)length;
    }
    return more;
}

static int encode_all(const struct lines *l, struct err *err) {
    struct line *batch = mem_alloc(BATCH, sizeof *batch, "lines", err);
    if (!batch) return -1;
    int more = 1;
    while (more > 0) {
        int n;
        more = read_batch(l, batch, &n, err);
        encode_batch(l, batch, n);
        bool failed = false;
        for (int i = 0; i < n; i++) {
            if (batch[i].failed && !failed) {
                *err = batch[i].err;
                err_prefix(err, "%s", batch[i].where);
                failed = true;
            }
            if (!failed) fwrite(batch[i].out.v, 1, (size_t)batch[i].out.n, stdout);
            json_decref(batch[i].in);
        }
        if (failed || (more >= 0 && cmd_flush(err) < 0)) more = -1;
    }
    for (int i = 0; i < BATCH; i++) bytes_free(&batch[i].out);
    mem_free(batch);
    return more;
}

static int encode(int argc, char **argv) {
    struct err err = {0};
    struct lines l = {0};
    const struct opt opts[] = {
        {"tokenizer", OPT_STR, &l.path, "PATH", "tokenizer file or its folder", .required = true},
        {"bos", OPT_FLAG, &l.bos, NULL, "put the begin token before each text"},
        {"eos", OPT_FLAG, &l.eos, NULL, "put the end token behind each text"},
        THREADS_OPTION(l.threads),
        {0}};
    int n, status;
    if (!cmd_options(&verbs[1], opts, argc, argv, &n, NULL, &status)) return status;
    omp_set_num_threads(cpu_threads_for(l.threads));
    int r = n > 1 ? err_set(&err, "expected one file, found %d", n) : lines_open(&l, n ? argv[1] : "-", &err);
    if (r == 0) r = encode_all(&l, &err);
    return lines_close(&l, r, &err);
}

static int decode_line(const struct lines *l, const json_t *v, struct bytes *text, struct err *err) {
    int32_t *ids = NULL;
    int64_t n = 0;
    int64_t size = tokenizer_vocab_size(l->tokenizer);
    text->n = 0;
    if (json_get_ids(v, "ids", &ids, &n, size, true, jsonl_where(l->in), err) < 0) return -1;
    int r = tokenizer_decode(l->tokenizer, ids, n, l->keep_special, text, err);
    mem_free(ids);
    if (r < 0) return err_prefix(err, "%s", jsonl_where(l->in));
    json_t *out = json_pack("{s:s%}", "text", text->n ? text->v : "", (size_t)text->n);
    char *line = json_dumps(out, JSON_COMPACT);
    r = line ? 0 : err_set(err, "%s: out of memory", jsonl_where(l->in));
    if (line) puts(line);
    free(line);
    json_decref(out);
    return r;
}

static int decode(int argc, char **argv) {
    struct err err = {0};
    struct lines l = {0};
    struct bytes text = {0};
    const struct opt opts[] = {
        {"tokenizer", OPT_STR, &l.path, "PATH", "tokenizer file or its folder", .required = true},
        {"keep-special", OPT_FLAG, &l.keep_special, NULL, "write special tokens too"},
        {0}};
    int n, status;
    if (!cmd_options(&verbs[2], opts, argc, argv, &n, NULL, &status)) return status;
    int r = n > 1 ? err_set(&err, "expected one file, found %d", n) : lines_open(&l, n ? argv[1] : "-", &err);
    json_t *v = NULL;
    while (r == 0 && (r = jsonl_next(l.in, &v, &err)) > 0) {
        r = decode_line(&l, v, &text, &err);
        json_decref(v);
        if (r == 0 && (ferror(stdout) || jsonl_waits(l.in))) r = cmd_flush(&err);
    }
    bytes_free(&text);
    return lines_close(&l, r, &err);
}

static int run(int argc, char **argv) {
    return cmd_verb(&cmd_tokenizer, verbs, argc, argv);
}

const struct command cmd_tokenizer = {
    "tokenizer", "train a tokenizer, or turn text into token ids and back", "train|encode|decode ...",
    "mdm tokenizer train --vocab 8k --out tokenizer.json stories.txt\n"
    "echo '{\"text\": \"Once upon a time\"}' | mdm tokenizer encode --tokenizer tokenizer.json --eos\n"
    "mdm tokenizer decode --tokenizer tokenizer.json ids.jsonl\n"
    "mdm tokenizer train --help",
    run};
