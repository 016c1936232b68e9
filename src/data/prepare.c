/* prepare: the pipeline. A ring of jobs, each some 256 KiB of records of one file, goes through three hands:
 *
 *     reader thread --filled--> worker threads --done--> caller's thread --free--> reader thread
 *
 * Jobs are taken and written in the order they were filled; that and nothing else makes the output independent of the
 * number of workers. The ring and a cap on the bytes in it bound the memory. Saving and resuming is prepare_state.c's.
 *
 * Of R ranks each reads all records, and so cuts them into the same jobs, and fills those whose number leaves its own when
 * divided by R. Done jobs go to rank 0, one of each rank at a time, which writes them.
 */
#include "data/prepare.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/cpu.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/progress.h"
#include "base/stop.h"
#include "comm/comm.h"
#include "data/chunk.h"
#include "data/prepare_state.h"
#include "text/tokenizer.h"
#include "text/utf8.h"

enum { JOB_BYTES = 256 << 10, JOB_RECORDS = 4096, KEEP_BYTES = 2 << 20, FLIGHT_BYTES = 96 << 20, ASIDE = -1 };

struct item {                       /* one record of a job, then what became of it */
    int64_t first, n, number, line; /* where in job.text; see struct record */
    int64_t ids_end, text_bytes;    /* its ids end here in job.ids */
    uint64_t hash;
    bool document, skipped;
};

struct prepare_job {
    int64_t number;           /* of all jobs of all ranks; ASIDE: none of them, it only wakes the writer */
    int64_t file, bytes_read; /* of the file, up to the end of this job */
    enum reader_form form;
    struct bytes text;
    struct item *items;
    int64_t n, capacity;
    struct ids ids;
    bool done;
    int status; /* -1: err says why; the items before it are good */
    struct err err;
};

struct pipeline {
    const struct prepare_settings *s;
    const struct tokenizer *tokenizer;
    struct prepare_state state;
    struct prepare_job *ring;
    int64_t size;                   /* of the ring */
    int64_t filled, taken, written; /* jobs so far */
    int64_t numbered;               /* and those of other ranks */
    int64_t flight;                 /* text bytes in jobs that are filled and not written */
    bool read_all, closing;
    pthread_mutex_t lock;
    pthread_cond_t room, work, done; /* the reader, the workers, the writer wait for these */
    pthread_t *threads;
    int64_t nthreads;
    double saved;           /* when */
    bool unsaved;           /* a chunk was finished since */
    struct bytes mine, all; /* jobs on their way to rank 0 */
    struct progress progress;
    int64_t *bytes_before; /* bytes of the files before each file */
    struct prepare_result *result;
};

/* ---- reading ---- */

/* Gives the filled job to the workers; waits for room in the ring. Another rank's is given to nobody, unless it tells of a
 * failure, which may be of this rank alone. false: the pipeline is closing. */
static bool publish(struct pipeline *p, struct prepare_job *job) {
    if (job->number != ASIDE) job->number = p->numbered++;
    const bool mine = job->number == ASIDE || job->number % comm_size() == comm_rank() || job->status < 0;
    pthread_mutex_lock(&p->lock);
    while (mine && !p->closing && p->flight > 0 && p->flight + job->text.n > FLIGHT_BYTES)
        pthread_cond_wait(&p->room, &p->lock);
    if (mine) {
        p->flight += job->text.n;
        p->filled++;
        pthread_cond_signal(&p->work);
    }
    bool go_on = !p->closing && job->status == 0;
    pthread_mutex_unlock(&p->lock);
    return go_on;
}

/* The next job of the ring, emptied, when the writer has left it; NULL: closing. */
static struct prepare_job *next_free(struct pipeline *p, int64_t file) {
    pthread_mutex_lock(&p->lock);
    while (!p->closing && p->filled - p->written == p->size) pthread_cond_wait(&p->room, &p->lock);
    struct prepare_job *job = p->closing ? NULL : &p->ring[p->filled % p->size];
    pthread_mutex_unlock(&p->lock);
    if (!job) return NULL;
    job->text.n = job->ids.n = job->n = job->number = 0;
    job->file = file;
    job->done = false;
    job->status = 0;
    return job;
}

static int add_record(struct prepare_job *job, const struct record *rec, struct err *err) {
    if (mem_grow(&job->items, &job->capacity, job->n + 1, sizeof *job->items, "list of records", err) < 0) return -1;
    job->items[job->n] = (struct item){
        .first = job->text.n, .n = rec->n, .number = rec->number, .line = rec->line, .skipped = !rec->data};
    if (bytes_push(&job->text, rec->data ? rec->data : "", rec->data ? rec->n : 0, err) < 0) return -1;
    job->n++;
    return 0;
}

