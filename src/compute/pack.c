/* pack: see pack.h. */
#include "compute/pack.h"

#include "base/num.h"
#include "compute/gemm.h"

static int64_t blocks(const struct pack *p) {
    return divide_up(p->N, p->width);
}

static int64_t block_columns(const struct pack *p, int64_t block) {
    return min64(p->width, p->N - block * p->width);
}

struct pack pack_shape(int64_t N, int64_t K, int64_t width) {
    return (struct pack){.N = N, .K = K, .width = width, .block_bytes = gemm_packed_bytes(width, K)};
}

int64_t pack_bytes(const struct pack *p) {
    return blocks(p) * p->block_bytes;
}

int pack_prepare(const struct pack *p, enum dtype from_type, int64_t ld, bool transposed, struct err *err) {
    const int64_t widths[] = {p->width, block_columns(p, blocks(p) - 1)};
    for (int i = 0; i < 2; i++)
        if (gemm_prepare_pack(widths[i], p->K, from_type, ld, transposed, err) < 0) return -1;
    return 0;
}

void pack(const struct pack *p, void *to, const void *from, enum dtype from_type, int64_t ld, bool transposed) {
#pragma omp parallel for schedule(dynamic) num_threads(gemm_team())
    for (int64_t b = 0; b < blocks(p); b++) {
        const int64_t first = b * p->width * (transposed ? ld : 1) * (int64_t)dtype_size(from_type);
        gemm_pack((char *)to + b * p->block_bytes, block_columns(p, b), p->K, (const char *)from + first, from_type, ld,
                  transposed);
    }
}
