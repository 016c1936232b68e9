/* Several processes of one run: the same model as from one, and no process left waiting in a sum when another stops or
 * fails. comm/ is implemented here over shared memory, in place of comm_self.c: each rank is a fork of the test. */
#include "train_examples.h"
#include "stop_help.h"

#include <math.h>
#include <omp.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "base/fault.h"
#include "base/stop.h"
#include "comm/comm.h"
#include "train/gradient.h"
#include "scaling/plan.h"

enum { RANKS = 3, ROOM = 1 << 22, PATIENCE = 200 /* seconds until a rank counts as hung */ };

static struct {
    pthread_barrier_t barrier;
    int64_t bytes[RANKS][RANKS];
    char piece[RANKS][RANKS][ROOM]; /* from, to */
    int status[RANKS];
    struct trainer_result result[RANKS];
    struct err err[RANKS];
    double norm[RANKS];
    float sum[ROOM / 4];
    int64_t exchanges[RANKS], sent[RANKS], in_use[RANKS]; /* bytes to others; bytes that opening took */
} * shared;
static int rank, ranks = 1;

int comm_rank(void) {
    return rank;
}

int comm_size(void) {
    return ranks;
}

static void meet(void) {
    if (ranks > 1) pthread_barrier_wait(&shared->barrier);
}

void comm_exchange(const struct comm_piece *to, const struct comm_piece *from) {
    for (int r = 0; r < ranks; r++) {
        assert_true(to[r].bytes <= ROOM);
        if (to[r].bytes) memcpy(shared->piece[rank][r], to[r].data, (size_t)to[r].bytes);
        shared->bytes[rank][r] = to[r].bytes;
        shared->sent[rank] += r == rank ? 0 : to[r].bytes;
    }
    shared->exchanges[rank]++;
    meet();
    for (int r = 0; r < ranks; r++) {
        assert_int_equal(from[r].bytes, shared->bytes[r][rank]);
        if (from[r].bytes) memcpy(from[r].data, shared->piece[r][rank], (size_t)from[r].bytes);
    }
    meet();
}

/* ---- a run of several ranks ---- */

struct trouble { /* what happens to one rank; at -1: nothing */
    int rank;
    int64_t stop_at, fail_at; /* example whose reading asks for a stop, or fails */
    long write;               /* the n-th write to fail; 0: none */
    bool open;                /* memory is short while the trainer opens */
};
static const struct trouble none = {.rank = -1, .stop_at = -1, .fail_at = -1};

static struct trouble now;
static const struct example plain[] = {{LENGTH, 0}};
static const struct example short_ones[] = {{4, 3}, {1, 0}, {9, 8}, {3, 1}};
static struct few few = {.v = plain, .n = 1, .fails_at = -1};

static int read_in_trouble(void *context, int64_t number, int32_t *ids, struct example *e, struct err *err) {
    if (ids && rank == now.rank && number == now.stop_at) ask_to_stop();
    if (ids && rank == now.rank && number == now.fail_at) return err_set(err, "rank %d has lost its disk", rank);
    return few_read(context, number, ids, e, err);
}

static void one_rank(const void *context) {
    const struct trainer_settings *s = context;
    struct source source = few_source(&few, 1);
    struct trainer *t = NULL;
    source.read = read_in_trouble;
    source.size = 24;
    stop_install();
    if (rank == now.rank && now.open) fault_set(FAULT_ALLOC, 12, false);
    const int64_t in_use = mem_in_use();
    int status = trainer_open(&t, s, &source, &source, &shared->err[rank]);
    shared->in_use[rank] = mem_in_use() - in_use;
    if (rank == now.rank && now.write) fault_set(FAULT_WRITE, now.write, false);
    if (status == 0) status = trainer_run(t, &shared->result[rank], &shared->err[rank]);
    trainer_close(t);
    shared->status[rank] = status;
}

