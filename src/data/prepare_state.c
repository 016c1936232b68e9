/* prepare_state: saves and finds again where a preparation stands. It knows files and names, not the pipeline. */
#include "data/prepare_state.h"

#include <ctype.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/input.h"
#include "base/jsonl.h"
#include "base/lock.h"
#include "base/mem.h"
#include "comm/comm.h"
#include "data/chunk.h"
#include "data/chunkset.h"
#include "text/tokenizer.h"

enum { JSON_MAX = 256 << 20, VERSION = 1, CHUNK_NAMES = 440 };
static const int64_t any = INT64_MAX;

/* ---- names ---- */

static bool good_name(const char *name) {
    for (const char *p = name; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr("-+", *p)) return false;
    return name[0] && strlen(name) < 80;
}

static bool starts(const char *s, const char *with) {
    return strncmp(s, with, strlen(with)) == 0;
}

static const char *base_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static int state_path(char out[FILE_PATH_MAX], const struct prepare_state *st, struct err *err) {
    char name[256];
    snprintf(name, sizeof name, "prepare_%s.json", st->set);
    return file_join(out, st->s->out, name, err);
}

static int tail_path(char out[FILE_PATH_MAX], const struct prepare_state *st, int stream, int64_t generation,
                     struct err *err) {
    char name[256];
    snprintf(name, sizeof name, "prepare_%s.%d.%lld.tail", st->set, stream, (long long)generation);
    return file_join(out, st->s->out, name, err);
}

/* ---- what the run is ---- */

static json_t *settings_json(const struct prepare_state *st) {
    const struct prepare_settings *s = st->s;
    json_t *o = json_pack("{s:b, s:b, s:f, s:I, s:I, s:I}", "bos", s->bos, "eos", s->eos, "validation", s->validation,
                          "limit_documents", (json_int_t)s->limit_documents, "limit_tokens",
                          (json_int_t)s->limit_tokens, "chunk_tokens", (json_int_t)s->chunk_tokens);
    int r = o ? 0 : -1;
    if (o && s->reader.separator) r |= json_object_set_new(o, "separator", json_string(s->reader.separator));
    if (o && s->reader.text_field) r |= json_object_set_new(o, "text_field", json_string(s->reader.text_field));
    json_t *skip = o && s->reader.skip ? json_array() : NULL;
    for (int i = 0; skip && s->reader.skip[i]; i++) r |= json_array_append_new(skip, json_string(s->reader.skip[i]));
    if (skip) r |= json_object_set_new(o, "skip", skip);
    if (r == 0) return o;
    json_decref(o);
    return NULL;
}

/* A file's bytes, of more than `SAMPLES` pieces those pieces alone, spread evenly from its first byte to its last. Times
 * of change are left out: a copy of the files is the same data. */
static int hash_contents(uint64_t *h, const char *path, struct err *err) {
    enum { PIECE = 4096, SAMPLES = 8 };
    struct input in;
    char buf[PIECE];
    int r = input_open(&in, path, err);
    for (int64_t i = 0; i < SAMPLES && r == 0; i++) {
        const bool all = in.size <= SAMPLES * PIECE;
        const int64_t at = all ? i * PIECE : (in.size - PIECE) * i / (SAMPLES - 1);
        const int64_t n = in.size - at < PIECE ? in.size - at : PIECE;
        if (n <= 0) break;
        r = input_read(&in, buf, n, at, err);
        if (r == 0) *h = hash_add(*h, buf, (size_t)n);
    }
    input_close(&in);
    return r;
}

