/* cmd_plan: `mdm plan`: options, the measurements that they leave open, and a table. The work is scaling/plan.c's. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "base/machine.h"
#include "base/num.h"
#include "base/progress.h"
#include "cmd/cmd.h"
#include "comm/comm.h"
#include "compute/gemm.h"
#include "model/params.h"
#include "scaling/plan.h"
#include "train/pace.h"
#include "train/settings.h"

/* What a process takes beside what it reserves: the program, its libraries and MPI; a rank has 45 MiB before its first
 * step (docs/distributed.md). */
#define PROGRAM_BYTES (45.0 * 1048576)
/* Validation takes about a twentieth of the time of steps (train/validation.h). */
#define WITH_VALIDATION 1.05
#define RATE_LEAST 1e-3 /* of the rates, where they are not 0 */
#define RATE_MOST 1e9
#define MEMORY_RATE_MOST 1e6

static struct {
    int family, precision, shard, wire, optimizer;
    const char *model, *ranks, *network, *latency, *overhead, *memory;
    struct budget budget;
    double rate, memory_rate, muon_rate;
    int64_t length, vocab, batch, micro_batch, sum_groups, threads;
    bool recompute;
} a = {.network = "100Gbit",
       .latency = "5us",
       .overhead = "1us",
       .ranks = "1,2,4,8,16,32,64",
       .shard = SHARD_FULL,
       .vocab = 32000,
       .batch = 256};

static const struct opt opts[] = {
    {"model", OPT_STR, &a.model, "NAME|FILE", "a named model ('mdm models' lists them) or a config.json",
     .required = true},
    {"objective", OPT_CHOICE, &a.family, "mdm|arm", "masked diffusion or left to right"},
    {"flops", OPT_REAL, &a.budget.flops, "C", "budget, one of three: steps = C / (6 N batch length)", .min = 0,
     .max = 1e30},
    {"tokens", OPT_REAL, &a.budget.tokens, "D", "or in training tokens", .min = 0, .max = 1e18},
    {"steps", OPT_INT, &a.budget.steps, "S", "or in optimizer steps", .min = 0, .max = 1e12},
    {"ranks", OPT_STR, &a.ranks, "R,R,...", "ranks: machines, a process on each; a row for each number"},
    {"shard", OPT_CHOICE, &a.shard, "none|optimizer|full", "what ranks divide among them, see 'mdm pretrain --help'"},
    {"wire-gradients", OPT_CHOICE, &a.wire, "f32|bf16", "type in which gradients are sent"},
    {"optimizer", OPT_CHOICE, &a.optimizer, "adamw|muon", "muon: for the layers' matrices; the rest by AdamW"},
    {"batch", OPT_INT, &a.batch, "N", "sequences per step", .min = 1, .max = 1e6},
    {"length", OPT_INT, &a.length, "T", "tokens per sequence; 0: the model's block", .min = 0, .max = 1 << 20},
    {"micro-batch", OPT_INT, &a.micro_batch, "N", "sequences per forward pass; 0: by memory", .min = 0, .max = 1e6},
    {"sum-groups", OPT_INT, &a.sum_groups, "K",
     "groups of the batch whose gradients are added in one order; 0: one a rank", .min = 0, .max = 1e6},
    {"recompute", OPT_FLAG, &a.recompute, NULL, "compute activations again in the backward pass"},
    {"precision", OPT_CHOICE, &a.precision, "bf16|f32", "of matmul inputs"},
    {"vocab", OPT_INT, &a.vocab, "N", "vocabulary of a named model", .min = 1, .max = 10e6},
    {"network", OPT_STR, &a.network, "RATE",
     "bandwidth of a machine's link, in each direction, a second: 10Gbit, 12.5GB/s"},
    {"latency", OPT_STR, &a.latency, "TIME", "from one machine to another: 5us, 1ms"},
    {"overhead", OPT_STR, &a.overhead, "TIME", "processor's time for a message sent and one received"},
    {"memory", OPT_STR, &a.memory, "SIZE", "of a machine: 64GB (default: this one's)"},
    {"rate", OPT_REAL, &a.rate, "GFLOPS", "of a machine in forward and backward passes; 0: this one's, measured",
     .min = 0, .max = RATE_MOST},
    {"memory-rate", OPT_REAL, &a.memory_rate, "GB/S", "bandwidth of a machine's memory; 0: this one's, measured",
     .min = 0, .max = MEMORY_RATE_MOST},
    {"muon-rate", OPT_REAL, &a.muon_rate, "GFLOPS", "of a machine in Muon's products, f32; 0: this one's, measured",
     .min = 0, .max = RATE_MOST},
    {"threads", OPT_INT, &a.threads, "N", "for the measurement; 0: all cores", .min = 0, .max = CPU_THREADS},
    {0}};

