/* cmd_scale: `mdm scale plan`, `run` and `fit`: options and tables. The work is scaling/. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "base/file.h"
#include "base/jsonl.h"
#include "base/lock.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/progress.h"
#include "base/stop.h"
#include "cmd/cmd.h"
#include "comm/comm.h"
#include "compute/gemm.h"
#include "data/loader.h"
#include "scaling/campaign.h"
#include "scaling/fit.h"
#include "scaling/fit_report.h"
#include "text/tokenizer.h"
#include "text/utf8.h"
#include "train/settings.h"

static int plan(int argc, char **argv);
static int train(int argc, char **argv);
static int fit(int argc, char **argv);

static const struct command verbs[] = {
    {"scale plan", "choose the trainings behind a scaling law: sizes, steps, time on this machine", NULL,
     "mdm scale plan --budgets 1e13,3e13,1e14 --data data --out law", plan},
    {"scale run", "train what is missing of a plan; stop and start again at will", NULL,
     "mdm scale run --out law\n"
     "mdm scale fit --points law --out law\n"
     "mpirun -n 4 build-mpi/mdm scale run --out law    # four trainings at once, on as many hosts as there are",
     train, .ranks = true},
    {"scale fit", "fit the scaling law to measured losses", NULL,
     "mdm scale fit --points points.csv --out law\n"
     "head -3 points.csv\n"
     "    family,flops,params,loss\n"
     "    mdm,3e18,6.3e7,3.97\n"
     "    arm,3e18,1.06e8,3.38",
     fit},
    {0},
};

/* ---- plan ---- */

static int parse_budgets(struct campaign_settings *s, const char *text, struct err *err) {
    for (const char *at = text; *at;) {
        char *end;
        const double v = strtod(at, &end);
        if (end == at || !(v > 0) || v > 1e30 || (*end && *end != ',') || s->nbudgets == CAMPAIGN_BUDGETS)
            return err_set(err, "--budgets '%s': expected up to %d numbers of FLOPs with commas between", text,
                           CAMPAIGN_BUDGETS);
        s->budgets[s->nbudgets++] = v;
        at = *end ? end + 1 : end;
    }
    return s->nbudgets ? 0 : err_set(err, "--budgets is empty");
}

static int parse_families(struct campaign_settings *s, const char *text, struct err *err) {
    for (const char *at = text; *at; at += strspn(at, ",")) {
        const size_t n = strcspn(at, ",");
        int f = 0;
        while (f < 2 && (strlen(family_names[f]) != n || memcmp(family_names[f], at, n) != 0)) f++;
        if (f == 2) return err_set(err, "--families '%s': expected mdm, arm or mdm,arm", text);
        s->family[f] = true;
        at += n;
    }
    return s->family[0] || s->family[1] ? 0 : err_set(err, "--families is empty");
}

/* Every training needs a block of both splits: the point of one without a validation loss would have none. */
static int look_at_blocks(const struct campaign_settings *s, const struct tokenizer *t, struct err *err) {
    for (int split = SPLIT_TRAIN; split <= SPLIT_VALIDATION; split++) {
        const struct loader_settings set = {
            .split = (enum split)split, .block = s->length + 1, .vocab = s->vocab, .tokenizer = tokenizer_digest(t)};
        struct loader *l;
        if (loader_open(&l, &(struct loader_source){.path = s->data, .weight = 1}, 1, &set, err) < 0) return -1;
        if (!l)
            return err_set(err,
                           "--data %s: no validation split, and a law is of validation losses: 'mdm prepare "
                           "--validation 0.05' makes one",
                           s->data);
        loader_close(l);
    }
    return 0;
}

static int look_at_data(struct campaign_settings *s, const char *data, struct err *err) {
    char *real = file_is_dir(data) ? realpath(data, NULL) : NULL;
    struct tokenizer *t = real ? tokenizer_load(real, err) : NULL;
    int r = real ? 0 : err_set(err, "--data %s: no such folder: expected one made by 'mdm prepare'", data);
    if (r == 0 && real[utf8_valid(real, (int64_t)strlen(real))])
        r = err_set(err, "--data %s: not UTF-8, so plan.json cannot keep it: rename what is called so", real);
    if (r == 0 && !t) r = -1;
    if (r == 0) {
        s->vocab = tokenizer_vocab_size(t);
        s->bos_id = tokenizer_bos(t);
        s->eos_id = tokenizer_eos(t);
        s->data = mem_strdup(real, err);
        r = s->data ? look_at_blocks(s, t, err) : -1;
        if (r < 0) mem_free(s->data);
    }
    tokenizer_free(t);
    free(real);
    return r;
}

