/* The scheduler on small random models: company, order, joining, leaving and the size of a forward do not matter;
 * left to right; requests that are refused, cancelled, or meet no numbers. What samplers do: test_sampler. Token for token:
 * tests/golden/test_samples. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <unistd.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/fault.h"
#include "base/rng.h"
#include "infer/likelihood.h"
#include "infer_help.h"
#include "model/kvstore.h"
#include "model/transformer.h"

/* ---- many at once ---- */

enum { MIXED = 40, MOST = BLOCK };
static int32_t mixed_ids[MIXED][MOST], mixed_want[MIXED][MOST];
static int64_t mixed_length[MIXED];

/* Every row of the batch is a sequence of its own, and others wait: the list of those that run has no place more. */
static void sequences_of_one_row_fill_the_batch(void **state) {
    (void)state;
    enum { ROWS = 8, N = 3 * ROWS + 1 };
    struct engine e;
    int32_t ids[N];
    int64_t starts[N + 1];
    for (int i = 0; i <= N; i++) starts[i] = i;
    for (int i = 0; i < N; i++) ids[i] = MASK;
    open_engine(&e, FAMILY_MDM, ROWS, false);
    run_texts(&e, &(struct request){.sampler = &sampler_confidence, .steps = 1}, ids, starts, N);
    assert_int_equal(e.forwards, 4);
    assert_int_equal(e.rows, N);
    for (int i = 0; i < N; i++) assert_int_not_equal(ids[i], MASK);
    engine_close(&e);
}

/* Requests of all kinds: lengths, samplers, steps, guidance, temperatures, seeds. */
static void make_mixed(struct request *r, enum family f, bool guided) {
    int samplers_n = 0;
    while (samplers[samplers_n]) samplers_n++;
    for (uint64_t i = 0; i < MIXED; i++) {
#define DRAW(what, n) (int64_t) rng_below(2, RNG_TEST, what, i, n)
        const int64_t n = 1 + DRAW(0, 12), room = n + DRAW(1, MOST - (uint64_t)n + 1);
        for (int64_t p = 0; p < room; p++)
            mixed_ids[i][p] = p < n ? (int32_t)rng_below(2, RNG_TEST, 2, i << 16 | (uint64_t)p, V) : MASK;
        r[i] = (struct request){.sampler = f == FAMILY_ARM ? &sampler_causal : samplers[DRAW(3, (uint64_t)samplers_n)],
                                .ids = mixed_ids[i],
                                .n = f == FAMILY_ARM ? n : room,
                                .room = room,
                                .steps = 1 + DRAW(4, 30),
                                .temperature = 0.5 * (double)DRAW(5, 4),
                                .cfg = guided ? 0.6 * (double)DRAW(6, 3) : 0,
                                .seed = (uint64_t)DRAW(7, 3),
                                .sample = (uint64_t)DRAW(8, 5),
                                .end_id = (int32_t)DRAW(9, V)};
    }
}

static void must_be_as_alone(const struct request *r) {
    for (int64_t i = 0; i < MIXED; i++) {
        assert_true(r[i].done && !r[i].cancelled);
        assert_int_equal(r[i].n, mixed_length[i]);
        assert_memory_equal(mixed_ids[i], mixed_want[i], (size_t)r[i].n * sizeof(int32_t));
    }
}

static struct scheduler *joined; /* that join_some() adds to */
static struct request *joining;
static int64_t njoined;

static void join_some(struct request *r) {
    (void)r;
    for (int k = 0; k < 3 && njoined < MIXED; k++) add(joined, &joining[njoined++]);
}