/* Records from `first` on of one file, as jobs. false: stop reading. */
static bool read_file(struct pipeline *p, int64_t file, int64_t first) {
    struct prepare_job *job = next_free(p, file);
    if (!job) return false;
    struct reader *r = reader_open(p->s->sources->paths[file], &p->s->reader, &job->err);
    int k = r && reader_skip(r, first, &job->err) == 0 ? 1 : -1;
    bool go_on = true;
    while (go_on && k > 0) {
        struct record rec;
        job->form = reader_form(r);
        while ((k = reader_record(r, &rec, &job->err)) > 0) {
            if (rec.number < first) {
                if (!stop_asked()) continue;
                job->number = ASIDE;
                break;
            }
            if (add_record(job, &rec, &job->err) < 0) {
                k = -1;
                break;
            }
            if (job->text.n >= JOB_BYTES || job->n == JOB_RECORDS) break;
        }
        if (k <= 0) break;
        job->bytes_read = reader_bytes(r);
        go_on = publish(p, job);
        if (go_on) job = next_free(p, file);
        go_on = go_on && job;
    }
    if (k <= 0) {
        job->bytes_read = r ? reader_bytes(r) : 0;
        job->status = k;
        go_on = publish(p, job);
    }
    reader_close(r);
    return go_on;
}

