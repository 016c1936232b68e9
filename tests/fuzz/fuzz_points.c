/* Fuzz target: any bytes as a table of points for `mdm scale fit`. */
#include "fuzz_file.h"

#include <math.h>

#include "base/err.h"
#include "base/mem.h"
#include "scaling/points.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct scale_points p;
    struct err err = {{0}};
    if (scale_points_read(&p, fuzz_file(data, size), &err) == 0) {
        if (p.n < 1) abort();
        for (int64_t i = 0; i < p.n; i++) {
            const struct scale_point *v = &p.v[i];
            if (v->family < 0 || v->family >= p.families || (i > 0 && v->family < v[-1].family)) abort();
            if (!(v->flops > 0 && v->params > 0 && v->loss > 0) || !isfinite(v->flops + v->params + v->loss)) abort();
        }
        scale_points_free(&p);
    } else if (!err.msg[0]) {
        abort();
    }
    if (mem_in_use() != 0) abort();
    return 0;
}