/* `n` ranks do this; every one of them must come to an end. */
static void start_ranks(int n, void (*what)(const void *), const void *context) {
    pthread_barrierattr_t attr;
    pid_t child[RANKS];
    int status;
    ranks = n;
    memset(&shared->status, 0, sizeof *shared - offsetof(__typeof__(*shared), status)); /* all but what is on its way */
    pthread_barrierattr_init(&attr);
    pthread_barrierattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
    assert_int_equal(pthread_barrier_init(&shared->barrier, &attr, (unsigned)n), 0);
    for (rank = 0; rank < n; rank++) {
        child[rank] = fork();
        if (child[rank] == 0) {
            alarm(PATIENCE);
            what(context);
            _exit(0);
        }
    }
    for (int r = 0; r < n; r++) {
        waitpid(child[r], &status, 0);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
            fail_msg("rank %d of %d did not end: %s", r, n, WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : "?");
    }
    rank = 0;
    ranks = 1;
}

static void run_ranks(const struct trainer_settings *s, int n, const struct trouble *trouble) {
    now = *trouble;
    start_ranks(n, one_rank, s);
}

static struct trainer_settings settings(char *path, const char *name, int64_t steps) {
    struct trainer_settings s = tiny_run(path, name, FAMILY_MDM, steps);
    s.random_length = 0;
    s.micro_batch = 2;
    s.eval_every = 2;
    return s;
}

static double distance(const float *a, const float *b, int64_t n) {
    double d = 0, norm = 0;
    for (int64_t i = 0; i < n; i++) {
        d += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
        norm += (double)b[i] * b[i];
    }
    return sqrt(d / norm);
}

static void same_as_one(void **state) {
    (void)state;
    char path[FILE_PATH_MAX];
    int64_t n;
    struct trainer_settings s = settings(path, "one", 4);
    run_ranks(&s, 1, &none);
    assert_int_equal(shared->status[0], 0);
    const double valid = shared->result[0].valid_loss;
    float *one = final_weights(&s, &n);
    s = settings(path, "two", 4);
    run_ranks(&s, 2, &none);
    for (int r = 0; r < 2; r++) {
        assert_int_equal(shared->status[r], 0);
        assert_int_equal(shared->result[r].end, TRAINER_DONE);
        assert_true(fabs(shared->result[r].valid_loss / valid - 1) < 1e-5);
    }
    float *two = final_weights(&s, &n);
    assert_true(distance(two, one, n / 3) < 1e-4);
    free(one);
    free(two);
}

struct outcome {
    float *w; /* weights and both moments */
    int64_t n;
    double valid, loss;
};

/* Runs r ranks, the checkpoint of which must be that of `same`, unless that is empty still: then it is filled in. */
static void run_the_same(const struct trainer_settings *s, int r, struct outcome *same) {
    struct outcome o;
    run_ranks(s, r, &none);
    for (int k = 0; k < r; k++)
        if (shared->status[k] < 0) fail_msg("%s: rank %d: %s", s->run, k, shared->err[k].msg);
    o = (struct outcome){.valid = shared->result[r - 1].valid_loss, .loss = shared->result[r - 1].loss};
    o.w = final_weights(s, &o.n);
    if (!same->w) {
        *same = o;
        return;
    }
    if (memcmp(o.w, same->w, (size_t)o.n * 4) != 0) fail_msg("%s: other weights or moments", s->run);
    assert_true(o.valid == same->valid && o.loss == same->loss);
    free(o.w);
}

static struct outcome outcome_of_groups(int64_t groups, enum dtype wire) {
    char path[FILE_PATH_MAX], name[48];
    struct outcome same = {0};
    for (int r = 1; r <= 3; r++)
        for (int shard = SHARD_NONE; shard <= (r == 1 && groups != 5 ? SHARD_NONE : SHARD_FULL); shard++) {
            snprintf(name, sizeof name, "groups-%d-%d-%d-%d", (int)groups, r, shard, wire);
            struct trainer_settings s = settings(path, name, 4);
            s.sum_groups = groups;
            s.shard = (enum shard)shard;
            s.wire = wire;
            if (groups == 5) make_cheap(&s); /* with Muon */
            run_the_same(&s, r, &same);
        }
    return same;
}

/* With groups, weights and both moments have the same bits from any number of ranks, whether or not that divides them,
 * and whatever is sharded, also where gradients travel in bf16. (That one rank may shard too: shards_without_groups, and here with Muon.) */
