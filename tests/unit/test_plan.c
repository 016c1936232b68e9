/* What `mdm plan` makes of a step, against counts by hand. That the program sends what is counted here, and reserves what is
 * told, is test_ranks.c's. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>

#include "base/err.h"
#include "scaling/plan.h"

/* Parts of 1040, 2592, 2592, 1040 floats: 7264, in 10 pieces of 1024. */
static const struct config tiny = {.family = FAMILY_MDM,
                                   .block_size = 64,
                                   .vocab_size = 60,
                                   .padded_vocab_size = 64,
                                   .mask_id = 64,
                                   .n_layer = 2,
                                   .n_head = 1,
                                   .n_query_groups = 1,
                                   .n_embd = 16,
                                   .intermediate_size = 32,
                                   .norm_eps = 1e-5};
#define FLOATS 7264.0
#define FREE 1e30 /* a rate of what costs nothing */
static const struct plan_machine idle = {FREE, FREE, FREE};
static const struct plan_network wire = {0, 0, 4}; /* a float a second */

static struct plan plan(const struct trainer_settings *s, int ranks, const struct plan_machine *m,
                        const struct plan_network *net) {
    struct planner p;
    struct err err = {{0}};
    if (planner_open(&p, s, s->config.block_size, &err) < 0) fail_msg("%s", err.msg);
    struct plan r;
    if (planner_ranks(&r, &p, ranks, m, net, INT64_MAX, &err) < 0) fail_msg("%s", err.msg);
    planner_close(&p);
    return r;
}

static void near(double got, double want) {
    if (!(fabs(got - want) <= 1e-6 * fabs(want))) fail_msg("%.9g, expected %.9g", got, want);
}

static struct trainer_settings settings(enum shard shard, int64_t batch) {
    return (struct trainer_settings){
        .config = tiny, .precision = DTYPE_F32, .batch = batch, .micro_batch = 1, .shard = shard};
}

/* A word of 4 bytes, the losses' and two sums of 8, half of 10 sums of squares; half of the gradient out, half of the sum. */
static void traffic_of_none(void **state) {
    (void)state;
    const struct trainer_settings s = settings(SHARD_NONE, 2);
    struct plan p = plan(&s, 2, &idle, &wire);
    near(p.traffic.bytes, 4 + 8 + 16 + 40 + 4 * FLOATS);
    near(p.step, p.traffic.bytes / 4);
    assert_true(p.hidden == 0);
    p = plan(&s, 2, &idle, &(struct plan_network){1, 0, FREE});
    assert_int_equal(p.traffic.exchanges, 1 + 1 + 2 + 1 + 4 + 4);
    near(p.step, 13);
    p = plan(&s, 4, &idle, &(struct plan_network){0, 1, FREE});
    near(p.step, 13 * 3);
    p = plan(&s, 1, &idle, &(struct plan_network){1, 1, 1});
    near(p.step + 1, 1);
}

/* Weights come back in bf16, but those of the embedding, and vectors by themselves. */
static void traffic_of_optimizer(void **state) {
    (void)state;
    struct trainer_settings s = settings(SHARD_OPTIMIZER, 2);
    s.precision = DTYPE_BF16;
    const struct plan p = plan(&s, 2, &idle, &wire);
    near(p.traffic.bytes, 68 + 2 * FLOATS + (4 * 1040 + 2 * (FLOATS - 1040) + 4 * (32 + 32 + 16)) / 2);
    assert_int_equal(p.traffic.exchanges, 1 + 1 + 2 + 1 + 4 + 4 + 3);
}

/* Two blocks of the tree stand on each of two ranks with three groups each. */
static void traffic_of_groups(void **state) {
    (void)state;
    struct trainer_settings s = settings(SHARD_NONE, 6);
    s.sum_groups = 6;
    const struct plan p = plan(&s, 2, &idle, &wire);
    near(p.traffic.bytes, 4 + 16 + 16 + 40 + 2 * 2 * FLOATS + 2 * FLOATS);
    assert_int_equal(p.traffic.exchanges, 1 + 1 + 2 + 1 + 4 * 2 + 4);
}