/* Each alone; then all in one queue, in several orders and sizes of a forward; then joining while others run. */
static void company_does_not_matter(void **state) {
    (void)state;
    struct err err = {0};
    for (int f = 0; f < 2; f++) {
        const bool guided = f == FAMILY_MDM;
        struct request r[MIXED];
        struct engine e;
        const int64_t sizes[] = {2 * MOST * MIXED, 2 * MOST, 5 * MOST};
        make_mixed(r, (enum family)f, guided);
        open_engine(&e, (enum family)f, sizes[0], guided);
        for (int64_t i = 0; i < MIXED; i++) run_requests(&e, &r[i], 1);
        for (int64_t i = 0; i < MIXED; i++) mixed_length[i] = r[i].n;
        memcpy(mixed_want, mixed_ids, sizeof mixed_want);
        engine_close(&e);
        for (int way = 0; way < 9; way++) { /* 3 sizes; forward, backward, shuffled */
            struct scheduler *s;
            make_mixed(r, (enum family)f, guided);
            open_engine(&e, (enum family)f, sizes[way % 3], guided);
            assert_int_equal(scheduler_open(&s, &e, SCHEDULER_STORES, &err), 0);
            for (int64_t i = 0; i < MIXED; i++) add(s, &r[way < 3 ? i : way < 6 ? MIXED - 1 - i : (i * 7 + 3) % MIXED]);
            assert_int_equal(scheduler_run(s, &err), 0);
            scheduler_close(s);
            must_be_as_alone(r);
            engine_close(&e);
        }
        make_mixed(r, (enum family)f, guided);
        open_engine(&e, (enum family)f, 300, guided);
        assert_int_equal(scheduler_open(&joined, &e, SCHEDULER_STORES, &err), 0);
        joining = r;
        njoined = 0;
        for (int64_t i = 0; i < MIXED; i++) r[i].step = join_some;
        join_some(NULL);
        assert_int_equal(scheduler_run(joined, &err), 0);
        assert_int_equal(njoined, MIXED);
        must_be_as_alone(r);
        scheduler_close(joined);
        engine_close(&e);
    }
}

static void cancel_at_three(struct request *r) {
    if (r->steps_done == 3) r->cancelled = true;
}

/* One is cancelled by its own callback, one while it waits: both leave, the others go on as if alone. */
static void requests_can_be_cancelled(void **state) {
    (void)state;
    struct err err = {0};
    for (int f = 0; f < 2; f++) {
        enum { N = 4, LEN = 20 };
        struct engine e;
        struct scheduler *s;
        int32_t ids[N][LEN], want[LEN];
        struct request r[N];
        open_engine(&e, (enum family)f, 3 * LEN, false);
        for (int64_t i = 0; i < N; i++) {
            for (int p = 0; p < LEN; p++) ids[i][p] = p < 2 ? p : MASK;
            r[i] = (struct request){.sampler = f == FAMILY_MDM ? &sampler_confidence : &sampler_causal,
                                    .ids = ids[i],
                                    .n = f == FAMILY_MDM ? LEN : 2,
                                    .room = LEN,
                                    .steps = 18,
                                    .temperature = 1,
                                    .end_id = -1};
        }
        run_requests(&e, &r[0], 1);
        memcpy(want, ids[0], sizeof want);
        for (int p = 0; p < LEN; p++) ids[0][p] = p < 2 ? p : MASK;
        r[0].n = f == FAMILY_MDM ? LEN : 2;
        r[1].step = cancel_at_three;
        assert_int_equal(scheduler_open(&s, &e, SCHEDULER_STORES, &err), 0);
        for (int64_t i = 0; i < N; i++) add(s, &r[i]);
        r[2].cancelled = true;
        int64_t steps = 0;
        while (scheduler_step(s, &err) > 0) {
            steps++;
            assert_int_equal(r[1].done, r[1].steps_done >= 3);
        }
        scheduler_close(s);
        assert_int_equal(r[1].steps_done, 3);
        assert_int_equal(r[2].steps_done, 0);
        for (int64_t i = 0; i < N; i++) assert_true(r[i].done);
        assert_memory_equal(ids[0], want, sizeof want);
        assert_memory_equal(ids[3], want, sizeof want);
        engine_close(&e);
    }
}