static void groups_fix_the_sum(void **state) {
    (void)state;
    for (int64_t groups = 4; groups <= 6; groups++) {
        const struct outcome same = outcome_of_groups(groups, DTYPE_F32);
        if (groups < 6) {
            const struct outcome narrow = outcome_of_groups(groups, DTYPE_BF16);
            const double d = distance(narrow.w, same.w, same.n / 3);
            if (!(d > 1e-6 && d < 0.05)) fail_msg("%d groups: bf16 on the way moves the weights by %g", (int)groups, d);
            free(narrow.w);
        }
        free(same.w);
    }
}

/* ---- sums that travel in bf16 ---- */

struct summing {
    struct params params;
    enum dtype wire;
    int64_t leaves;
};

static float leaf_value(int64_t leaf, int64_t i) {
    return (float)rng_uniform(3, RNG_TEST, (uint64_t)leaf, (uint64_t)i) - 0.5f;
}

static void take_sum(const void *context) {
    const struct summing *n = context;
    struct err err = {{0}};
    struct shards s;
    struct gradient g;
    double loss;
    must(shards_open(&s, &n->params, SHARD_NONE, &err), &err);
    must(gradient_open(&g, &s, n->leaves, n->wire, &err), &err);
    gradient_start(&g);
    for (int64_t leaf = gradient_first(&g, 0); leaf < gradient_first(&g, 1); leaf++) {
        float *v = gradient_enter(&g);
        for (int64_t i = 0; i < g.n; i++) v[i] = leaf_value(leaf, i);
        gradient_leave(&g, leaf, 0);
    }
    gradient_sum(&g, &loss);
    gradient_gather(&g);
    assert_true(g.n <= ROOM / 4);
    if (rank == ranks - 1) memcpy(shared->sum, g.v[0], (size_t)g.n * 4);
    gradient_close(&g);
    shards_close(&s);
}

/* As wire.h says, and half as many bytes. */
static void narrow_sums(bool tied) {
    char path[FILE_PATH_MAX];
    struct err err = {{0}};
    struct trainer_settings t = tiny_run(path, "narrow", FAMILY_MDM, 1);
    struct summing n = {.leaves = 4};
    t.config.tied_head = tied;
    must(params_init(&n.params, &t.config, &err), &err);
    float *one = calloc((size_t)n.params.total, 4);
    for (; n.leaves <= 7; n.leaves++) {
        int64_t sent[2][3];
        for (int wire = 0; wire < 2; wire++)
            for (int r = 1; r <= 3; r++) {
                n.wire = wire ? DTYPE_BF16 : DTYPE_F32;
                start_ranks(r, take_sum, &n);
                sent[wire][r - 1] = shared->sent[r - 1];
                if (r == 1) memcpy(one, shared->sum, (size_t)n.params.total * 4);
                assert_memory_equal(one, shared->sum, (size_t)n.params.total * 4);
            }
        for (int r = 1; r < 3; r++) /* but for the losses, which are doubles */
            assert_true(sent[1][r] > 0 && sent[1][r] <= sent[0][r] / 2 + 1000);
        const int levels = n.leaves == 4 ? 2 : 3;
        const double bound = pow(1 + ldexp(1, -8), levels + 1) - 1, least = bound / 3;
        double worst = 0;
        for (int64_t i = 0; i < n.params.total; i++) {
            double sum = 0, size = 0;
            for (int64_t k = 0; k < n.leaves; k++) sum += leaf_value(k, i), size += fabsf(leaf_value(k, i));
            worst = fmax(worst, fabs(one[i] - sum) / size);
        }
        if (!(worst > least && worst < bound)) fail_msg("%d leaves: error %g", (int)n.leaves, worst);
    }
    free(one);
    params_free(&n.params);
}

/* Of a tied head the last part is so small that a rank has none of it. */
static void narrow_sums_are_bounded(void **state) {
    (void)state;
    narrow_sums(false);
    narrow_sums(true);
}

/* What is sharded changes no bit: of no family and precision, with activations computed again, with a head that is the
 * embedding, with examples of which nothing is learned. */
