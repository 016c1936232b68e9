/* muon: Muon for the matrices of the layers (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/; scale and
 * decay as arXiv 2502.16982 §2.2, so that AdamW's learning rate and decay serve both):
 *
 *     m ← μ·m + (1 − μ)·g          u = μ·m + (1 − μ)·g
 *     W ← (1 − lr·wd)·W − lr · 0.2·√max(rows, cols) · orthogonal(u)
 *
 * orthogonal(u) has u's singular vectors, and singular values near 1: five Newton-Schulz steps
 * X ← a·X + (b·S + c·S²)·X, S = X·Xᵀ, from X = u / ‖u‖, which bring singular values into 0.7 … 1.2 rather than to 1.
 * In f32, by products whose bits do not depend on the number of threads. m is the first moment of AdamW's place; that of
 * the second stays zero. */
#ifndef MDM_TRAIN_MUON_H
#define MDM_TRAIN_MUON_H
#include <stdint.h>

struct err;
struct params;

struct muon_matrix {
    int64_t offset, rows, cols; /* in the flat buffers */
};
struct muon {
    struct muon_matrix *v; /* by offset */
    int count;
    double momentum;
    float *x, *y, *gram, *poly; /* for the largest matrix */
};

/* Bytes that it takes for the matrices of p. */
int64_t muon_bytes(const struct params *p);
int muon_open(struct muon *muon, const struct params *p, double momentum, struct err *err);
void muon_close(struct muon *muon);
/* One update of one of its matrices, w[rows,cols], with moment m and gradient grad · grad_scale. */
void muon_step(const struct muon *muon, const struct muon_matrix *a, float *w, float *m, const float *grad,
               double grad_scale, double lr, double weight_decay);

#endif
