/* rows: which table of row kernels is in use. The kernels are in rows.inc. */
#include "compute/rows.h"

#include <stdbool.h>

#include "base/cpu.h"
#include "base/err.h"

extern const struct rows rows_scalar, rows_avx2, rows_avx512;

const struct rows *rows;

const struct rows *rows_for(int isa) {
    if (isa < 0 || isa >= CPU_ISAS || !cpu_has((enum cpu_isa)isa)) return NULL;
#ifdef __x86_64__
    if (isa == CPU_AVX512) return &rows_avx512;
    if (isa == CPU_AVX2) return &rows_avx2;
#endif
    return isa == CPU_SCALAR ? &rows_scalar : NULL;
}

int rows_init(struct err *err) {
    const int isa = cpu_choose(err);
    if (isa < 0) return -1;
    const struct rows *chosen = rows_for(isa);
    if (!chosen)
        return err_set(err, "instruction set %s: this build has no kernels for it; set MDM_ISA=scalar",
                       cpu_isa_names[isa]);
    rows = chosen;
    return 0;
}
