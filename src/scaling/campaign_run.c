/* campaign_run: one process a training. The folder of a training is locked by whoever has it in hand; below it lies the
 * run, and what `mdm pretrain` said in train.log. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/file.h"
#include "base/lock.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/progress.h"
#include "base/stop.h"
#include "comm/comm.h"
#include "scaling/campaign.h"
#include "train/metrics.h"
#include "train/settings.h"

struct training_paths {
    char folder[FILE_PATH_MAX], run[FILE_PATH_MAX], log[FILE_PATH_MAX], model[FILE_PATH_MAX];
};

static int paths_of(struct training_paths *p, const char *folder, const struct campaign_training *t, struct err *err) {
    char models[FILE_PATH_MAX], name[CAMPAIGN_NAME + 8];
    snprintf(name, sizeof name, "%s.json", t->name);
    return file_join(p->folder, folder, t->name, err) < 0 || file_join(p->run, p->folder, "run", err) < 0 ||
                   file_join(p->log, p->folder, "train.log", err) < 0 || file_join(models, folder, "models", err) < 0 ||
                   file_join(p->model, models, name, err) < 0
               ? -1
               : 0;
}

/* The last row of a training that is done. 1: it is; 0: it is not; -1: its metrics cannot be read. */
static int last_row(struct metrics_row *row, const char *run, int64_t steps, struct err *err) {
    char weights[FILE_PATH_MAX];
    struct metrics_row *rows;
    int64_t n;
    if (file_join(weights, run, "model.safetensors", err) < 0) return -1;
    if (!file_exists(weights)) return 0;
    if (metrics_read(&rows, &n, run, err) < 0) return -1;
    *row = rows[n - 1];
    mem_free(rows);
    return row->step == steps && !isnan(row->valid_loss);
}

/* ---- one training ---- */

struct job {
    const struct campaign_training *training; /* NULL: free */
    pid_t process;
    int lock;
};

/* What a child becomes: all of it there before fork(), since behind it a program with threads may hardly do anything. */
struct training_command {
    char steps[32], length[32], batch[32], lr[32], seed[32], threads[32];
    const char *words[40];
    char **environment;
};

static int command_of(struct training_command *m, const struct campaign *c, const struct campaign_training *t,
                      const struct training_paths *p, int threads, struct err *err) {
    const struct campaign_settings *s = &c->settings;
    const bool mdm = t->family == FAMILY_MDM;
    /* An ARM's part of the fast recipe: it has no noise levels. */
    const char *arm_optimizer = s->recipe ? "muon" : "adamw";
    /* A run that was begun has its model, and knows it by where this folder then was. */
    char begun[FILE_PATH_MAX];
    if (file_join(begun, p->run, "run.json", err) < 0) return -1;
    snprintf(m->steps, sizeof m->steps, "%lld", (long long)t->steps);
    snprintf(m->length, sizeof m->length, "%lld", (long long)s->length);
    snprintf(m->batch, sizeof m->batch, "%lld", (long long)s->batch);
    snprintf(m->lr, sizeof m->lr, "%.17g", s->lr);
    snprintf(m->seed, sizeof m->seed, "%lld", (long long)s->seed);
    snprintf(m->threads, sizeof m->threads, "%d", threads);
    const char *const words[] = {"mdm",
                                 "pretrain",
                                 "--objective",
                                 family_names[t->family],
                                 "--data",
                                 s->data,
                                 "--out",
                                 p->run,
                                 "--steps",
                                 m->steps,
                                 "--length",
                                 m->length,
                                 "--batch",
                                 m->batch,
                                 "--lr",
                                 m->lr,
                                 "--seed",
                                 m->seed,
                                 "--eval-every",
                                 m->steps /* one validation, at the end */,
                                 "--precision",
                                 s->precision ? "f32" : "bf16",
                                 mdm ? "--recipe" : "--optimizer",
                                 mdm ? recipe_names[s->recipe] : arm_optimizer,
                                 "--threads",
                                 m->threads,
                                 "--save-every",
                                 "500",
                                 file_exists(begun) ? NULL : "--model",
                                 p->model,
                                 NULL};
    _Static_assert(sizeof words <= sizeof m->words, "a training has more words");
    memcpy(m->words, words, sizeof words);
    m->environment = comm_alone(err);
    return m->environment ? 0 : -1;
}