static void *cancel_soon(void *request) {
    usleep(20000);
    ((struct request *)request)->cancelled = true;
    return NULL;
}

/* From another thread, while it goes through hours of steps that need no forward. */
static void cancelled_by_another_thread(void **state) {
    (void)state;
    struct err err = {0};
    struct engine e;
    struct scheduler *s;
    pthread_t thread;
    int32_t ids[] = {1, 2, MASK};
    struct request r = {
        .sampler = &sampler_confidence, .ids = ids, .n = 3, .room = 3, .steps = INT32_MAX, .temperature = 1};
    open_engine(&e, FAMILY_MDM, 10, false);
    assert_int_equal(scheduler_open(&s, &e, SCHEDULER_STORES, &err), 0);
    add(s, &r);
    assert_int_equal(pthread_create(&thread, NULL, cancel_soon, &r), 0);
    assert_int_equal(scheduler_run(s, &err), 0);
    pthread_join(thread, NULL);
    assert_true(r.done && r.steps_done < r.steps && ids[2] == MASK);
    scheduler_close(s);
    engine_close(&e);
}

/* Once it runs, a step takes no memory; and what leaves gives back what it had. */
static void steps_take_no_memory(void **state) {
    (void)state;
    struct err err = {0};
    for (int f = 0; f < 2; f++) {
        enum { N = 3, LEN = 40 };
        struct engine e;
        struct scheduler *s;
        static int32_t ids[N][LEN];
        struct request r[N];
        open_engine(&e, (enum family)f, 2 * N * LEN, f == FAMILY_MDM);
        assert_int_equal(scheduler_open(&s, &e, SCHEDULER_STORES, &err), 0);
        const int64_t before = mem_in_use();
        for (int64_t i = 0; i < N; i++) {
            for (int p = 0; p < LEN; p++) ids[i][p] = p < 2 ? p : MASK;
            r[i] = (struct request){.sampler = f == FAMILY_MDM ? samplers[i] : &sampler_causal,
                                    .ids = ids[i],
                                    .n = f == FAMILY_MDM ? LEN : 2,
                                    .room = LEN,
                                    .steps = 30,
                                    .temperature = (double)i / 2,
                                    .cfg = f == FAMILY_MDM ? (double)i : 0,
                                    .end_id = -1};
            add(s, &r[i]);
        }
        for (int k = 0; k < 2; k++) assert_int_equal(scheduler_step(s, &err), 1);
        const int64_t calls = mem_calls();
        while (scheduler_step(s, &err) > 0) {
        }
        assert_int_equal(mem_calls(), calls);
        assert_int_equal(mem_in_use(), before);
        scheduler_close(s);
        engine_close(&e);
    }
}

/* Stores within a given memory, one at least: fewer at a time, the same tokens. */
static void stores_are_bounded(void **state) {
    (void)state;
    enum { N = 6, START = 4 };
    struct err err = {0};
    struct engine e;
    const int64_t each = kvstore_bytes(&models[FAMILY_ARM].config, BLOCK, DTYPE_F32);
    static int32_t ids[N][BLOCK], want[N][BLOCK];
    open_engine(&e, FAMILY_ARM, N * BLOCK, false);
    for (int most = N; most >= 0; most -= 2) { /* all at once; fewer; none fits, so one at a time */
        struct request r[N];
        struct scheduler *s;
        int64_t steps = 0, peak = 0;
        assert_int_equal(scheduler_open(&s, &e, most * each + each / 2, &err), 0);
        const int64_t before = mem_in_use();
        for (int64_t i = 0; i < N; i++) {
            for (int p = 0; p < START; p++) ids[i][p] = (int32_t)(3 * i + p);
            r[i] = (struct request){.sampler = &sampler_causal,
                                    .ids = ids[i],
                                    .n = START,
                                    .room = BLOCK,
                                    .steps = BLOCK,
                                    .temperature = 1,
                                    .sample = (uint64_t)i,
                                    .end_id = -1};
            add(s, &r[i]);
        }
        while (scheduler_step(s, &err) > 0) {
            const int64_t used = mem_in_use() - before;
            if (used > peak) peak = used;
            steps++;
        }
        scheduler_close(s);
        const int64_t running = most > 0 ? most : 1;
        assert_true(peak > (running - 1) * each + each / 2 && peak < (running + 1) * each);
        assert_int_equal(steps + 1, (N + running - 1) / running * (BLOCK - START));
        if (most == N) memcpy(want, ids, sizeof want);
        assert_memory_equal(ids, want, sizeof want);
    }
    engine_close(&e);
}