/* ---- words to numbers ---- */

struct quantity {
    double least, most;
    const char *range; /* these, in words */
    struct {
        const char *name;
        double value;
    } units[6];
    const char *per; /* may follow a unit; NULL: nothing */
};
static const struct quantity bandwidth = {
    125,
    1e15,
    "1kbit to 1000000GB",
    {{"Gbit", 1e9 / 8}, {"Mbit", 1e6 / 8}, {"kbit", 1e3 / 8}, {"GB", 1e9}, {"MB", 1e6}},
    "/s"};
static const struct quantity duration = {0, 60, "0us to 60s", {{"us", 1e-6}, {"ms", 1e-3}, {"ns", 1e-9}, {"s", 1}}};
static const struct quantity memory_size = {
    1e6, 1e15, "1MB to 1000000GB", {{"GB", 1e9}, {"MB", 1e6}, {"GiB", 1073741824.}, {"MiB", 1048576.}}};

/* "10Gbit". */
static int with_unit(double *v, const char *option, const char *text, const struct quantity *q, struct err *err) {
    char *end, names[64] = "";
    const double x = strtod(text, &end);
    for (int i = 0; q->units[i].name; i++) {
        snprintf(names + strlen(names), sizeof names - strlen(names), "%s%s", i ? ", " : "", q->units[i].name);
        *v = x * q->units[i].value;
        if (end == text || strncmp(end, q->units[i].name, strlen(q->units[i].name)) != 0) continue;
        const char *rest = end + strlen(q->units[i].name);
        if ((!*rest || (q->per && !strcmp(rest, q->per))) && *v >= q->least && *v <= q->most) return 0;
    }
    return err_set(err, "--%s '%s': expected %s, one of %s behind the number", option, text, q->range, names);
}

static int check_rate(const char *option, double v, struct err *err) {
    if (v == 0 || v >= RATE_LEAST) return 0;
    return err_set(err, "--%s %g: expected at least %g, or 0 to have this machine's measured", option, v, RATE_LEAST);
}

static int check_muon_rate(struct err *err) {
    if (a.muon_rate > 0 && !a.optimizer)
        return err_set(err, "--muon-rate is for a training by --optimizer muon: give that too, or leave it out");
    return check_rate("muon-rate", a.muon_rate, err);
}

/* ---- what is asked ---- */

struct plan_words {
    struct config config;
    struct trainer_settings settings;
    struct planner planner;
    struct plan_machine machine;
    struct plan_network network;
    int ranks[COMM_RANKS], nranks; /* none twice */
    int64_t measured;              /* sequences a pass of the machine's rate; 0: it was given */
    bool bandwidth_measured, latency_measured, overlap_measured;
    double memory;
};

/* --ranks, all of which can be, before anything is measured. */
static int read_ranks(struct plan_words *q, struct err *err) {
    for (const char *at = a.ranks; *at;) {
        char *end;
        int i = 0;
        const long v = strtol(at, &end, 10);
        if (end == at || v < 1 || v > COMM_RANKS || (*end && *end != ',') || (*end && !end[1])) break;
        if (trainer_check_groups(&q->settings, (int)v, err) < 0) return -1;
        while (i < q->nranks && q->ranks[i] != v) i++;
        if (i == q->nranks) q->ranks[q->nranks++] = (int)v;
        if (!*end) return 0;
        at = end + 1;
    }
    return err_set(err, "--ranks '%s': expected numbers from 1 to %d with commas between", a.ranks, COMM_RANKS);
}