static void become_training(const struct training_command *m, const char *to, int lock, pid_t parent) {
    const int log = open(to, O_WRONLY | O_CREAT | O_APPEND, 0666), none = open("/dev/null", O_RDONLY);
    if (log < 0 || none < 0 || dup2(none, 0) < 0 || dup2(log, 1) < 0 || dup2(log, 2) < 0) _exit(126);
    /* Whatever ends this program ends its trainings, which save first. */
    if (prctl(PR_SET_PDEATHSIG, SIGTERM) < 0 || getppid() != parent) _exit(126);
    lock_inherit(lock); /* so that nobody takes it up while it saves behind this program's death */
    execve("/proc/self/exe", (char *const *)(uintptr_t)m->words, m->environment);
    _exit(127);
}

static int start(struct job *j, const struct campaign *c, const struct campaign_training *t,
                 const struct training_paths *p, int lock, int threads, struct err *err) {
    struct training_command m = {{0}};
    if (command_of(&m, c, t, p, threads, err) < 0) return -1;
    const pid_t parent = getpid(), child = fork();
    if (child == 0) become_training(&m, p->log, lock, parent);
    mem_free(m.environment);
    if (child < 0) return err_set(err, "cannot start a training: %s", strerror(errno));
    *j = (struct job){.training = t, .process = child, .lock = lock};
    return 0;
}

/* ---- all of them ---- */

enum { BEAT = 50000 /* µs between two looks, and two words of the ranks */ };
enum { DIVERGED = 1 }; /* the status of 'mdm pretrain' then (cmd/training.c) */
/* LEFT: held by others, begun, or failed: not to be looked at again. LOST: diverged, as it would again. */
enum training_state { OPEN, LEFT, DONE, LOST };

struct crew {
    const struct campaign *c;
    const char *folder;
    struct campaign_result *result;
    struct job jobs[64];
    int njobs, busy, threads;
    enum training_state *state; /* [c->n] */
    bool waits, waited;         /* for a training of a program that died: it is saving */
    bool stops;                 /* nothing is begun any more, what was is asked to save */
    struct progress bar;
    double flops; /* of what is done or lost */
};

static void count(struct crew *w, int64_t i, enum training_state end) {
    if (w->state[i] == end) return;
    w->state[i] = end;
    w->flops += w->c->v[i].flops;
    if (end == LOST) w->result->lost++;
}

/* What was done before. */
static int look_around(struct crew *w, struct err *err) {
    for (int64_t i = 0; i < w->c->n; i++) {
        struct training_paths p;
        struct metrics_row row;
        if (paths_of(&p, w->folder, &w->c->v[i], err) < 0) return -1;
        const int done = last_row(&row, p.run, w->c->v[i].steps, err);
        if (done < 0) return -1;
        if (done > 0) count(w, i, DONE);
    }
    w->bar.first = w->flops;
    return 0;
}

/* Takes the next training that is missing and free. 1: one was started; 0: there is none. */
static int take_next(struct crew *w, struct job *j, struct err *err) {
    for (int64_t i = 0; i < w->c->n; i++) {
        const struct campaign_training *t = &w->c->v[i];
        struct training_paths p;
        struct metrics_row row;
        struct err busy = {{0}};
        if (w->state[i] != OPEN) continue;
        if (paths_of(&p, w->folder, t, err) < 0 || file_mkdirs(p.folder, err) < 0) return -1;
        const int lock = lock_take(p.folder, &busy);
        if (lock == LOCK_FAILED) return err_set(err, "%s", busy.msg);
        if (lock == LOCK_INHERITED) {
            if (!w->waited)
                progress_say(&w->bar, "%s: still saving, for a program that has ended: waiting for it", t->name);
            w->waits = w->waited = true;
            continue;
        }
        w->state[i] = LEFT;
        if (lock < 0) {
            if (comm_size() == 1) progress_say(&w->bar, "%s: %s", t->name, busy.msg); /* else it is another rank's */
            continue;
        }
        const int done = last_row(&row, p.run, t->steps, err);
        if (done == 0 && start(j, w->c, t, &p, lock, w->threads, err) == 0) {
            w->busy++;
            return 1;
        }
        lock_release(lock);
        if (done <= 0) return -1;
        count(w, i, DONE);
    }
    return 0;
}