/* ---- left to right ---- */

/* Against full forwards at temperature 0. */
static void causal_decodes(void **state) {
    (void)state;
    struct engine e;
    struct err err = {0};
    int32_t ids[BLOCK] = {7, 3, 11};
    struct request r = {.sampler = &sampler_causal, .ids = ids, .n = 3, .room = BLOCK, .steps = BLOCK, .end_id = -1};
    open_engine(&e, FAMILY_ARM, BLOCK, false);
    run_requests(&e, &r, 1);
    engine_close(&e);
    assert_int_equal(r.n, BLOCK);
    struct transformer *m;
    static float z[BLOCK * V];
    const int64_t all[2] = {0, BLOCK};
    assert_int_equal(transformer_open(&m, &models[1], &(struct transformer_settings){.max_rows = BLOCK}, &err), 0);
    transformer_logits(m, &(struct batch){.tokens = ids, .starts = all, .n = BLOCK, .nseq = 1}, z);
    for (int64_t i = 3; i < BLOCK; i++) assert_int_equal(ids[i], kernels->argmax(z + (i - 1) * V, V));
    transformer_close(m);
}

static void causal_stops_at_the_end_id(void **state) {
    (void)state;
    struct engine e;
    int32_t ids[BLOCK] = {5}, again[BLOCK] = {5};
    struct request r = {.sampler = &sampler_causal,
                        .ids = ids,
                        .n = 1,
                        .room = BLOCK,
                        .steps = BLOCK,
                        .temperature = 1,
                        .seed = 1,
                        .end_id = -1};
    open_engine(&e, FAMILY_ARM, BLOCK, false);
    struct request stops = r, full = r;
    run_requests(&e, &r, 1);
    stops.ids = again;
    stops.end_id = ids[9];
    int64_t want = 1;
    while (ids[want] != stops.end_id) want++;
    run_requests(&e, &stops, 1);
    assert_int_equal(stops.n, want + 1);
    assert_memory_equal(ids, again, (size_t)stops.n * sizeof *ids);
    assert_int_equal(stops.written, want);
    assert_int_equal(stops.nfe, want);
    full.n = full.room; /* nothing to do */
    run_requests(&e, &full, 1);
    assert_int_equal(full.written, 0);
    engine_close(&e);
}

/* ---- what is refused, and what fails ---- */