/* Longer messages ask for room: 22.7 M parameters, the two largest parts of which need two turns for their sums. */
static void long_messages_make_three_trips(void **state) {
    (void)state;
    struct trainer_settings s = settings(SHARD_NONE, 2);
    struct err err = {{0}};
    assert_int_equal(config_named(&s.config, "6", FAMILY_MDM, 32000, &err), 0);
    const struct plan p = plan(&s, 2, &idle, &(struct plan_network){1, 0, FREE});
    near(p.step, 4 + 3 * (1 + 2 * 6 + 3 + 3));
}

/* Forward 0 1 2, head, 2 is still there, 1 again; each gradient once. Behind an endless computation only the first two
 * gathers and the last two scatters show. */
static void full_hides(void **state) {
    (void)state;
    const struct trainer_settings s = settings(SHARD_FULL, 2);
    const double bytes = 4 + 8 + 16 + 40 + 2 * (FLOATS + 2592) + 2 * FLOATS;
    struct plan p = plan(&s, 2, &idle, &wire);
    near(p.traffic.bytes, bytes);
    assert_int_equal(p.traffic.exchanges, 1 + 5 + 4 + 1 + 2 + 1);
    near(p.step, bytes / 4);
    assert_true(p.hidden == 0);
    p = plan(&s, 2, &(struct plan_machine){1, FREE}, &wire);
    const double hidden = bytes / 4 - (520 + 1296 + 1296 + 520 + 17);
    near(p.hidden, hidden);
    /* while something is on its way a half of computing is lost: what does not end before takes as much longer */
    struct plan_network costly = wire;
    costly.lost = 0.5;
    near(plan(&s, 2, &(struct plan_machine){1, FREE}, &costly).step, p.step + 0.5 * hidden);
    near(plan(&s, 2, &idle, &costly).step, bytes / 4);
    /* three passes: the first two layers are there from the one before, but for the embedding */
    const struct trainer_settings three = settings(SHARD_FULL, 6);
    p = plan(&three, 2, &idle, &wire);
    assert_int_equal(p.passes, 3);
    assert_int_equal(p.traffic.exchanges, 3 * (1 + 4 + 1) + 2 + 1 + 5 + 2 * 4);
}

/* A zeroed and a squared gradient, the optimizer's step: 4 + 4 + 28 bytes a parameter; packing, and sums of two ranks. */
static void memory_is_gone_through(void **state) {
    (void)state;
    const struct plan_machine m = {FREE, 1};
    const struct plan_network none = {0, 0, FREE};
    struct trainer_settings s = settings(SHARD_NONE, 2);
    near(plan(&s, 1, &m, &none).passes_memory, 36 * FLOATS);
    near(plan(&s, 2, &m, &none).passes_memory, (4 + 10 + 2 + 28) * FLOATS);
    s.precision = DTYPE_BF16;
    near(plan(&s, 1, &m, &none).passes_memory, 42 * FLOATS);
}

/* Six examples by four ranks: the slowest has two. */
static void ranks_that_wait(void **state) {
    (void)state;
    const struct plan_machine m = {1, FREE};
    const struct plan_network none = {0, 0, FREE};
    for (int shard = SHARD_NONE; shard <= SHARD_FULL; shard++) {
        struct trainer_settings s = settings((enum shard)shard, 6);
        s.micro_batch = 2;
        near(plan(&s, 4, &m, &none).efficiency, 0.75);
        assert_int_equal(plan(&s, 4, &m, &none).sequences, 2);
        assert_int_equal(plan(&s, 1, &m, &none).passes, 3);
        near(plan(&s, 1, &m, &none).efficiency, 1);
        const double whole = plan(&s, 1, &m, &none).compute;
        /* products of 64 rows through a layer, 32 through all but q/k/v of the last one and the head; attention */
        const double products = 64 * (2 * 768 + 256 + 1536) + 32 * (256 + 1536) + 32 * 1024;
        near(whole, 6 * 6 * products + 6 * 12 * 16 * (64 * 64 + 32 * 64));
        s.recompute = true;
        near(plan(&s, 1, &m, &none).compute, whole * 4 / 3 - 6 * 2 * 32 * 1024);
    }
}