static void *read_main(void *arg) {
    struct pipeline *p = arg;
    int64_t file = p->state.counts.file, first = p->state.counts.record;
    for (; file < p->s->sources->n && read_file(p, file, first); file++) first = 0;
    pthread_mutex_lock(&p->lock);
    p->read_all = true;
    pthread_cond_broadcast(&p->work);
    pthread_cond_signal(&p->done);
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

/* ---- tokenizing ---- */

static int encode(const struct pipeline *p, struct prepare_job *job, const struct document *doc, struct err *err) {
    const struct tokenizer *t = p->tokenizer;
    if (p->s->bos && ids_push(&job->ids, tokenizer_bos(t), err) < 0) return -1;
    if (tokenizer_encode(t, doc->text, doc->n, &job->ids, err) < 0)
        return err_prefix(err, "%s document %lld", p->s->sources->paths[job->file], (long long)doc->number);
    return p->s->eos ? ids_push(&job->ids, tokenizer_eos(t), err) : 0;
}

static int work_item(const struct pipeline *p, struct prepare_job *job, struct item *it, struct err *err) {
    struct record rec = {it->skipped ? NULL : job->text.v + it->first, it->n, it->number, it->line};
    struct document doc;
    void *hold;
    const char *path = p->s->sources->paths[job->file];
    int r = record_parse(&rec, job->form, path, &p->s->reader, &doc, &hold, &it->skipped, err);
    if (r > 0) {
        it->document = true;
        it->text_bytes = doc.n;
        it->hash = hash_finish(hash_add(HASH_START, doc.text, (size_t)doc.n));
        r = encode(p, job, &doc, err);
    }
    record_release(hold);
    it->ids_end = job->ids.n;
    return r;
}

/* An error ends the job before the record that has it, so that it is reported in the order of the documents. */
static void work(const struct pipeline *p, struct prepare_job *job) {
    for (int64_t i = 0; i < job->n; i++) {
        struct err err;
        if (work_item(p, job, &job->items[i], &err) >= 0) continue;
        job->n = i;
        job->status = -1;
        job->err = err;
    }
}

static void *work_main(void *arg) {
    struct pipeline *p = arg;
    pthread_mutex_lock(&p->lock);
    for (;;) {
        while (!p->closing && p->taken == p->filled && !p->read_all) pthread_cond_wait(&p->work, &p->lock);
        if (p->closing || p->taken == p->filled) break;
        struct prepare_job *job = &p->ring[p->taken++ % p->size];
        pthread_mutex_unlock(&p->lock);
        work(p, job);
        pthread_mutex_lock(&p->lock);
        job->done = true;
        pthread_cond_signal(&p->done);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

/* ---- writing ---- */

static bool for_validation(const struct prepare_settings *s, uint64_t hash) {
    return ldexp((double)(hash >> 11), -53) < s->validation;
}

/* One document to its stream. 1: a limit is reached. */
static int write_document(struct pipeline *p, const struct item *it, const int32_t *ids, int64_t n, struct err *err) {
    const struct prepare_settings *s = p->s;
    struct prepare_counts *c = &p->state.counts;
    int stream = for_validation(s, it->hash) ? PREPARE_VALIDATION : PREPARE_MAIN;
    if (s->limit_tokens > 0 && n > s->limit_tokens - c->tokens) n = s->limit_tokens - c->tokens;
    if (chunk_writer_add(p->state.writer[stream], ids, n, err) < 0) return -1;
    c->documents++;
    c->text_bytes += it->text_bytes;
    c->tokens += n;
    c->stream[stream].documents++;
    c->stream[stream].tokens += n;
    return c->documents == s->limit_documents || (s->limit_tokens > 0 && c->tokens == s->limit_tokens);
}

static int64_t finished_files(const struct prepare_state *st) {
    int64_t files = 0;
    for (int i = 0; i < st->streams; i++) files += chunk_writer_files(st->writer[i]);
    return files;
}

/* A finished chunk that the saved position does not know of yet is written again, with the same bytes, should the run
 * be killed now: so the position need not be saved with every one of them. */
static int save_sometimes(struct pipeline *p, struct err *err) {
    if (!p->unsaved || clock_seconds() - p->saved < p->s->save_seconds) return 0;
    if (prepare_state_save(&p->state, err) < 0) return -1;
    p->unsaved = false;
    p->saved = clock_seconds();
    return 0;
}

/* A job's documents in order. 1: a limit is reached. */
static int write_job(struct pipeline *p, const struct prepare_job *job, struct err *err) {
    struct prepare_counts *c = &p->state.counts;
    int64_t first = 0;
    for (int64_t i = 0; i < job->n; i++) {
        const struct item *it = &job->items[i];
        int64_t files = finished_files(&p->state);
        int r = 0;
        c->file = job->file;
        c->record = it->number + 1;
        if (it->document)
            r = write_document(p, it, job->ids.v + first, it->ids_end - first, err);
        else if (it->skipped)
            c->skipped++;
        else
            c->empty++;
        first = it->ids_end;
        p->unsaved = p->unsaved || finished_files(&p->state) > files;
        if (r == 0) r = save_sometimes(p, err);
        if (r != 0) return r;
    }
    return 0;
}

static void show(struct pipeline *p, const struct prepare_job *job) {
    double t = clock_seconds() - p->progress.started;
    double tokens = (double)p->state.counts.tokens;
    char note[100];
    snprintf(note, sizeof note, "%.2f M tokens, %.0f k tokens/s", tokens * 1e-6,
             t > 0 ? (tokens - (double)p->result->tokens_before) * 1e-3 / t : 0);
    const double at = (double)(p->bytes_before[job->file] + job->bytes_read);
    p->result->bytes_read = (int64_t)(at - p->progress.first);
    progress_at(&p->progress, at, note);
}

/* The next job when it is done; NULL: there is none. */
static struct prepare_job *next_done(struct pipeline *p) {
    pthread_mutex_lock(&p->lock);
    struct prepare_job *job = &p->ring[p->written % p->size];
    while (!(p->written < p->filled && job->done) && !(p->read_all && p->written == p->filled))
        pthread_cond_wait(&p->done, &p->lock);
    if (p->written == p->filled) job = NULL;
    pthread_mutex_unlock(&p->lock);
    return job;
}

/* The job is written: its place, and what it grew to for an unusually long document, are free again. */
static void release(struct pipeline *p, struct prepare_job *job) {
    int64_t text_bytes = job->text.n;
    if (job->text.capacity > KEEP_BYTES) bytes_free(&job->text);
    if (job->ids.capacity > KEEP_BYTES / 4) ids_free(&job->ids);
    pthread_mutex_lock(&p->lock);
    p->written++;
    p->flight -= text_bytes;
    pthread_cond_signal(&p->room);
    pthread_mutex_unlock(&p->lock);
}

/* ---- from rank to rank ---- */

struct sent_job { /* a job, before its items, its ids and, of one that failed, its error */
    int64_t number, file, bytes_read, n, ids;
    int64_t status;
};

/* A done job as bytes, at multiples of 8. */
static int pack(struct pipeline *p, struct prepare_job *job, struct err *err) {
    static const char zeros[8];
    const struct sent_job sent = {job->number, job->file, job->bytes_read, job->n, job->ids.n, job->status};
    const int64_t ids = job->ids.n * (int64_t)sizeof *job->ids.v;
    p->mine.n = 0;
    if (job->status < 0) comm_place(&job->err);
    return bytes_push(&p->mine, (const char *)&sent, sizeof sent, err) < 0 ||
                   bytes_push(&p->mine, (const char *)job->items, job->n * (int64_t)sizeof *job->items, err) < 0 ||
                   bytes_push(&p->mine, (const char *)job->ids.v, ids, err) < 0 ||
                   bytes_push(&p->mine, zeros, -ids & 7, err) < 0 ||
                   bytes_push(&p->mine, (const char *)&job->err, job->status < 0 ? sizeof job->err : 0, err) < 0
               ? -1
               : 0;
}

/* The job that rank r has sent, as a view of the bytes; false: none. */
static bool unpack(struct prepare_job *job, const struct pipeline *p, const int64_t *at, int r) {
    char *v = p->all.v + at[r];
    struct sent_job sent;
    if (at[r] == at[r + 1]) return false;
    memcpy(&sent, v, sizeof sent);
    *job = (struct prepare_job){.number = sent.number,
                                .file = sent.file,
                                .bytes_read = sent.bytes_read,
                                .n = sent.n,
                                .status = (int)sent.status};
    v += sizeof sent;
    job->items = (struct item *)(void *)v;
    v += sent.n * (int64_t)sizeof *job->items;
    job->ids.v = (int32_t *)(void *)v;
    job->ids.n = sent.ids;
    v += (sent.ids * (int64_t)sizeof *job->ids.v + 7) & ~(int64_t)7;
    if (sent.status < 0) memcpy(&job->err, v, sizeof job->err);
    return true;
}

enum word { GO, LIMIT, FAILED, BAD_JOB }; /* the last: err is the job's, and says where */

/* On rank 0: one job of each rank, in their order. */
static enum word write_jobs(struct pipeline *p, const int64_t *at, struct err *err) {
    const int64_t first = p->written * comm_size();
    for (int r = 0; r < comm_size(); r++) {
        struct prepare_job job;
        if (!unpack(&job, p, at, r)) continue;
        const bool next = job.number == first + r; /* else it is ASIDE, or a failure that this rank alone has met */
        const int k = next ? write_job(p, &job, err) : 0;
        if (k < 0) return FAILED;
        show(p, &job);
        if (k > 0) return LIMIT;
        if (job.status < 0) *err = job.err;
        if (job.status < 0 || !next) return job.status < 0 ? BAD_JOB : GO;
    }
    return GO;
}

/* This rank's next job, NULL: it has none, to rank 0, which writes it. 0; 1: a limit is reached; -1. */
static int pass_on(struct pipeline *p, struct prepare_job *job, struct err *err) {
    int64_t at[COMM_RANKS + 1];
    p->mine.n = 0;
    int status = job ? pack(p, job, err) : 0;
    if (comm_settle(status, err) < 0 || comm_collect(&p->all, at, &p->mine, err) < 0) return -1;
    const enum word mine = comm_rank() == 0 ? write_jobs(p, at, err) : GO, word = comm_agree((int)mine);
    if (word >= FAILED) return comm_settle(word == BAD_JOB || mine == FAILED ? -1 : 0, err);
    return word == LIMIT;
}

static int write_all(struct pipeline *p, struct err *err) {
    int r = 0;
    while (r == 0) {
        struct prepare_job *job = next_done(p);
        if (comm_agree(job != NULL) == 0) break;
        r = pass_on(p, job, err);
        if (job) release(p, job);
        if (r == 0 && comm_agree(stop_asked()) > 0) {
            p->result->stopped = true;
            return comm_settle(comm_rank() == 0 ? prepare_state_save(&p->state, err) : 0, err);
        }
    }
    p->result->limited = r > 0;
    return r < 0 ? -1 : 0;
}

/* ---- the whole ---- */

static int start_threads(struct pipeline *p, struct err *err) {
    for (int64_t i = 0; i <= p->s->threads; i++) {
        int e = pthread_create(&p->threads[i], NULL, i == 0 ? read_main : work_main, p);
        if (e != 0) return err_set(err, "prepare: cannot start thread %lld: %s", (long long)i + 1, strerror(e));
        p->nthreads++;
    }
    return 0;
}

static void join_threads(struct pipeline *p) {
    pthread_mutex_lock(&p->lock);
    p->closing = true;
    pthread_cond_signal(&p->room);
    pthread_cond_broadcast(&p->work);
    pthread_mutex_unlock(&p->lock);
    for (int64_t i = 0; i < p->nthreads; i++) pthread_join(p->threads[i], NULL);
    p->nthreads = 0;
}

static int start(struct pipeline *p, struct err *err) {
    const struct sources *src = p->s->sources;
    p->size = 4 * p->s->threads + 16; /* enough to work on while the writer waits for the disk */
    p->ring = mem_alloc(p->size, sizeof *p->ring, "ring of jobs", err);
    p->threads = p->ring ? mem_alloc(p->s->threads + 1, sizeof *p->threads, "threads", err) : NULL;
    p->bytes_before = p->threads ? mem_alloc(src->n + 1, sizeof *p->bytes_before, "sizes of files", err) : NULL;
    if (!p->bytes_before) return -1;
    for (int64_t i = 0; i < src->n; i++) p->bytes_before[i + 1] = p->bytes_before[i] + src->sizes[i];
    p->result->tokens_before = p->state.counts.tokens;
    progress_start(&p->progress, "prepare", "MB", (double)src->bytes, 1e-6);
    p->progress.first = (double)p->bytes_before[p->state.counts.file];
    p->saved = clock_seconds();
    return start_threads(p, err);
}

/* Chunks, manifest and result of a run that came to its end. */
static int finish(struct pipeline *p, struct err *err) {
    struct prepare_result *result = p->result;
    if (p->state.counts.documents == 0) {
        prepare_state_forget(&p->state);
        return err_set(err, "no document in %lld file%s (%lld skipped, %lld empty): nothing written",
                       (long long)p->s->sources->n, plural(p->s->sources->n), (long long)p->state.counts.skipped,
                       (long long)p->state.counts.empty);
    }
    if (prepare_state_finish(&p->state, result->last, err) < 0) return -1;
    result->counts = p->state.counts;
    return 0;
}

static int check(const struct prepare_settings *s, const struct tokenizer *t, struct err *err) {
    if (reader_check_settings(&s->reader, err) < 0 || sources_check(s->sources, err) < 0) return -1;
    for (int64_t i = 0; i < s->sources->n; i++) {
        const char *path = s->sources->paths[i];
        if (utf8_valid(path, (int64_t)strlen(path)) == (int64_t)strlen(path)) continue;
        return err_set(err, "%s: not UTF-8, so manifest.json cannot keep it: rename what is called so", path);
    }
    if (s->threads < 1 || s->threads > CPU_THREADS)
        return err_set(err, "%d threads: expected 1 to %d", s->threads, CPU_THREADS);
    if (s->bos && tokenizer_bos(t) < 0) return err_set(err, "the tokenizer has no begin id: leave out --bos");
    if (s->eos && tokenizer_eos(t) < 0) return err_set(err, "the tokenizer has no end id: say --no-eos");
    return 0;
}

static void close_pipeline(struct pipeline *p) {
    for (int64_t i = 0; p->ring && i < p->size; i++) {
        bytes_free(&p->ring[i].text);
        ids_free(&p->ring[i].ids);
        mem_free(p->ring[i].items);
    }
    mem_free(p->ring);
    mem_free(p->threads);
    mem_free(p->bytes_before);
    bytes_free(&p->mine);
    bytes_free(&p->all);
    pthread_mutex_destroy(&p->lock);
    pthread_cond_destroy(&p->room);
    pthread_cond_destroy(&p->work);
    pthread_cond_destroy(&p->done);
    prepare_state_close(&p->state);
}

int prepare_run(const struct prepare_settings *s, const struct tokenizer *t, struct prepare_result *result,
                struct err *err) {
    struct pipeline p = {.s = s, .tokenizer = t, .result = result};
    double started = clock_seconds();
    memset(result, 0, sizeof *result);
    if (comm_settle(check(s, t, err), err) < 0) return -1;
    pthread_mutex_init(&p.lock, NULL);
    pthread_cond_init(&p.room, NULL);
    pthread_cond_init(&p.work, NULL);
    pthread_cond_init(&p.done, NULL);
    int r = prepare_state_open(&p.state, s, t, &result->resumed, &result->complete, err);
    if (r == 0 && !result->complete) {
        r = comm_settle(start(&p, err), err);
        if (r == 0) r = write_all(&p, err);
        join_threads(&p);
        result->counts = p.state.counts;
        if (r == 0 && !result->stopped) r = comm_settle(comm_rank() == 0 ? finish(&p, err) : 0, err);
    }
    close_pipeline(&p);
    result->seconds = clock_seconds() - started;
    return r;
}