/* A digest of all that the bytes of the chunks depend on. Files count by name, size and contents, not by folder. */
static int identify(struct prepare_state *st, struct err *err) {
    json_t *settings = settings_json(st);
    char *text = settings ? json_dumps(settings, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    json_decref(settings);
    if (!text) return err_set(err, "prepare: no memory for the settings, or one of them is not UTF-8");
    uint64_t h = hash_add(HASH_START, text, strlen(text));
    free(text);
    const char *digest = tokenizer_digest(st->tokenizer);
    h = hash_add(h, digest, strlen(digest) + 1);
    h = hash_add(h, st->set, strlen(st->set) + 1);
    for (int64_t i = 0; i < st->s->sources->n; i++) {
        const char *name = base_name(st->s->sources->paths[i]);
        h = hash_add(h, name, strlen(name) + 1);
        h = hash_add(h, &st->s->sources->sizes[i], sizeof st->s->sources->sizes[i]);
        if (hash_contents(&h, st->s->sources->paths[i], err) < 0) return -1;
    }
    snprintf(st->identity, sizeof st->identity, "%016llx", (unsigned long long)hash_finish(h));
    return 0;
}

/* All chunks of a set that is there, for advice; `both`: it has a validation share. */
static const char *chunk_names(char out[CHUNK_NAMES], const struct prepare_state *st, bool both) {
    const int end = snprintf(out, CHUNK_NAMES, "%s_*.bin", st->set);
    if (both) snprintf(out + end, CHUNK_NAMES - (size_t)end, " and %s_*.bin", st->prefix[PREPARE_VALIDATION]);
    return out;
}

/* ---- the manifest ---- */

/* The manifest's object, or a new one when there is none yet. */
static json_t *manifest_read(const struct prepare_state *st, char path[FILE_PATH_MAX], struct err *err) {
    if (file_join(path, st->s->out, "manifest.json", err) < 0) return NULL;
    if (file_exists(path)) return chunkset_manifest(path, err);
    json_t *m = json_pack("{s:s, s:i, s:{}}", "format", "mdm-chunks", "version", VERSION, "sets");
    if (!m) err_set(err, "%s: no memory", path);
    return m;
}

/* 1 when the manifest has this set, made the same way; 0 when it has not. */
static int manifest_has(const struct prepare_state *st, struct err *err) {
    char path[FILE_PATH_MAX];
    const char *identity = "";
    char chunks[CHUNK_NAMES], use[CHUNK_NAMES + 100];
    json_t *m = manifest_read(st, path, err), *sets = json_object_get(m, "sets"), *set = json_object_get(sets, st->set);
    int r = m ? set != NULL : -1;
    if (set && json_get_str(set, "identity", &identity, true, path, err) < 0) r = -1;
    snprintf(use, sizeof use, "choose another --out or --name, or delete %s there and %s",
             chunk_names(chunks, st, json_object_size(json_object_get(set, "streams")) > 1),
             json_object_size(sets) > 1 ? "the set's entry in manifest.json" : "manifest.json");
    if (r > 0 && strcmp(identity, st->identity) != 0)
        r = err_set(err,
                    "%s already has a finished set '%s' made with other settings, files or tokenizer, or by an older "
                    "version: %s",
                    st->s->out, st->set, use);
    struct err lost;
    if (r > 0 && chunkset_check(st->s->out, set, path, &lost) < 0) r = err_set(err, "%s: %s", lost.msg, use);
    json_decref(m);
    return r;
}

static int stream_named(const struct prepare_state *st, const char *stream) {
    for (int i = 0; i < st->streams; i++)
        if (strcmp(stream, st->prefix[i]) == 0) return i;
    return -1;
}

/* The stream that a file of a saved position stands for: prepare_{set}.json for the set itself, a tail of its second
 * stream for validation_{name}. false: for none. */
static bool saved_stream(const char *file, char set[256], char stream[300]) {
    char second[4];
    if (sscanf(file, "prepare_%255[^.]", set) != 1) return false;
    const char *rest = file + strlen("prepare_") + strlen(set), *name = strchr(set, '_');
    snprintf(second, sizeof second, ".%d.", PREPARE_VALIDATION);
    const bool tail = starts(rest, second);
    if (!name || (!tail && strcmp(rest, ".json") != 0)) return false;
    snprintf(stream, 300, "%s%s", tail ? "validation" : "", tail ? name : set);
    return true;
}

/* A stream of another set, finished or begun: this run would write over its files. */
static int check_streams(const struct prepare_state *st, struct err *err) {
    char path[FILE_PATH_MAX], set[256], stream[300], file[300], **files;
    const char *name;
    int64_t n;
    json_t *m = manifest_read(st, path, err), *finished;
    int r = m ? 0 : -1;
    json_object_foreach(json_object_get(m, "sets"), name, finished) {
        for (int i = 0; i < st->streams && r == 0; i++)
            if (strcmp(name, st->set) != 0 && json_object_get(json_object_get(finished, "streams"), st->prefix[i]))
                r = err_set(err, "%s already has %s_*.bin, of the set '%s': choose another --out or --name", st->s->out,
                            st->prefix[i], name);
    }
    json_decref(m);
    if (r < 0 || file_list(&files, &n, st->s->out, err) < 0) return -1;
    for (int64_t i = 0; i < n && r == 0; i++) {
        if (!saved_stream(files[i], set, stream) || strcmp(set, st->set) == 0 || stream_named(st, stream) < 0) continue;
        snprintf(file, sizeof file, "prepare_%s.json", set);
        r = file_join(path, st->s->out, file, err);
        if (r == 0 && file_exists(path))
            r = err_set(
                err,
                "%s: the unfinished set '%s' writes %s_*.bin, too: choose another --out or --name, or delete %s "
                "and the set's files",
                st->s->out, set, stream, file);
    }
    file_list_free(files, n);
    return r;
}

/* The sets of a folder have one tokenizer, and its file lies beside them. */
static int check_tokenizer(const struct prepare_state *st, struct err *err) {
    char path[FILE_PATH_MAX];
    const char *name, *digest = "", *mine = tokenizer_digest(st->tokenizer);
    json_t *m = manifest_read(st, path, err), *set;
    int r = m ? 0 : -1;
    json_object_foreach(json_object_get(m, "sets"), name, set) {
        if (r == 0) r = json_get_str(json_object_get(set, "tokenizer"), "digest", &digest, true, path, err);
        if (r > 0 && strcmp(digest, mine) != 0)
            r = err_set(err, "%s holds the set '%s' of another tokenizer (digest %s, not %s): choose another --out",
                        st->s->out, name, digest, mine);
        if (r > 0) r = 0;
    }
    json_decref(m);
    if (r < 0 || !tokenizer_there(st->s->out)) return r;
    struct tokenizer *there = tokenizer_load(st->s->out, err);
    if (!there) return -1;
    if (strcmp(tokenizer_digest(there), mine) != 0)
        r = err_set(err, "%s is another tokenizer than %s: choose another --out", tokenizer_path(there),
                    tokenizer_path(st->tokenizer));
    tokenizer_free(there);
    return r;
}

static json_t *set_json(const struct prepare_state *st, const int64_t last[PREPARE_STREAMS]) {
    const struct sources *src = st->s->sources;
    const struct prepare_counts *c = &st->counts;
    json_t *files = json_array(), *streams = json_object();
    int lost = 0;
    for (int64_t i = 0; i < src->n; i++)
        lost |= json_array_append_new(
            files, json_pack("{s:s, s:I}", "path", src->paths[i], "bytes", (json_int_t)src->sizes[i]));
    for (int i = 0; i < st->streams; i++)
        lost |= json_object_set_new(streams, st->prefix[i],
                                    json_pack("{s:I, s:I, s:I, s:I}", "documents", (json_int_t)c->stream[i].documents,
                                              "tokens", (json_int_t)c->stream[i].tokens, "files",
                                              (json_int_t)c->stream[i].files, "tokens_in_shorter_last_file",
                                              (json_int_t)last[i]));
    if (lost) {
        json_decref(files);
        json_decref(streams);
        return NULL;
    }
    return json_pack("{s:s, s:{s:s, s:I, s:s}, s:o, s:o, s:{s:I, s:I, s:I, s:I, s:I}, s:o}", "identity", st->identity,
                     "tokenizer", "digest", tokenizer_digest(st->tokenizer), "vocab",
                     (json_int_t)tokenizer_vocab_size(st->tokenizer), "file", tokenizer_name(st->tokenizer), "settings",
                     settings_json(st), "streams", streams, "counts", "documents", (json_int_t)c->documents, "skipped",
                     (json_int_t)c->skipped, "empty", (json_int_t)c->empty, "text_bytes", (json_int_t)c->text_bytes,
                     "tokens", (json_int_t)c->tokens, "sources", files);
}

static int manifest_add(const struct prepare_state *st, const int64_t last[PREPARE_STREAMS], struct err *err) {
    char path[FILE_PATH_MAX];
    json_t *m = manifest_read(st, path, err), *set = m ? set_json(st, last) : NULL;
    int r = -1;
    if (m && !set)
        err_set(err, "%s: no memory for it", path);
    else if (m && json_object_set_new(json_object_get(m, "sets"), st->set, set) < 0)
        err_set(err, "%s: no memory for it", path);
    else if (m)
        r = json_write_file(path, m, err);
    json_decref(m);
    return r;
}

/* ---- the saved position ---- */

struct count { /* a count, as the state file names it */
    const char *name;
    int64_t *value;
};
enum { COUNTS = 14 };

/* All numbers of the state, in one table for writing and reading. */
static void state_counts(struct prepare_state *st, struct count f[COUNTS]) {
    struct prepare_counts *c = &st->counts;
    const struct count table[COUNTS] = {
        {"generation", &st->generation},
        {"file", &c->file},
        {"record", &c->record},
        {"documents", &c->documents},
        {"skipped", &c->skipped},
        {"empty", &c->empty},
        {"text_bytes", &c->text_bytes},
        {"tokens", &c->tokens},
        {"main_documents", &c->stream[PREPARE_MAIN].documents},
        {"main_tokens", &c->stream[PREPARE_MAIN].tokens},
        {"main_files", &c->stream[PREPARE_MAIN].files},
        {"validation_documents", &c->stream[PREPARE_VALIDATION].documents},
        {"validation_tokens", &c->stream[PREPARE_VALIDATION].tokens},
        {"validation_files", &c->stream[PREPARE_VALIDATION].files},
    };
    memcpy(f, table, sizeof table);
}

static void remove_tails(const struct prepare_state *st, int64_t generation) {
    char path[FILE_PATH_MAX];
    struct err ignored;
    for (int i = 0; i < st->streams; i++)
        if (tail_path(path, st, i, generation, &ignored) == 0) unlink(path);
}

int prepare_state_save(struct prepare_state *st, struct err *err) {
    char path[FILE_PATH_MAX];
    struct count f[COUNTS];
    st->generation++;
    for (int i = 0; i < st->streams; i++) {
        st->counts.stream[i].files = chunk_writer_files(st->writer[i]);
        if (tail_path(path, st, i, st->generation, err) < 0 || chunk_writer_save_pending(st->writer[i], path, err) < 0)
            return -1;
    }
    state_counts(st, f);
    json_t *o =
        json_pack("{s:s, s:i, s:s}", "format", "mdm-prepare-state", "version", VERSION, "identity", st->identity);
    for (int i = 0; i < COUNTS; i++) json_object_set_new(o, f[i].name, json_integer(*f[i].value));
    int r = o ? state_path(path, st, err) : err_set(err, "prepare: no memory to save the position");
    if (r == 0) r = json_write_file(path, o, err);
    json_decref(o);
    if (r == 0) remove_tails(st, st->generation - 1);
    return r;
}

/* The chunks that are finished as the saved position says. */
static int check_finished(const struct prepare_state *st, int stream, struct err *err) {
    char name[CHUNK_NAME_MAX], path[FILE_PATH_MAX];
    for (int64_t i = 0; i < st->counts.stream[stream].files; i++) {
        struct chunk c;
        chunk_name(name, st->prefix[stream], 0, i);
        if (file_join(path, st->s->out, name, err) < 0 || chunk_open(&c, path, err) < 0) return -1;
        const int64_t tokens = c.tokens;
        chunk_close(&c);
        if (tokens != st->s->chunk_tokens)
            return err_set(err, "%s: %lld tokens of %lld", path, (long long)tokens, (long long)st->s->chunk_tokens);
    }
    return 0;
}

/* The pending tokens of the saved generation into a fresh writer. */
static int restore(struct prepare_state *st, int stream, struct err *err) {
    char path[FILE_PATH_MAX];
    struct chunk c;
    if (tail_path(path, st, stream, st->generation, err) < 0 || chunk_open(&c, path, err) < 0) return -1;
    int64_t vocab = tokenizer_vocab_size(st->tokenizer), done = st->counts.stream[stream].files;
    int32_t *ids = mem_alloc(c.tokens, sizeof *ids, "saved tokens", err);
    int r = -1;
    if (c.tokens >= st->s->chunk_tokens || c.tokens + done * st->s->chunk_tokens != st->counts.stream[stream].tokens)
        err_set(err, "%s: %lld tokens do not fit the saved position", path, (long long)c.tokens);
    else if (ids && chunk_read(&c, 0, c.tokens, ids, vocab, path, err) == 0)
        r = chunk_writer_restore(st->writer[stream], done, ids, c.tokens, err);
    mem_free(ids);
    chunk_close(&c);
    return r;
}

static bool has_chunks(const struct prepare_state *st) {
    char name[CHUNK_NAME_MAX], path[FILE_PATH_MAX];
    struct err ignored;
    for (int i = 0; i < PREPARE_STREAMS; i++) {
        chunk_name(name, st->prefix[i], 0, 0);
        if (file_join(path, st->s->out, name, &ignored) == 0 && file_exists(path)) return true;
    }
    return false;
}

/* 1: it is taken up; 0: it is another run's, which has finished no chunk yet: it is forgotten. */
static int state_parse(struct prepare_state *st, const json_t *o, const char *path, struct err *err) {
    struct count f[COUNTS];
    const char *identity;
    char chunks[CHUNK_NAMES];
    char tail[FILE_PATH_MAX];
    int64_t version = 0;
    if (json_get_int(o, "version", &version, VERSION, VERSION, true, path, err) < 0 ||
        json_get_str(o, "identity", &identity, true, path, err) < 0)
        return -1;
    state_counts(st, f);
    for (int i = 0; i < COUNTS; i++)
        if (json_get_int(o, f[i].name, f[i].value, 0, any, true, path, err) < 0) return -1;
    if (tail_path(tail, st, PREPARE_VALIDATION, st->generation, err) < 0) return -1;
    chunk_names(chunks, st, file_exists(tail));
    const bool same = strcmp(identity, st->identity) == 0;
    if (!same && !has_chunks(st)) {
        st->counts = (struct prepare_counts){0};
        return 0;
    }
    if (!same)
        return err_set(
            err,
            "%s: an unfinished run with other settings, files or tokenizer: run that again to finish it, or delete "
            "this file and %s to begin anew",
            path, chunks);
    for (int i = 0; i < PREPARE_STREAMS; i++)
        if (st->counts.stream[i].files > any / CHUNK_TOKENS_MAX)
            return err_set(err, "%s: stands behind %lld finished files, more than there can be", path,
                           (long long)st->counts.stream[i].files);
    if (st->counts.file > st->s->sources->n)
        return err_set(err, "%s: stands at file %lld of %lld", path, (long long)st->counts.file,
                       (long long)st->s->sources->n);
    struct err lost;
    for (int i = 0; i < st->streams; i++)
        if (check_finished(st, i, &lost) < 0)
            return err_set(err, "%s: bring it back as it was, or delete %s and %s to begin anew", lost.msg, path,
                           chunks);
    return 1;
}

/* 1 when a saved position was taken up, 0 when there is none. */
static int state_load(struct prepare_state *st, struct err *err) {
    char path[FILE_PATH_MAX];
    if (state_path(path, st, err) < 0) return -1;
    if (!file_exists(path)) return 0;
    json_t *o = json_read_file(path, JSON_MAX, err);
    int r = o ? state_parse(st, o, path, err) : -1;
    json_decref(o);
    for (int i = 0; i < st->streams && r > 0; i++)
        if (restore(st, i, err) < 0) r = -1;
    return r;
}

/* ---- the folder ---- */

/* Removes what a killed run left behind: half-written files, tails that the saved position does not name; after a
 * finished run all that was saved. A chunk that neither manifest nor saved position explains is an error. */
static int tidy(const struct prepare_state *st, bool resumed, bool complete, struct err *err) {
    char **names, path[FILE_PATH_MAX], mine[256], chunk[PREPARE_STREAMS][256], tail[64];
    int64_t count;
    file_sweep(st->s->out);
    int r = file_list(&names, &count, st->s->out, err);
    if (r < 0) return -1;
    snprintf(mine, sizeof mine, "prepare_%s.", st->set);
    snprintf(tail, sizeof tail, ".%lld.tail", (long long)st->generation);
    for (int i = 0; i < PREPARE_STREAMS; i++) snprintf(chunk[i], sizeof chunk[i], "%s_0_", st->prefix[i]);
    for (int64_t i = 0; i < count && r == 0; i++) {
        const char *name = names[i];
        bool of_chunk = starts(name, chunk[0]) || (st->streams > 1 && starts(name, chunk[1]));
        bool of_state = starts(name, mine);
        bool old_tail = of_state && strstr(name, ".tail") && !strstr(name, tail);
        if (of_chunk && !resumed && !complete)
            r = err_set(err,
                        "%s already has %s, and neither a manifest nor a saved position that explains it: choose "
                        "another --out or --name, or delete it",
                        st->s->out, name);
        else if ((old_tail || (of_state && !resumed)) && file_join(path, st->s->out, name, err) == 0)
            unlink(path);
    }
    file_list_free(names, count);
    return r;
}

static int name_set(struct prepare_state *st, struct err *err) {
    const struct prepare_settings *s = st->s;
    if (!good_name(s->split) || !good_name(s->name))
        return err_set(err, "split '%s' and name '%s': expected letters, digits, '-' and '+'", s->split, s->name);
    if (!(s->validation >= 0 && s->validation < 1))
        return err_set(err, "validation share %g: expected 0 or more and less than 1", s->validation);
    if (s->validation > 0 && strcmp(s->split, "validation") == 0)
        return err_set(err, "--validation takes documents away for the split 'validation': name the split otherwise");
    st->streams = s->validation > 0 ? 2 : 1;
    snprintf(st->set, sizeof st->set, "%s_%s", s->split, s->name);
    snprintf(st->prefix[0], sizeof st->prefix[0], "%s", st->set);
    snprintf(st->prefix[1], sizeof st->prefix[1], "validation_%s", s->name);
    return 0;
}

static int open_folder(struct prepare_state *st, bool *resumed, bool *complete, struct err *err) {
    const struct prepare_settings *s = st->s;
    if (file_mkdirs(s->out, err) < 0 || (st->lock = lock_take(s->out, err)) < 0) return -1;
    int r = manifest_has(st, err);
    if (r < 0 || check_streams(st, err) < 0 || check_tokenizer(st, err) < 0) return -1;
    *complete = r > 0;
    if (*complete) return tidy(st, false, true, err) < 0 ? -1 : tokenizer_copy(st->tokenizer, s->out, err);
    for (int i = 0; i < st->streams; i++) {
        st->writer[i] =
            chunk_writer_open(s->out, st->prefix[i], 0, tokenizer_vocab_size(st->tokenizer), s->chunk_tokens, err);
        if (!st->writer[i]) return -1;
    }
    r = state_load(st, err);
    *resumed = r > 0;
    if (r < 0 || tidy(st, *resumed, false, err) < 0) return -1;
    return *resumed ? 0 : prepare_state_save(st, err);
}

int prepare_state_open(struct prepare_state *st, const struct prepare_settings *s, const struct tokenizer *t,
                       bool *resumed, bool *complete, struct err *err) {
    char first[sizeof st->identity];
    *st = (struct prepare_state){.s = s, .tokenizer = t, .lock = -1};
    *resumed = *complete = false;
    int r = name_set(st, err) < 0 || identify(st, err) < 0 ? -1 : 0;
    memcpy(first, st->identity, sizeof first);
    comm_tell(first, sizeof first);
    if (r == 0 && strcmp(first, st->identity) != 0)
        r = err_set(err, "rank 0 sees other files, settings or another tokenizer");
    if (comm_settle(r, err) < 0) return -1;
    if (comm_settle(comm_rank() == 0 ? open_folder(st, resumed, complete, err) : 0, err) < 0) return -1;
    comm_tell(resumed, sizeof *resumed);
    comm_tell(complete, sizeof *complete);
    comm_tell(&st->counts, sizeof st->counts);
    return 0;
}

int prepare_state_finish(struct prepare_state *st, int64_t last[PREPARE_STREAMS], struct err *err) {
    for (int i = 0; i < st->streams; i++) {
        last[i] = chunk_writer_pending(st->writer[i]);
        int r = chunk_writer_close(st->writer[i], &st->counts.stream[i].files, NULL, err);
        st->writer[i] = NULL;
        if (r < 0) return -1;
    }
    if (tokenizer_copy(st->tokenizer, st->s->out, err) < 0 || manifest_add(st, last, err) < 0) return -1;
    prepare_state_forget(st);
    return 0;
}

void prepare_state_forget(struct prepare_state *st) {
    char path[FILE_PATH_MAX];
    struct err ignored;
    if (state_path(path, st, &ignored) == 0) unlink(path);
    remove_tails(st, st->generation);
}

void prepare_state_close(struct prepare_state *st) {
    for (int i = 0; i < PREPARE_STREAMS; i++) chunk_writer_abort(st->writer[i]);
    lock_release(st->lock);
    st->lock = -1;
}