static void bad_requests_are_refused(void **state) {
    (void)state;
    struct engine mdm, arm, small;
    struct err err;
    struct scheduler *sm, *sa, *ss;
    int32_t ids[BLOCK + 1] = {0}, bad[2] = {MASK + 1, MASK};
    open_engine(&small, FAMILY_MDM, 10, false);
    assert_int_equal(scheduler_open(&ss, &small, SCHEDULER_STORES, &err), 0);
    open_engine(&mdm, FAMILY_MDM, 3 * BLOCK, false);
    open_engine(&arm, FAMILY_ARM, 3 * BLOCK, false);
    assert_int_equal(scheduler_open(&sm, &mdm, SCHEDULER_STORES, &err), 0);
    assert_int_equal(scheduler_open(&sa, &arm, SCHEDULER_STORES, &err), 0);
    const struct request good = {.sampler = &sampler_confidence, .ids = ids, .n = 4, .room = 4, .steps = 4},
                         left = {.sampler = &sampler_causal, .ids = ids, .n = 2, .room = 4, .steps = 4};
    struct request r;
#define REFUSES(scheduler, start, ...)                                                                                 \
    do {                                                                                                               \
        r = start;                                                                                                     \
        __VA_ARGS__;                                                                                                   \
        err.msg[0] = 0;                                                                                                \
        assert_int_equal(scheduler_add(scheduler, &r, &err), -1);                                                      \
        assert_true(strlen(err.msg) > 10);                                                                             \
    } while (0)
    REFUSES(sm, good, r.ids = bad, r.n = r.room = 2);
    REFUSES(sm, good, r.n = r.room = BLOCK + 1);
    REFUSES(sm, good, r.n = r.room = 0);
    REFUSES(sm, good, r.steps = 0);
    REFUSES(sm, good, r.temperature = -1);
    REFUSES(sm, good, r.temperature = NAN);
    REFUSES(sm, good, r.cfg = -1);
    REFUSES(sm, good, r.cfg = 1); /* its engine was opened without guidance */
    REFUSES(ss, good, r.n = r.room = 11);
    assert_non_null(strstr(err.msg, "do not fit a batch of 10"));
    REFUSES(sa, good, (void)0);
    REFUSES(sm, left, (void)0);
    REFUSES(sa, left, r.n = 0);
    REFUSES(sa, left, r.n = 9);
    REFUSES(sa, left, r.room = BLOCK + 1);
    REFUSES(sa, left, r.ids = bad);
    assert_int_equal(scheduler_step(sm, &err), 0); /* nothing got in */
    scheduler_close(sm);
    scheduler_close(sa);
    scheduler_close(ss);
    engine_close(&mdm);
    engine_close(&arm);
    engine_close(&small);
}

/* A request with fresh ids, through a scheduler of its own. */
static int try_request(struct engine *e, enum family f, struct err *err) {
    struct scheduler *s;
    int32_t ids[6] = {1, 2, 3, MASK, MASK, MASK};
    struct request r = {.sampler = f == FAMILY_MDM ? &sampler_confidence : &sampler_causal,
                        .ids = ids,
                        .n = f == FAMILY_MDM ? 6 : 3,
                        .room = 6,
                        .steps = 2,
                        .cfg = f == FAMILY_MDM,
                        .end_id = -1};
    if (scheduler_open(&s, e, SCHEDULER_STORES, err) < 0) return -1;
    int status = scheduler_add(s, &r, err);
    if (status == 0) status = scheduler_run(s, err);
    scheduler_close(s);
    return status;
}

/* Where the model gives no token a number, here behind a token whose row of the embedding is damaged, the request leaves
 * and nothing is written; the one that comes to its end in that step, and the one that goes on, are as without it. */
