/* cpu: which instruction sets may be used. Looks at CPUID and at XGETBV (does the system save the registers?).
 * MDM_ISA=scalar|avx2|avx512|avx512bf16 lowers the choice; a set this machine lacks, or an unknown name, is an error. */
#ifndef MDM_BASE_CPU_H
#define MDM_BASE_CPU_H
#include <stdbool.h>
#include <stdint.h>

struct err;

enum cpu_isa { CPU_SCALAR, CPU_AVX2, CPU_AVX512, CPU_AVX512BF16, CPU_ISAS };
extern const char *const cpu_isa_names[CPU_ISAS];

/* What the hardware and the system support (ignores MDM_ISA). AVX2 means AVX2+FMA; AVX512 means F, BW, DQ, VL; AVX512BF16 that
 * and bfloat16 in hardware. */
bool cpu_has(enum cpu_isa isa);
/* The set to use, MDM_ISA applied; -1 with err when MDM_ISA asks for what is not there. */
int cpu_choose(struct err *err);
enum { CPU_THREADS = 4096 };        /* most that --threads takes */
int cpu_threads(void);              /* one for each core that this process, and its container, may use; at least 1 */
int cpu_threads_for(int64_t asked); /* what --threads N means: N, or cpu_threads() for 0 */
const char *cpu_model(void);        /* the processor's own name, for reports */

#endif