static int settle(struct plan_words *q, struct err *err) {
    if (config_load(&q->config, a.model, (enum family)a.family, a.vocab, err) < 0) return -1;
    if (a.length == 0) a.length = q->config.block_size;
    if (a.length > q->config.block_size)
        return err_set(err, "--length %lld: the model's block size is %lld", (long long)a.length,
                       (long long)q->config.block_size);
    q->settings = (struct trainer_settings){.config = q->config,
                                            .precision = a.precision ? DTYPE_F32 : DTYPE_BF16,
                                            .batch = a.batch,
                                            .micro_batch = a.micro_batch,
                                            .sum_groups = a.sum_groups,
                                            .shard = (enum shard)a.shard,
                                            .wire = a.wire ? DTYPE_BF16 : DTYPE_F32,
                                            .recompute = a.recompute,
                                            .muon = a.optimizer == 1};
    q->memory = (double)machine_memory();
    if (with_unit(&q->network.bytes_per_s, "network", a.network, &bandwidth, err) < 0 ||
        with_unit(&q->network.latency, "latency", a.latency, &duration, err) < 0 ||
        with_unit(&q->network.overhead, "overhead", a.overhead, &duration, err) < 0 ||
        (a.memory && with_unit(&q->memory, "memory", a.memory, &memory_size, err) < 0) ||
        check_rate("rate", a.rate, err) < 0 || check_rate("memory-rate", a.memory_rate, err) < 0 ||
        check_muon_rate(err) < 0 || read_ranks(q, err) < 0)
        return -1;
    q->settings.schedule.steps = schedule_steps(&a.budget, params_body(&q->config), a.batch, (double)a.length, err);
    return q->settings.schedule.steps < 0 ? -1 : planner_open(&q->planner, &q->settings, a.length, err);
}

/* The mean of all ranks. */
static void over_ranks(double *v) {
    comm_sum_f64(v, 1);
    *v /= comm_size();
}

/* What is between the ranks that there are, where it is not given. */
static int measure_network(struct plan_words *q, const struct opt_given *given, struct err *err) {
    double word, bytes_per_s, lost;
    const bool rate = opt_given(given, "network"), latency = opt_given(given, "latency");
    if (comm_size() == 1 || (rate && latency)) return 0;
    if (pace_of_network(&word, &bytes_per_s, err) < 0) return -1;
    over_ranks(&word);
    over_ranks(&bytes_per_s);
    q->bandwidth_measured = !rate;
    q->latency_measured = !latency;
    if (!rate) q->network.bytes_per_s = bytes_per_s;
    if (!latency) q->network.latency = fmax(0, word - (comm_size() - 1) * q->network.overhead);
    if (rate || latency || a.shard != SHARD_FULL) return 0; /* another network, or nothing that it overlaps with */
    progress_say(NULL, "measuring what computing loses beside the network");
    if (pace_of_overlap(&lost, &q->config, q->settings.precision, a.length, max64(q->measured, 1), bytes_per_s, err) <
        0)
        return -1;
    over_ranks(&lost);
    q->network.lost = lost;
    q->overlap_measured = true;
    return 0;
}

static int plan_of(struct plan *p, const struct plan_words *q, int ranks, struct err *err) {
    return planner_ranks(p, &q->planner, ranks, &q->machine, &q->network, (int64_t)q->memory, err);
}

