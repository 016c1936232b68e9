/* plan: what a training would take on machines that are not here: memory of a rank, seconds of a step, days, from the rates of
 * one of them and an α-β model of the network between (docs/distributed.md derives it).
 *
 *     struct planner p;
 *     planner_open(&p, &settings, length, &err);
 *     plan = planner_ranks(&p, 64, &machine, &network, memory);
 *     planner_close(&p);
 *
 * Nothing is measured here and nothing is run: the result is a function of the arguments. Bytes are those that the trainer
 * would reserve (train/reserve.h), messages those that train/sharded, scatter, gradient, shards and muon would send. */
#ifndef MDM_SCALING_PLAN_H
#define MDM_SCALING_PLAN_H
#include "train/reserve.h"
#include "train/sharded.h"

/* One of many alike, each of which is a rank. */
struct plan_machine {
    double flops_per_s;      /* of training passes (train/pace.h) */
    double bytes_per_s;      /* of memory, as in the optimizer's step */
    double muon_flops_per_s; /* of Muon's products, where it is asked for */
};

/* In an exchange each rank has one message for each other; all are under way at once. It takes
 *
 *     trips · latency + (ranks − 1) · overhead + bytes / bytes_per_s
 *
 * where bytes are all that a rank sends, and at the same time receives; and trips are 1, or 3 for messages above PLAN_EAGER
 * bytes, which ask for room before they go (Open MPI's rendezvous over TCP). The overhead is what the processor does for a
 * message that it sends and one that it receives. */
struct plan_network {
    double latency, overhead; /* seconds */
    double bytes_per_s;       /* of a rank's link, in each direction */
    double lost;              /* share of computing that is lost while something is on its way behind it */
};
enum { PLAN_EAGER = 1 << 16 };

/* Exchanges of a step, mean bytes that a rank sends in them, and how long they take. */
struct plan_traffic {
    int64_t exchanges;
    double bytes, seconds;
};

struct plan {
    int ranks;
    struct reserve memory;       /* of the rank that needs most */
    int64_t passes, sequences;   /* forward and backward passes of a rank in a step, and what is in each */
    double compute;              /* seconds: in these and in Muon's products, of the rank with most to do, */
    double passes_memory;        /* in what goes through the memory: sums, optimizer, packing, */
    struct plan_traffic traffic; /* on the wire; */
    double hidden;               /* of which while something was computed */
    double step;                 /* all of a step */
    double efficiency;           /* how much of the machines' time the examples' FLOPs take */
};

struct planner {
    const struct trainer_settings *s; /* borrowed */
    struct weights weights;           /* the table alone */
    int64_t length;
    double layer_flops, head_flops; /* of an example: of all layers, of the head */
    struct sharded_visit *visits;   /* of a pass of SHARD_FULL */
};

/* settings: config, batch, micro_batch, sum_groups, shard, wire, precision, recompute, muon. */
int planner_open(struct planner *p, const struct trainer_settings *s, int64_t length, struct err *err);
void planner_close(struct planner *p);
/* memory: bytes of each rank, for the choice of the micro-batch. */
int planner_ranks(struct plan *out, const struct planner *p, int ranks, const struct plan_machine *m,
                  const struct plan_network *net, int64_t memory, struct err *err);

#endif
