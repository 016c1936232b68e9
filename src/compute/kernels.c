/* kernels: which table of row kernels is in use. The kernels are in kernels.inc. */
#include "compute/kernels.h"

#include <stdbool.h>

#include "base/cpu.h"
#include "base/err.h"

extern const struct kernels kernels_scalar, kernels_avx2, kernels_avx512, kernels_avx512bf16;

const struct kernels *kernels;

const struct kernels *kernels_for(int isa) {
    if (isa < 0 || isa >= CPU_ISAS || !cpu_has((enum cpu_isa)isa)) return NULL;
#ifdef __x86_64__
    if (isa == CPU_AVX512BF16) return &kernels_avx512bf16;
    if (isa == CPU_AVX512) return &kernels_avx512;
    if (isa == CPU_AVX2) return &kernels_avx2;
#endif
    return isa == CPU_SCALAR ? &kernels_scalar : NULL;
}

int kernels_init(struct err *err) {
    const int isa = cpu_choose(err);
    if (isa < 0) return -1;
    const struct kernels *chosen = kernels_for(isa);
    if (!chosen)
        return err_set(err, "instruction set %s: this build has no kernels for it; set MDM_ISA=scalar",
                       cpu_isa_names[isa]);
    kernels = chosen;
    return 0;
}