static void print_plan(const struct campaign *c) {
    char time[32];
    double seconds = 0;
    printf("%-24s %10s %6s %5s %5s %10s %10s %8s\n", "training", "N", "layers", "heads", "width", "steps", "tokens",
           "time");
    for (int64_t i = 0; i < c->n; i++) {
        const struct campaign_training *t = &c->v[i];
        clock_format(time, t->seconds);
        printf("%-24s %10lld %6lld %5lld %5lld %10lld %10.3g %8s\n", t->name, (long long)t->n, (long long)t->layers,
               (long long)t->heads, (long long)t->width, (long long)t->steps, t->tokens, time);
        seconds += t->seconds;
    }
    for (int64_t i = 0, k; i < c->n; i = k) {
        for (k = i; k < c->n && c->v[k].family == c->v[i].family && c->v[k].flops == c->v[i].flops;) k++;
        if (k - i < 3)
            progress_say(NULL,
                         "note: %s at %.3g FLOPs has %lld size%s, a fit needs three: change --sizes, --spread or "
                         "--around",
                         family_names[c->v[i].family], c->v[i].flops, (long long)(k - i), plural(k - i));
    }
    clock_format(time, 1.05 * seconds); /* validation takes about a twentieth */
    printf("%lld training%s, about %s on this machine, validation included\n", (long long)c->n, plural(c->n), time);
}

/* Nothing is taken up by the old plan while the new one is made. */
static int make_plan(struct campaign *c, const struct campaign_settings *s, const char *out, int64_t threads,
                     struct err *err) {
    if (campaign_plan(c, s, err) < 0 || file_mkdirs(out, err) < 0) return -1;
    const int lock = lock_take(out, err);
    if (lock < 0) return -1;
    int r = campaign_check_begun(c, out, err);
    if (r == 0 && (kernels_init(err) < 0 || gemm_init(cpu_threads_for(threads), err) < 0)) r = -1;
    if (r == 0) r = campaign_time(c, err);
    if (r == 0) r = campaign_write(c, out, err);
    lock_release(lock);
    return r;
}

static int plan(int argc, char **argv) {
    struct err err = {{0}};
    const char *budgets = NULL, *families = "mdm,arm", *data = NULL, *out = NULL;
    struct campaign_settings s = {.spread = 16, .around = 1, .length = 256, .batch = 32, .lr = NAN, .seed = 1};
    int64_t sizes = 5, threads = 0;
    int n, status;
    const struct opt opts[] = {
        {"budgets", OPT_STR, &budgets, "C,C,...", "training budgets in FLOPs, C = 6 N D", .required = true},
        {"data", OPT_STR, &data, "DIR", "folder of token chunks ('mdm prepare') with a validation split",
         .required = true},
        {"out", OPT_STR, &out, "DIR", "folder of the plan and, later, its trainings", .required = true},
        {"families", OPT_STR, &families, "F,F", "mdm, arm"},
        {"sizes", OPT_INT, &sizes, "N", "models of each budget and family", .min = 1, .max = CAMPAIGN_SIZES},
        {"spread", OPT_REAL, &s.spread, "X", "the largest of them over the smallest", .min = 1, .max = 1e6},
        {"around", OPT_REAL, &s.around, "X", "factor on the size that is expected to be best", .min = 1e-6, .max = 1e6},
        {"length", OPT_INT, &s.length, "T", "tokens per sequence", .min = 8, .max = 1 << 20},
        {"batch", OPT_INT, &s.batch, "N", "sequences per step", .min = 1, .max = TRAINING_BATCH},
        {"lr", OPT_REAL, &s.lr, "X",
         "peak learning rate; not given: 1e-3, of the fast recipe its own; published: 2e-4 for models of 6 M and more",
         .min = 1e-9, .max = 1},
        {"recipe", OPT_CHOICE, &s.recipe, recipe_list(),
         "see 'mdm pretrain --help'; of fast, an arm takes the optimizer"},
        {"precision", OPT_CHOICE, &s.precision, "bf16|f32", "of matmul inputs"},
        {"seed", OPT_INT, &s.seed, "N", "of weights, masks and order", .min = 0, .max = TRAINING_SEED},
        {"threads", OPT_INT, &threads, "N", "0: all cores", .min = 0, .max = CPU_THREADS},
        {0}};
    if (!cmd_options(&verbs[0], opts, argc, argv, &n, NULL, &status)) return status;
    struct campaign c = {0};
    s.sizes = (int)sizes;
    if (isnan(s.lr)) s.lr = s.recipe ? RECIPE_FAST_LR : 1e-3;
    if (parse_budgets(&s, budgets, &err) < 0 || parse_families(&s, families, &err) < 0 ||
        look_at_data(&s, data, &err) < 0)
        return cmd_fail(verbs[0].name, &err);
    const int r = make_plan(&c, &s, out, threads, &err);
    if (r == 0) print_plan(&c);
    campaign_free(&c);
    return r < 0 ? cmd_fail(verbs[0].name, &err) : 0;
}

/* ---- run ---- */

static void tell_points(const char *out, int64_t points, int64_t trainings, const struct campaign_result *r) {
    printf("%s/points.csv: %lld of %lld trainings are done", out, (long long)points, (long long)trainings);
    if (r->lost > 0) printf("; %lld diverged: another plan with a lower --lr may save them", (long long)r->lost);
    if (r->stopped)
        printf("; the same command goes on");
    else if (points + r->lost < trainings)
        printf("; another program is at work on others");
    printf("\n");
}