/* Passes as large as those of the fewest ranks that are asked for: with more of them they may be smaller, and slower. */
static int measure_passes(struct plan_words *q, struct err *err) {
    struct pace pace;
    struct plan largest;
    int fewest = q->ranks[0];
    for (int i = 1; i < q->nranks; i++) fewest = q->ranks[i] < fewest ? q->ranks[i] : fewest;
    progress_say(NULL, "measuring this machine with two layers of the model");
    if (plan_of(&largest, q, fewest, err) < 0 ||
        pace_of_shape(&pace, &q->config, q->settings.precision, a.length, largest.sequences, err) < 0)
        return -1;
    q->machine.flops_per_s = pace.flops_per_s;
    q->measured = pace.sequences;
    return 0;
}

static int measure_muon(struct plan_words *q, struct err *err) {
    progress_say(NULL, "measuring this machine with Muon's products of a layer");
    q->machine.muon_flops_per_s = pace_of_muon(&q->config, err);
    return q->machine.muon_flops_per_s < 0 ? -1 : 0;
}

/* This machine's rates, where others are not given. Ranks measure at the same time, as they will work. */
static int measure(struct plan_words *q, const struct opt_given *given, struct err *err) {
    q->machine = (struct plan_machine){a.rate * 1e9, a.memory_rate * 1e9, a.muon_rate * 1e9};
    int r = kernels_init(err) < 0 || gemm_init(cpu_threads_for(a.threads), err) < 0 ? -1 : 0;
    if (r == 0 && a.rate == 0) r = measure_passes(q, err);
    if (r == 0 && a.memory_rate == 0) q->machine.bytes_per_s = pace_of_memory(err);
    if (r == 0) r = q->machine.bytes_per_s < 0 ? -1 : 0;
    if (r == 0 && a.optimizer && a.muon_rate == 0) r = measure_muon(q, err);
    if (comm_settle(r, err) < 0) return -1;
    over_ranks(&q->machine.flops_per_s);
    over_ranks(&q->machine.bytes_per_s);
    over_ranks(&q->machine.muon_flops_per_s);
    return measure_network(q, given, err);
}

/* ---- what is told ---- */

static const char *origin(const struct opt_given *given, const char *option, bool measured) {
    return measured ? "measured between these ranks" : opt_given(given, option) ? "given" : "default";
}

static void print_head(const struct plan_words *q, const struct opt_given *given) {
    const struct trainer_settings *s = &q->settings;
    const double tokens = (double)s->schedule.steps * (double)s->batch * (double)a.length;
    static const char *const shards[] = {"none", "optimizer", "full"};
    printf("%s, %.1f M parameters (N = %.1f M), %lld step%s of %lld × %lld tokens = %.3g tokens, %.2g FLOPs, %s, "
           "--shard %s%s\n",
           family_names[q->config.family], (double)params_all(&q->config) / 1e6, (double)params_body(&q->config) / 1e6,
           (long long)s->schedule.steps, plural(s->schedule.steps), (long long)s->batch, (long long)a.length, tokens,
           6 * tokens * (double)params_body(&q->config), s->precision == DTYPE_F32 ? "f32" : "bf16", shards[s->shard],
           s->muon ? ", muon" : "");
    char passes[64] = "given";
    if (q->measured > 0)
        snprintf(passes, sizeof passes, "measured here, %lld x %lld tokens a pass", (long long)q->measured,
                 (long long)a.length);
    printf("each machine: %.4g GiB of memory (%s), %.5g GFLOP/s in forward and backward passes (%s), memory bandwidth "
           "%.5g GB/s (%s)",
           q->memory / 1073741824., a.memory ? "given" : "as this one", q->machine.flops_per_s / 1e9, passes,
           q->machine.bytes_per_s / 1e9, a.memory_rate > 0 ? "given" : "measured here");
    if (s->muon)
        printf(", %.5g GFLOP/s in Muon's products (%s)", q->machine.muon_flops_per_s / 1e9,
               a.muon_rate > 0 ? "given" : "measured here");
    printf("\nnetwork: %.4g GB/s each way (%s), latency %.4g us (%s), overhead %.4g us a message (%s)\n",
           q->network.bytes_per_s / 1e9, origin(given, "network", q->bandwidth_measured), 1e6 * q->network.latency,
           origin(given, "latency", q->latency_measured), 1e6 * q->network.overhead, origin(given, "overhead", false));
    if (q->overlap_measured)
        printf("overlap: computing loses %.0f %% while something is on its way behind it (measured here)\n",
               100 * q->network.lost);
    printf("\n%5s %9s  %13s %9s %13s %9s %9s %9s %9s %11s\n", "ranks", "memory", "micro-batches", "compute",
           "memory-bound", "network", "overlap", "step", "training", "efficiency");
    printf("%5s %9s  %13s %9s %13s %9s %9s %9s %9s %11s\n", "", "GiB/rank", "count x size", "s", "s", "s", "s", "s",
           "days", "%");
}