/* A signal that asks to stop: it has saved, or was ended at once, by a second one or before it took signals. */
static bool was_stopped(int status) {
    return WIFEXITED(status) ? WEXITSTATUS(status) > 128 : stop_takes(WTERMSIG(status));
}

/* A training of this rank has ended, somehow. Returns its state, or -1. */
static int finish(struct crew *w, struct job *j, int status, struct err *err) {
    const struct campaign_training *t = j->training;
    struct training_paths p;
    struct metrics_row row;
    const int done = paths_of(&p, w->folder, t, err) < 0 ? -1 : last_row(&row, p.run, t->steps, err);
    lock_release(j->lock);
    *j = (struct job){.lock = -1};
    w->busy--;
    if (done != 0) return done < 0 ? -1 : DONE;
    if (was_stopped(status)) {
        w->result->stopped = true;
        return LEFT;
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == DIVERGED) return LOST;
    return err_set(err, "%s: the training ended with status %d; its last words are in %s", t->name,
                   WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), p.log);
}

/* Where the ranks stand, which each tells all. */
struct beat {
    bool busy, stops;
    int64_t ended; /* a training that is done or lost now, or left: stopped by a signal of its own; -1: none */
    enum training_state end;
};

/* Looks for one that has ended. */
static int reap(struct crew *w, struct beat *mine, struct err *err) {
    mine->ended = -1;
    for (int i = 0; i < w->njobs; i++) {
        struct job *j = &w->jobs[i];
        int status;
        if (!j->training) continue;
        const pid_t r = waitpid(j->process, &status, WNOHANG);
        if (r == 0 || (r < 0 && errno == EINTR)) continue;
        if (r > 0) {
            const int64_t number = j->training - w->c->v;
            const int k = finish(w, j, status, err);
            const bool ours = w->stops || stop_asked(); /* else nobody here asked it to stop */
            if (k > LEFT || (k == LEFT && !ours)) mine->ended = number, mine->end = (enum training_state)k;
            return k < 0 ? -1 : 0;
        }
        lock_release(j->lock);
        *j = (struct job){.lock = -1};
        w->busy--;
        return err_set(err, "waiting for a training: %s", strerror(errno));
    }
    return 0;
}

/* Rank 0 speaks for all. */
static void tell(struct crew *w, int64_t i, enum training_state end) {
    const struct campaign_training *t = &w->c->v[i];
    struct training_paths p;
    struct metrics_row row;
    struct err none = {{0}};
    if (end != LEFT) count(w, i, end);
    if (comm_rank() != 0 || paths_of(&p, w->folder, t, &none) < 0) return;
    if (end == LOST)
        progress_say(&w->bar, "%s: diverged, no point of the law; its last words are in %s", t->name, p.log);
    else if (end == LEFT)
        progress_say(&w->bar, "%s: a signal to this training alone stopped it; the others were stopped with it",
                     t->name);
    else if (last_row(&row, p.run, t->steps, &none) > 0)
        progress_say(&w->bar, "%s: loss %.4f ± %.4f, %lld step%s in %.0f s", t->name, row.valid_loss, row.valid_error,
                     (long long)row.step, plural(row.step), row.seconds);
}