/* Twice: a folder without a plan gets no lock, and a plan that nobody holds may become another one. */
static int read_plan(struct campaign *c, int *lock, const char *out, struct err *err) {
    *lock = -1;
    if (campaign_read(c, out, err) < 0) return -1;
    campaign_free(c);
    return (*lock = lock_share(out, err)) < 0 ? -1 : campaign_read(c, out, err);
}

static int train(int argc, char **argv) {
    struct err err = {{0}};
    const char *out = NULL;
    int64_t jobs = 1, threads = 0;
    int n, status;
    const struct opt opts[] = {
        {"out", OPT_STR, &out, "DIR", "folder of a plan ('mdm scale plan')", .required = true},
        {"jobs", OPT_INT, &jobs, "N", "trainings at once, each with its share of the threads", .min = 1, .max = 64},
        {"threads", OPT_INT, &threads, "N", "of all trainings together; 0: all cores", .min = 0, .max = CPU_THREADS},
        {0}};
    if (!cmd_options(&verbs[1], opts, argc, argv, &n, NULL, &status)) return status;
    struct campaign c;
    struct campaign_result result = {0};
    stop_install();
    stop_when_unread();
    int lock;
    const int read = read_plan(&c, &lock, out, &err);
    if (comm_settle(read, &err) < 0) {
        if (read == 0) campaign_free(&c);
        lock_release(lock);
        return cmd_fail(verbs[1].name, &err);
    }
    int r = campaign_run(&c, out, (int)jobs, cpu_threads_for(threads), &result, &err);
    struct err none = {{0}};
    const int64_t points = comm_rank() == 0 ? campaign_points(&c, out, r < 0 ? &none : &err) : 0;
    if (r == 0) r = comm_settle(points < 0 ? -1 : 0, &err);
    if (r == 0) tell_points(out, points, c.n, &result);
    campaign_free(&c);
    lock_release(lock);
    if (r < 0) return cmd_fail(verbs[1].name, &err);
    return result.stopped ? cmd_stopped() : 0;
}

/* ---- fit ---- */

/* Everything that is asked of a fit; fit.json comes first, so that it is there when the pictures cannot be drawn. */
static int report(const char *folder, const struct scale_fit *f, const struct scale_points *points, bool draw,
                  struct err *err) {
    char path[FILE_PATH_MAX];
    json_t *v = scale_fit_json(f);
    if (!v) return err_set(err, "out of memory: fit.json");
    int r = file_mkdirs(folder, err);
    if (r == 0) file_sweep(folder), scale_fit_undraw(folder);
    if (r == 0) r = file_join(path, folder, "fit.json", err);
    if (r == 0) r = json_write_file(path, v, err);
    json_decref(v);
    if (r == 0) scale_fit_print(stdout, f);
    return r == 0 && draw ? scale_fit_draw(folder, f, points, err) : r;
}

static int fit(int argc, char **argv) {
    struct err err = {{0}};
    const struct command *verb = &verbs[2];
    const char *points_path = NULL, *out = NULL;
    int64_t replicates = 1000, seed = 1;
    bool plot = true;
    int n, status;
    const struct opt opts[] = {
        {"points", OPT_STR, &points_path, "FILE",
         "table with the columns family, flops, params, loss and perhaps loss_error, or its folder; a family's budgets "
         "within 1 % of the least are one",
         .required = true},
        {"out", OPT_STR, &out, "DIR", "folder to write: fit.json, isoflop and frontier", .required = true},
        {"bootstrap", OPT_INT, &replicates, "N", "replicates behind the intervals; 0: no intervals", .min = 0,
         .max = 1e6},
        {"seed", OPT_INT, &seed, "N", "seed of the replicates", .min = 0, .max = -1},
        {"plot", OPT_FLAG, &plot, NULL, "draw the pictures"},
        {0}};
    if (!cmd_options(verb, opts, argc, argv, &n, NULL, &status)) return status;
    struct scale_points points;
    struct scale_fit f;
    if (scale_points_read(&points, points_path, &err) < 0) return cmd_fail(verb->name, &err);
    int r = scale_fit(&f, &points, &(struct scale_fit_settings){replicates, (uint64_t)seed}, &err);
    if (r == 0) {
        r = report(out, &f, &points, plot, &err);
        scale_fit_free(&f);
    }
    scale_points_free(&points);
    return r < 0 ? cmd_fail(verb->name, &err) : 0;
}

static int run(int argc, char **argv) {
    return cmd_verb(&cmd_scale, verbs, argc, argv);
}

const struct command cmd_scale = {"scale",
                                  "plan, train and fit a scaling law",
                                  "plan|run|fit ...",
                                  "mdm scale plan --budgets 1e13,3e13,1e14 --data data --out law\n"
                                  "mdm scale run --out law\n"
                                  "mdm scale fit --points law --out law\n"
                                  "mdm scale fit --help",
                                  run,
                                  .ranks = true};
