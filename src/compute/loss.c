/* loss: the head product, cross-entropy and their gradients by chunks of LOSS_CHUNK rows: logits of one chunk exist at
 * a time. */
#include "compute/loss.h"

static int64_t aligned(int64_t bytes) {
    return (bytes + 63) / 64 * 64;
}

int64_t loss_scratch(int64_t V, enum dtype t) {
    return aligned(LOSS_CHUNK * V * 4) + (t == DTYPE_F32 ? 0 : aligned(LOSS_CHUNK * V * 2)) + aligned(LOSS_CHUNK * 4);
}

double loss_cross_entropy(float *loss, float *dx, float *dw, const void *x, const struct matmul_weight *head,
                          const int32_t *targets, const float *weight, int64_t n, void *scratch) {
    const int64_t V = head->N, E = head->K;
    const enum dtype t = head->t;
    float *z = scratch, *ce = (float *)((char *)scratch + loss_scratch(V, t) - aligned(LOSS_CHUNK * 4));
    char *dz = t == DTYPE_F32 ? (char *)z : (char *)scratch + aligned(LOSS_CHUNK * V * 4);
    double sum = 0;
    for (int64_t first = 0; first < n; first += LOSS_CHUNK) {
        const int64_t m = n - first < LOSS_CHUNK ? n - first : LOSS_CHUNK;
        const char *xc = (const char *)x + first * E * (int64_t)dtype_size(t);
        matmul_forward(z, DTYPE_F32, xc, head, m, false);
#pragma omp parallel for schedule(static) if (m * V > 1 << 16)
        for (int64_t i = 0; i < m; i++) {
            void *d = dw ? dz + i * V * (int64_t)dtype_size(t) : NULL;
            ce[i] = rows->cross_entropy(z + i * V, V, targets[first + i], weight[first + i], d, t);
        }
        for (int64_t i = 0; i < m; i++) {
            if (loss) loss[first + i] = ce[i];
            sum += (double)weight[first + i] * ce[i];
        }
        if (!dw) continue;
        matmul_backward_data(dx + first * E, DTYPE_F32, dz, head, m, false);
        matmul_backward_weight(dw, dz, xc, t, m, V, E);
    }
    return sum;
}