static struct beat meet(struct crew *w, struct beat mine) {
    struct beat all[COMM_RANKS], sum = {.ended = -1};
    int64_t first[COMM_RANKS + 1];
    for (int r = 0; r <= comm_size(); r++) first[r] = r * (int64_t)sizeof mine;
    all[comm_rank()] = mine;
    comm_gather(all, first);
    for (int r = 0; r < comm_size(); r++) {
        sum.busy |= all[r].busy;
        sum.stops |= all[r].stops;
        if (all[r].ended >= 0) tell(w, all[r].ended, all[r].end);
    }
    return sum;
}

/* Until no rank has a training in hand. After a failure or a stop on any of them all others are stopped, and save. */
static int work(struct crew *w, struct err *err) {
    struct err later = {{0}};
    int status = 0;
    for (;;) {
        struct beat mine = {0};
        w->waits = false;
        for (int i = 0, more = 1; status == 0 && more > 0 && !w->stops && !stop_asked() && i < w->njobs; i++) {
            if (!w->jobs[i].training) more = take_next(w, &w->jobs[i], err);
            if (more < 0) status = -1;
        }
        if (reap(w, &mine, status < 0 ? &later : err) < 0) status = -1;
        mine.busy = w->busy > 0 || mine.ended >= 0 /* a place is free again */ || w->waits;
        mine.stops = status < 0 || stop_asked() || (mine.ended >= 0 && mine.end == LEFT);
        const struct beat all = meet(w, mine);
        for (int i = 0; all.stops && !w->stops && i < w->njobs; i++)
            if (w->jobs[i].training) stop_tell(w->jobs[i].process);
        w->stops = w->stops || all.stops;
        if (!all.busy) break;
        progress_at(&w->bar, w->flops, "");
        usleep(BEAT);
    }
    return comm_settle(status, err);
}

int campaign_run(const struct campaign *c, const char *folder, int jobs, int threads, struct campaign_result *result,
                 struct err *err) {
    struct crew w = {.c = c, .folder = folder, .result = result, .njobs = jobs < 1 ? 1 : jobs > 64 ? 64 : jobs};
    double flops = 0;
    *result = (struct campaign_result){0};
    w.threads = threads / w.njobs > 0 ? threads / w.njobs : 1;
    w.state = mem_alloc(c->n, sizeof *w.state, "trainings", err);
    for (int64_t i = 0; i < c->n; i++) flops += c->v[i].flops;
    progress_start(&w.bar, "scale run", "TFLOPs", flops, 1e-12);
    int r = comm_settle(w.state ? look_around(&w, err) : -1, err);
    if (r == 0) r = work(&w, err);
    result->stopped = comm_agree(result->stopped || (w.stops && r == 0)) > 0;
    progress_end(&w.bar, w.flops, NULL);
    mem_free(w.state);
    return r;
}

/* ---- points ---- */

int64_t campaign_points(const struct campaign *c, const char *folder, struct err *err) {
    char path[FILE_PATH_MAX];
    int64_t n = 0;
    if (file_join(path, folder, "points.csv", err) < 0) return -1;
    file_sweep(folder);
    struct file_out *out = file_out_open(path, err);
    int r = out ? file_out_printf(out, err, "family,flops,params,loss,loss_error,steps,tokens,seconds\n") : -1;
    for (int64_t i = 0; r == 0 && i < c->n; i++) {
        const struct campaign_training *t = &c->v[i];
        struct training_paths p;
        struct metrics_row row;
        r = paths_of(&p, folder, t, err);
        const int done = r == 0 ? last_row(&row, p.run, t->steps, err) : -1;
        if (done < 0) r = -1;
        if (done <= 0) continue;
        /* The budget, which the points of one parabola share; whole steps make 6 N D a little less. */
        r = file_out_printf(out, err, "%s,%.6g,%lld,%.6f,%.6f,%lld,%.0f,%.1f\n", family_names[t->family], t->flops,
                            (long long)t->n, row.valid_loss, row.valid_error, (long long)row.step, row.tokens,
                            row.seconds);
        n++;
    }
    if (r < 0) {
        file_out_abort(out);
        return -1;
    }
    return file_out_commit(out, err) < 0 ? -1 : n;
}