static void no_numbers(void **state) {
    (void)state;
    enum { DAMAGED = 5, WIDTH = 16, N = 3, GIVEN = 4, ROOM = 8 };
    for (int f = 0; f < 2; f++) {
        struct err err = {0};
        struct engine e;
        struct scheduler *s;
        const bool arm = f == FAMILY_ARM;
        float whole[WIDTH], *at = flat[f] + DAMAGED * WIDTH; /* the embedding comes first */
        int32_t ids[2][N][ROOM] = {{{0}}};
        const int64_t before = mem_in_use();
        memcpy(whole, at, sizeof whole);
        for (int run = 0; run < 2; run++) {
            struct request r[N];
            for (int i = 0; i < N; i++) {
                for (int k = 0; k < ROOM; k++) ids[run][i][k] = k < GIVEN ? 1 + k : MASK;
                if (i == 1 && run == 1) ids[run][i][2] = DAMAGED;
                r[i] = (struct request){.sampler = arm ? &sampler_causal : &sampler_confidence,
                                        .ids = ids[run][i],
                                        .n = arm ? GIVEN : ROOM,
                                        .room = arm && i == 0 ? GIVEN + 1 : ROOM, /* one step, and more */
                                        .steps = i == 0 ? 1 : 2,
                                        .cfg = !arm,
                                        .end_id = -1};
            }
            for (int i = 0; i < WIDTH; i++) at[i] = NAN;
            open_engine(&e, (enum family)f, 64, !arm);
            assert_int_equal(scheduler_open(&s, &e, SCHEDULER_STORES, &err), 0);
            for (int i = 0; i < N; i++) add(s, &r[i]);
            assert_int_equal(scheduler_step(s, &err), 1);
            assert_true(r[0].done && r[1].done == (run == 1) && !r[2].done);
            assert_int_equal(scheduler_run(s, &err), 0);
            scheduler_close(s);
            engine_close(&e);
            for (int i = 0; i < N; i++) assert_int_equal(scheduler_check(&r[i], &err), i == 1 && run == 1 ? -1 : 0);
            assert_int_equal(r[1].written, run == 1 ? 0 : ROOM - GIVEN);
        }
        assert_non_null(strstr(err.msg, "the model gives no token a number (NaN)"));
        for (int i = 0; i < N; i += 2) assert_memory_equal(ids[0][i], ids[1][i], sizeof ids[0][i]);
        assert_int_equal(mem_in_use(), before);
        memcpy(at, whole, sizeof whole);
    }
}

/* Every allocation fails in turn: -1 and a message, or success once they are all through; nothing is left behind. */
static void allocations_fail(void **state) {
    (void)state;
    const int32_t prefix[3] = {1, 2, 3}, target[2] = {4, 5};
    const struct likelihood_item item = {prefix, target, 3, 2};
    const struct likelihood_settings mc = {.mc_draws = 4, .mc_batch = 2, .greedy = true};
    int failures = 0;
    for (int job = 0; job < 4; job++)
        for (long n = 0, done = 0; !done; n++) {
            struct err err = {0};
            struct engine e = {0};
            struct likelihood_result r;
            const int64_t before = mem_in_use();
            const enum family f = job == 2 ? FAMILY_ARM : FAMILY_MDM;
            fault_set(FAULT_ALLOC, job == 3 ? n : 0,
                      false); /* opening fails in the last job, n = 0 is without faults */
            int status =
                engine_open(&e, &models[f], &(struct engine_settings){.max_rows = 20, .guided = f == FAMILY_MDM}, &err);
            fault_set(FAULT_ALLOC, n, false);
            if (status == 0 && (job == 0 || job == 2)) status = try_request(&e, f, &err);
            if (status == 0 && job == 1) status = likelihood(&e, &mc, &item, 1, &r, &err);
            fault_set(FAULT_ALLOC, 0, false);
            engine_close(&e);
            if (n > 0 && status == 0) done = 1;
            if (status < 0) {
                failures++;
                assert_true(n > 0 && strlen(err.msg) > 10);
                assert_true(mem_in_use() == before);
            }
        }
    printf("%d allocations failed in turn\n", failures);
    assert_true(failures > 25);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stores_are_bounded),
        cmocka_unit_test(sequences_of_one_row_fill_the_batch),
        cmocka_unit_test(company_does_not_matter),
        cmocka_unit_test(requests_can_be_cancelled),
        cmocka_unit_test(cancelled_by_another_thread),
        cmocka_unit_test(steps_take_no_memory),
        cmocka_unit_test(causal_decodes),
        cmocka_unit_test(causal_stops_at_the_end_id),
        cmocka_unit_test(bad_requests_are_refused),
        cmocka_unit_test(no_numbers),
        cmocka_unit_test(allocations_fail),
    };
    return cmocka_run_group_tests(tests, infer_setup, infer_teardown);
}
