/* muon: Muon for the matrices of the layers (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/; scale and
 * decay as arXiv 2502.16982 §2.2, so that AdamW's learning rate and decay serve both):
 *
 *     m ← μ·m + (1 − μ)·g          u = μ·m + (1 − μ)·g
 *     W ← (1 − lr·wd)·W − lr · 0.2·√max(rows, cols) · orthogonal(u)
 *
 * orthogonal(u) has u's singular vectors, and singular values near 1: five Newton-Schulz steps X ← P·X,
 * P = a + b·S + c·S², S = X·Xᵀ, from X = u / ‖u‖, which bring singular values into 0.7 … 1.2 rather than to 1. All that is
 * made of S commutes, so the steps are taken on the shorter side: Q ← P·Q, S ← P·S·P, and Q·X once, at last. In f32 an
 * update is 2e-5 off where singular values lie within a factor of ten, 1e-3 within a hundred, and 5e-3 where they
 * lie further apart (unit/test_optimizer).
 * By products whose bits do not depend on the number of threads. m is the first moment of AdamW's place; that of the
 * second stays zero.
 *
 * Ranks work in rounds: of as many neighbouring matrices each makes one orthogonal. Where moments are sharded, pieces of u
 * come to it from those that keep them, and those of its update go back; where they are not, its W goes to all. Either way
 * the bits are those of one process. */
#ifndef MDM_TRAIN_MUON_H
#define MDM_TRAIN_MUON_H
#include "train/shards.h"

struct optimizer;

struct muon_matrix {
    int part;
    int64_t offset, rows, cols; /* in the flat buffer */
};
struct muon {
    const struct shards *shards; /* borrowed */
    struct muon_matrix *v;       /* by offset; the i-th is for rank i % ranks */
    int count;
    double momentum;
    float *x, *y;     /* the largest matrix each: u, and its update */
    float *square[4]; /* the largest square on a shorter side each */
    float *pieces;    /* where moments are sharded: of the matrices of a round what this rank keeps */
};

/* Is the parameter Muon's? Else it is AdamW's. */
bool muon_takes(const struct param *q);
/* Of the products behind orthogonal(u). */
double muon_flops(int64_t rows, int64_t cols);
/* Bytes that it takes for the matrices of p on a rank of `ranks`. */
int64_t muon_bytes(const struct params *p, enum shard shard, int ranks, int rank);
int muon_open(struct muon *muon, const struct shards *s, double momentum, struct err *err);
void muon_close(struct muon *muon);
/* orthogonal(u) of a matrix's u, which is in muon->x and is lost: muon->y. */
float *muon_orthogonal(const struct muon *muon, const struct muon_matrix *a);
/* One update of all its matrices, with all ranks: weights w and moments m as shards are kept, a gradient as shards_norm()
 * takes it, and `norm` what that gave. Clip and decay are AdamW's. */
void muon_step(const struct muon *muon, const struct optimizer *adamw, float *w, float *m, const float *grad, bool kept,
               double norm, double lr);

#endif