static void print_row(const struct plan_words *q, const struct plan *p) {
    char passes[32];
    snprintf(passes, sizeof passes, "%lldx%lld%s", (long long)p->passes, (long long)p->sequences,
             p->memory.recompute ? "r" : "");
    printf("%5d %9.2f%s %13s %9.4g %13.4g %9.4g %9.4g %9.4g %9.4g %11.0f\n", p->ranks,
           ((double)reserve_bytes(&p->memory) + PROGRAM_BYTES) / 1073741824, p->memory.fits ? " " : "!", passes,
           p->compute, p->passes_memory, p->traffic.seconds, p->hidden, p->step,
           WITH_VALIDATION * (double)q->settings.schedule.steps * p->step / 86400, 100 * p->efficiency);
}

static int tell(const struct plan_words *q, const struct opt_given *given, struct err *err) {
    bool tight = false, again = false;
    print_head(q, given);
    for (int i = 0; i < q->nranks; i++) {
        struct plan p;
        if (plan_of(&p, q, q->ranks[i], err) < 0) return -1;
        print_row(q, &p);
        tight = tight || !p.memory.fits;
        again = again || (p.memory.recompute && !a.recompute);
    }
    if (again) printf("r: memory is short, and activations are computed again in the backward pass\n");
    if (tight)
        printf("!: more than %g %% of the memory of %.4g GiB, which the program and the system want a part of\n",
               100 * RESERVE_SHARE, q->memory / 1073741824.);
    return 0;
}

static int run(int argc, char **argv) {
    struct err err = {{0}};
    struct plan_words q = {0};
    struct opt_given given;
    int noperands, status;
    if (!cmd_options(&cmd_plan, opts, argc, argv, &noperands, &given, &status)) return status;
    int r = comm_settle(settle(&q, &err), &err);
    if (r == 0) r = measure(&q, &given, &err);
    if (r == 0) r = tell(&q, &given, &err);
    planner_close(&q.planner);
    return r < 0 ? cmd_fail("plan", &err) : 0;
}

const struct command cmd_plan = {
    "plan",
    "memory, time and efficiency of a training on many machines",
    NULL,
    "mdm plan --model 1028 --flops 1e20 --ranks 8,64,512 --batch 1024 --network 100Gbit --latency 5us\n"
    "mdm plan --model 170 --steps 10000 --rate 2000 --memory-rate 100 --memory 64GB   # machines that are not here\n"
    "mpirun -n 2 mdm plan --model 170 --steps 10000   # with the network between these two (make MPI=1)",
    run,
    .details =
        "Prints what is assumed of each machine and of the network, then a row for each number of ranks:\n"
        "  memory         of the rank that needs most, in GiB; !: more than 92 % of what a machine has\n"
        "  micro-batches  of a rank in a step (gradient accumulation) x sequences in each; r: with\n"
        "                 activations computed again in the backward pass\n"
        "  compute        seconds of a step in matrix products, Muon's among them\n"
        "  memory-bound   seconds in the optimizer, sums of gradients, conversions of weights\n"
        "  network        seconds of messages, of which\n"
        "  overlap        seconds pass behind the other two\n"
        "  step           seconds of a step: compute + memory-bound + network - overlap\n"
        "  training       days of all steps, with a twentieth more for validation\n"
        "  efficiency     FLOPs that the training is made of, as a share of what all machines could do in a step",
    .ranks = true};