/* Five examples in passes of two: the rank alone has five, in passes of one, two and two. */
static void passes_of_different_sizes(void **state) {
    (void)state;
    const struct plan_machine m = {1, FREE};
    const struct plan_network none = {0, 0, FREE};
    struct trainer_settings s = settings(SHARD_FULL, 1);
    const double one = plan(&s, 1, &m, &none).compute;
    s.batch = 5;
    s.micro_batch = 2;
    assert_int_equal(plan(&s, 1, &m, &none).passes, 3);
    near(plan(&s, 1, &m, &none).compute, 5 * one);
    near(plan(&s, 1, &m, &none).efficiency, 1);
    /* two ranks go through two passes together, of one and one and of one and two */
    near(plan(&s, 2, &m, &none).compute, 3 * one);
}

/* Ten matrices in rounds, of two ranks five: 48 x 16 beside 16 x 16, 32 x 16 twice, 16 x 32 beside 48 x 16, 16 x 16 beside 32 x 16,
 * 32 x 16 beside 16 x 32. 2 n n (2 k + 17 n) FLOPs each, n the shorter side; of each its rank has a half to
 * send or get where moments are sharded, else all to send to each other rank. */
static void muon_goes_in_rounds(void **state) {
    (void)state;
    const double qkv = 188416, square = 155648, others = 172032, numbers = 5120;
    const struct plan_network none = {0, 0, FREE};
    const struct plan_machine slow = {FREE, FREE, 1}, narrow = {FREE, 1, FREE};
    struct trainer_settings s = settings(SHARD_NONE, 2);
    const struct trainer_settings alike = s;
    s.muon = true;
    const struct plan p = plan(&s, 2, &idle, &wire);
    near(p.traffic.bytes, 4 + 8 + 16 + 40 + 4 * FLOATS + 4 * numbers / 2);
    assert_int_equal(p.traffic.exchanges, 1 + 1 + 2 + 1 + 4 + 4 + 5);
    near(p.step,
         4 / 4 + 8 / 4 + 16 / 4 + 40 / 4 + FLOATS + 2 * 768 + 3 * 512); /* the larger of each round is waited for */
    near(plan(&s, 2, &slow, &none).compute, 2 * qkv + 3 * others);
    near(plan(&s, 2, &slow, &none).step, 2 * qkv + 3 * others);
    near(plan(&s, 1, &slow, &none).compute, 2 * (qkv + square + 3 * others));
    assert_int_equal(plan(&s, 1, &idle, &wire).traffic.exchanges, 0);
    /* AdamW's 28 bytes a number are 68 of Muon's; of two ranks each makes the half of the updates, all the moments */
    near(plan(&s, 1, &narrow, &none).passes_memory, 36 * FLOATS + 40 * numbers);
    near(plan(&s, 2, &narrow, &none).passes_memory, 44 * FLOATS + (20 - 28) * numbers + 48 * (2 * 768 + 3 * 512));
    /* four rounds of three ranks, in the last of which one has work: 48 x 16 first, 32 x 16, 32 x 16, 16 x 32 alone */
    near(plan(&s, 3, &slow, &none).compute, 2 * qkv + 2 * others);
    near(plan(&s, 3, &idle, &wire).step - plan(&alike, 3, &idle, &wire).step, 2 * (768 + 768 + 512 + 512));
    for (int shard = SHARD_OPTIMIZER; shard <= SHARD_FULL; shard++) { /* pieces go there and come back */
        s.shard = (enum shard)shard;
        s.muon = false;
        const struct plan without = plan(&s, 2, &idle, &none);
        s.muon = true;
        const struct plan with = plan(&s, 2, &slow, &none);
        assert_int_equal(with.traffic.exchanges, without.traffic.exchanges + 2 * 5);
        near(with.step, 2 * qkv + 3 * others);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(traffic_of_none),    cmocka_unit_test(traffic_of_optimizer),
        cmocka_unit_test(traffic_of_groups),  cmocka_unit_test(long_messages_make_three_trips),
        cmocka_unit_test(full_hides),         cmocka_unit_test(memory_is_gone_through),
        cmocka_unit_test(ranks_that_wait),    cmocka_unit_test(passes_of_different_sizes),
        cmocka_unit_test(muon_goes_in_rounds)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