static void shards_are_the_same(void **state) {
    (void)state;
    static const struct {
        enum family family;
        enum dtype precision;
        bool recompute, tied;
        struct few few;
    } cases[] = {
        {FAMILY_ARM, DTYPE_F32, false, false, {plain, 1, -1}},
        {FAMILY_MDM, DTYPE_BF16, true, false, {plain, 1, -1}},
        {FAMILY_MDM, DTYPE_F32, true, true, {plain, 1, -1}},
        {FAMILY_MDM, DTYPE_BF16, false, true, {plain, 1, -1}},
        {FAMILY_MDM, DTYPE_BF16, false, false, {short_ones, 4, -1}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char path[FILE_PATH_MAX], name[32];
        struct outcome same = {0};
        few = cases[i].few;
        for (int k = 0; k < 4; k++) { /* one rank; then three, in each way */
            snprintf(name, sizeof name, "shards-%d-%d", (int)i, k);
            struct trainer_settings s = settings(path, name, 3);
            s.config.family = cases[i].family;
            if (s.config.family == FAMILY_ARM) s.config.mask_id = -1;
            s.config.tied_head = cases[i].tied;
            if (cases[i].tied) s.config.padded_vocab_size = config_embedding_rows(&s.config);
            s.precision = cases[i].precision;
            s.recompute = cases[i].recompute;
            s.sum_groups = 5;
            s.shard = (enum shard)(k > 0 ? k - 1 : 0);
            run_the_same(&s, k > 0 ? 3 : 1, &same);
        }
        free(same.w);
    }
    few = (struct few){.v = plain, .n = 1, .fails_at = -1};
}

/* ---- norms ---- */

struct norming {
    struct params params;
    enum shard shard;
    uint64_t seed;
};

static void take_norm(const void *context) {
    const struct norming *n = context;
    struct err err = {{0}};
    struct shards s;
    must(shards_open(&s, &n->params, n->shard, &err), &err);
    float *v = calloc((size_t)s.kept, sizeof *v);
    for (int i = 0; i < shards_ranges(&s); i++) {
        const struct shard_range r = shards_range(&s, i);
        for (int64_t k = 0; k < r.n; k++)
            v[r.at + k] = (float)rng_uniform(n->seed, RNG_TEST, 0, (uint64_t)(r.first + k));
    }
    shared->norm[rank] = shards_norm(&s, v, n->shard == SHARD_FULL);
    free(v);
    shards_close(&s);
}

/* To the last bit of a double, in which another order of adding would show. */
static void norms_are_the_same(void **state) {
    (void)state;
    char path[FILE_PATH_MAX];
    struct err err = {{0}};
    const struct trainer_settings t = tiny_run(path, "norm", FAMILY_MDM, 1);
    struct norming n = {.shard = SHARD_NONE};
    must(params_init(&n.params, &t.config, &err), &err);
    for (n.seed = 0; n.seed < 8; n.seed++) {
        start_ranks(1, take_norm, &n);
        const double want = shared->norm[0];
        assert_true(want > 0);
        for (int r = 2; r <= 3; r++)
            for (n.shard = SHARD_NONE; n.shard <= SHARD_FULL; n.shard += SHARD_FULL) {
                start_ranks(r, take_norm, &n);
                for (int k = 0; k < r; k++) assert_true(shared->norm[k] == want);
            }
        n.shard = SHARD_NONE;
    }
    params_free(&n.params);
}

/* Without groups the sums have other orders. */
static void shards_without_groups(void **state) {
    (void)state;
    for (int shard = SHARD_NONE; shard <= SHARD_FULL; shard++) {
        char path[FILE_PATH_MAX], name[32];
        float *one = NULL;
        int64_t n;
        for (int r = 1; r <= 3; r++) {
            snprintf(name, sizeof name, "free-%d-%d", shard, r);
            struct trainer_settings s = settings(path, name, 4);
            s.shard = (enum shard)shard;
            run_ranks(&s, r, &none);
            for (int k = 0; k < r; k++) assert_int_equal(shared->status[k], 0);
            float *w = final_weights(&s, &n);
            if (one) assert_true(distance(w, one, n / 3) < 1e-4);
            if (one) free(w);
            if (!one) one = w;
        }
        free(one);
    }
}

/* A run goes on with other ranks and another division than it had. */
static void shards_move(void **state) {
    (void)state;
    char path[FILE_PATH_MAX];
    struct outcome same = {0};
    struct trainer_settings s = settings(path, "moved-not", 6);
    s.sum_groups = 4;
    run_the_same(&s, 1, &same);
    s = settings(path, "moved", 6);
    s.sum_groups = 4;
    static const struct {
        int steps, ranks;
        enum shard shard;
    } legs[] = {
        {1, 3, SHARD_FULL}, {2, 2, SHARD_OPTIMIZER}, {4, 2, SHARD_FULL}, {5, 3, SHARD_NONE}, {6, 1, SHARD_FULL}};
    for (size_t i = 0; i < sizeof legs / sizeof *legs; i++) {
        const struct schedule whole = s.schedule;
        s.shard = legs[i].shard;
        /* the state after a step does not tell how long the run was to be, but for the rate of learning */
        s.schedule.steps = legs[i].steps;
        if (i + 1 < sizeof legs / sizeof *legs) {
            s.schedule = whole;
            run_ranks(&s, legs[i].ranks, &(struct trouble){.rank = 0, .stop_at = 6 * legs[i].steps, .fail_at = -1});
            for (int k = 0; k < legs[i].ranks; k++) {
                assert_int_equal(shared->status[k], 0);
                assert_int_equal(shared->result[k].step, legs[i].steps);
            }
        } else {
            run_the_same(&s, legs[i].ranks, &same);
        }
    }
    free(same.w);
}

/* What `mdm plan` counts of a step is what goes between ranks in one, and what it says of memory what they take. */
static void plans_are_true(void **state) {
    (void)state;
    enum { WIDE = 512 };
    static const struct {
        int ranks, groups;
        enum dtype precision;
        bool tied, muon;
    } cases[] = {{1, 0, DTYPE_F32, false},
                 {2, 0, DTYPE_BF16, false},
                 {3, 0, DTYPE_F32, true},
                 {2, 6, DTYPE_BF16, true},
                 {3, 6, DTYPE_F32, false},
                 {3, 6, DTYPE_BF16, false},
                 {3, 9, DTYPE_F32, false} /* two blocks stand, of rank 1 three */,
                 {2, 6, DTYPE_F32, false, true},
                 {2, 0, DTYPE_BF16, false, true},
                 {3, 0, DTYPE_F32, false, true}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int shard = SHARD_NONE; shard <= SHARD_FULL; shard++) {
            struct trainer_settings s;
            struct err err = {{0}};
            int64_t exchanges[2], sent[2] = {0};
            for (int k = 0; k < 2; k++) {
                char path[FILE_PATH_MAX], name[32];
                snprintf(name, sizeof name, "plan-%d-%d-%d", (int)i, shard, k);
                s = settings(path, name, 2 + 2 * k);
                s.eval_every = 9;
                s.sum_groups = cases[i].groups;
                if (s.batch < s.sum_groups) s.batch = s.sum_groups;
                s.precision = cases[i].precision;
                s.wire = cases[i].precision; /* of gradients too */
                s.shard = (enum shard)shard;
                s.config.tied_head = cases[i].tied;
                if (cases[i].muon) { /* matrices that are large beside all else, with strides that products copy */
                    s.muon = true;
                    s.config.n_embd = s.config.intermediate_size = WIDE;
                }
                if (cases[i].tied) s.config.padded_vocab_size = config_embedding_rows(&s.config);
                run_ranks(&s, cases[i].ranks, &none);
                exchanges[k] = shared->exchanges[0];
                for (int r = 0; r < cases[i].ranks; r++) {
                    if (shared->status[r] < 0) fail_msg("%s", shared->err[r].msg);
                    sent[k] += shared->sent[r];
                }
            }
            struct planner p;
            must(planner_open(&p, &s, LENGTH, &err), &err);
            struct plan plan;
            must(planner_ranks(&plan, &p, cases[i].ranks, &(struct plan_machine){1e9, 1e9, 1e9},
                               &(struct plan_network){1e-3, 0, 1e9}, INT64_MAX, &err),
                 &err);
            if (cases[i].ranks > 1 &&
                (plan.traffic.exchanges != (exchanges[1] - exchanges[0]) / 2 ||
                 fabs(plan.traffic.bytes * cases[i].ranks - (double)(sent[1] - sent[0]) / 2) > 0.5))
                fail_msg("case %d, shard %d: planned %lld exchanges and %g bytes, there were %g and %g", (int)i, shard,
                         (long long)plan.traffic.exchanges, plan.traffic.bytes * cases[i].ranks,
                         (double)(exchanges[1] - exchanges[0]) / 2, (double)(sent[1] - sent[0]) / 2);
            int64_t most = 0;
            for (int r = 0; r < cases[i].ranks; r++) most = shared->in_use[r] > most ? shared->in_use[r] : most;
            const int64_t more = most - reserve_bytes(&plan.memory);
            /* Ids, lists, tables are more, of wide matrices a thread's blocks too; what the model's products and Muon's share
             * is counted for both. */
            if (more < (cases[i].muon ? -(2 << 20) : 0) || more > (cases[i].muon ? 2 << 20 : 140000))
                fail_msg("case %d, shard %d: planned %lld bytes, and there were %lld more", (int)i, shard,
                         (long long)reserve_bytes(&plan.memory), (long long)more);
            planner_close(&p);
        }
}

static void groups_that_cannot_be(void **state) {
    (void)state;
    char path[FILE_PATH_MAX];
    struct trainer_settings s = settings(path, "few", 4);
    s.sum_groups = 2;
    run_ranks(&s, 3, &none);
    for (int r = 0; r < 3; r++) assert_non_null(strstr(shared->err[r].msg, "one for each of the 3 processes"));
    s = settings(path, "cut", 4);
    s.sum_groups = 2; /* three examples each, of which a micro-batch holds two */
    run_ranks(&s, 2, &none);
    for (int r = 0; r < 2; r++) assert_non_null(strstr(shared->err[r].msg, "--micro-batch 2 wants 3 groups"));
}

static void stop_on_one(void **state) {
    (void)state;
    for (int shard = SHARD_NONE; shard <= SHARD_FULL; shard += SHARD_FULL) {
        char path[FILE_PATH_MAX];
        struct trainer_settings s = settings(path, shard ? "stop-full" : "stop", 8);
        s.shard = (enum shard)shard;
        /* example 22 is read by rank 1 in the fourth step, of examples 18 to 23 */
        run_ranks(&s, 2, &(struct trouble){.rank = 1, .stop_at = 22, .fail_at = -1});
        for (int r = 0; r < 2; r++) {
            assert_int_equal(shared->status[r], 0);
            assert_int_equal(shared->result[r].end, TRAINER_STOPPED);
            assert_int_equal(shared->result[r].step, 3);
        }
    }
}

/* Stopped twice within a validation, and gone on with by other numbers of ranks: it is that of a run which was not stopped.
 * Examples behind the twelfth are read there alone. */
static void stops_in_a_validation(void **state) {
    (void)state;
    for (int shard = SHARD_NONE; shard <= SHARD_FULL; shard += SHARD_FULL) {
        double valid = NAN;
        for (int stopped = 0; stopped < 2; stopped++) {
            char path[FILE_PATH_MAX], name[32];
            snprintf(name, sizeof name, "in-valid-%d-%d", shard, stopped);
            struct trainer_settings s = settings(path, name, 2);
            s.shard = (enum shard)shard;
            s.sum_groups = 6;
            s.valid_examples = 24;
            for (int stop = 0; stop < 2 * stopped; stop++) {
                run_ranks(&s, 2 + stop, &(struct trouble){.rank = 1 + stop, .stop_at = 15 + 5 * stop, .fail_at = -1});
                for (int r = 0; r < 2 + stop; r++) {
                    assert_int_equal(shared->status[r], 0);
                    assert_int_equal(shared->result[r].end, TRAINER_STOPPED);
                    assert_int_equal(shared->result[r].step, 2);
                    assert_true(isnan(shared->result[r].valid_loss));
                }
            }
            run_ranks(&s, 2, &none);
            for (int r = 0; r < 2; r++) assert_int_equal(shared->status[r], 0);
            if (!stopped) valid = shared->result[0].valid_loss;
            assert_true(isfinite(valid) && shared->result[0].valid_loss == valid);
        }
    }
}

static void assert_failed(int failing, const char *why) {
    for (int r = 0; r < 2; r++) {
        assert_int_equal(shared->status[r], -1);
        const char *said = shared->err[r].msg;
        char where[32];
        snprintf(where, sizeof where, "rank %d on ", failing);
        if (!strstr(said, why) || strncmp(said, where, strlen(where)) != 0)
            fail_msg("rank %d says '%s', expected '%s…%s'", r, said, where, why);
    }
}

static void failure_on_one(void **state) {
    (void)state;
    for (int shard = SHARD_NONE; shard <= SHARD_FULL; shard += SHARD_FULL) {
        char path[FILE_PATH_MAX], name[32];
        struct trainer_settings s = settings(path, shard ? "read-full" : "read", 8);
        s.shard = (enum shard)shard;
        run_ranks(&s, 2, &(struct trouble){.rank = 1, .stop_at = -1, .fail_at = 22});
        assert_failed(1, "lost its disk");
        s = settings(path, shard ? "validation-full" : "validation", 8);
        s.shard = (enum shard)shard;
        s.valid_examples = 24; /* example 23 is first read in the validation after the second step */
        run_ranks(&s, 2, &(struct trouble){.rank = 1, .stop_at = -1, .fail_at = 23});
        assert_failed(1, "lost its disk");
        s = settings(path, shard ? "open-full" : "open", 8);
        s.shard = (enum shard)shard;
        run_ranks(&s, 2, &(struct trouble){.rank = 1, .stop_at = -1, .fail_at = -1, .open = true});
        assert_failed(1, "out of memory");
        s = settings(path, shard ? "row-full" : "row", 3);
        s.shard = (enum shard)shard; /* a row, and no checkpoint is due, where all would hear of it at once */
        run_ranks(&s, 2, &(struct trouble){.rank = 0, .stop_at = -1, .fail_at = -1, .write = 2});
        assert_failed(0, path);
        for (int r = 0; r < 2; r++)
            for (long write = 1; write <= (r ? 2 : 4); write++) { /* metrics.csv's head, its rows, a checkpoint */
                snprintf(name, sizeof name, "write-%d-%d-%ld", shard, r, write);
                s = settings(path, name, 3);
                s.save_every = 1;
                s.shard = (enum shard)shard;
                run_ranks(&s, 2, &(struct trouble){.rank = r, .stop_at = -1, .fail_at = -1, .write = write});
                assert_failed(r, path);
            }
    }
}

/* All of this process's environment, in its order, but what makes a rank of it. */
static void a_child_is_no_rank(void **state) {
    (void)state;
    struct err err = {{0}};
    int kept = 0, left = 0;
    assert_int_equal(setenv("PMI_RANK", "1", 1) | setenv("PMI_RANKS", "2", 1), 0);
    char **v = comm_alone(&err);
    for (int i = 0; environ[i]; i++) {
        if (strncmp(environ[i], "PMI_RANK=", 9) == 0 && ++left) continue;
        assert_string_equal(v[kept++], environ[i]);
    }
    assert_null(v[kept]);
    assert_int_equal(left, 1);
    mem_free(v);
    assert_int_equal(unsetenv("PMI_RANK") | unsetenv("PMI_RANKS"), 0);
}

int main(void) {
    train_setup();
    omp_set_num_threads(1); /* threads do not survive a fork */
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_as_one),          cmocka_unit_test(groups_fix_the_sum),
        cmocka_unit_test(shards_are_the_same),  cmocka_unit_test(shards_without_groups),
        cmocka_unit_test(shards_move),          cmocka_unit_test(groups_that_cannot_be),
        cmocka_unit_test(stop_on_one),          cmocka_unit_test(failure_on_one),
        cmocka_unit_test(norms_are_the_same),   cmocka_unit_test(narrow_sums_are_bounded),
        cmocka_unit_test(plans_are_true),       cmocka_unit_test(a_child_is_no_rank),
        cmocka_unit_test(stops_in_a_validation)};
    const int r = cmocka_run_group_tests(tests, NULL, NULL);
    train_teardown();
    return r;
}
