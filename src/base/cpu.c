/* cpu: CPUID and XGETBV, read once. Only says what may be used; the tables of kernels are compute/'s. */
#include "base/cpu.h"

#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/machine.h"

const char *const cpu_isa_names[CPU_ISAS] = {"scalar", "avx2", "avx512", "avx512bf16"};

static struct {
    bool isa[CPU_ISAS];
    char model[64];
} found;
static pthread_once_t found_once = PTHREAD_ONCE_INIT;

#if defined(__x86_64__)
#include <cpuid.h>

/* Which register files the system saves at a task switch: the processor's own flags say nothing about that. */
static uint64_t saved_registers(void) {
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

static void look_for_sets(void) {
    enum { FMA = 1 << 12, OSXSAVE = 1 << 27, F16C = 1 << 29, AVX2 = 1 << 5, BF16 = 1 << 5, YMM = 0x06, ZMM = 0xe6 };
    const uint32_t avx512_f_dq_bw_vl = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31;
    uint32_t a, b, c, d, basic;
    if (!__get_cpuid(1, &a, &b, &basic, &d) || !(basic & OSXSAVE)) return;
    uint64_t saved = saved_registers();
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return;
    found.isa[CPU_AVX2] = (saved & YMM) == YMM && (b & AVX2) && (basic & FMA) && (basic & F16C);
    found.isa[CPU_AVX512] = found.isa[CPU_AVX2] && (saved & ZMM) == ZMM && (b & avx512_f_dq_bw_vl) == avx512_f_dq_bw_vl;
    if (a >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d))
        found.isa[CPU_AVX512BF16] = found.isa[CPU_AVX512] && (a & BF16);
}

static void look_for_name(void) {
    uint32_t text[13] = {0};
    for (uint32_t i = 0; i < 3; i++)
        if (!__get_cpuid(0x80000002 + i, text + 4 * i, text + 4 * i + 1, text + 4 * i + 2, text + 4 * i + 3)) return;
    const char *s = (const char *)text;
    s += strspn(s, " ");
    size_t n = strlen(s);
    while (n && s[n - 1] == ' ') n--;
    if (n) memcpy(found.model, s, n);
    found.model[n ? n : strlen(found.model)] = '\0';
}
#else
static void look_for_sets(void) {}
static void look_for_name(void) {}
#endif

static void look(void) {
    strcpy(found.model, "unknown processor");
    found.isa[CPU_SCALAR] = true;
    look_for_sets();
    look_for_name();
}

bool cpu_has(enum cpu_isa isa) {
    BUG_ON((unsigned)isa >= CPU_ISAS);
    pthread_once(&found_once, look);
    return found.isa[isa];
}

int cpu_choose(struct err *err) {
    const char *want = getenv("MDM_ISA");
    int best = CPU_SCALAR;
    for (int i = 0; i < CPU_ISAS; i++) {
        if (want && *want && !strcmp(want, cpu_isa_names[i])) {
            if (cpu_has((enum cpu_isa)i)) return i;
            return err_set(err, "MDM_ISA=%s: this machine (%s) does not have it; use a lower one or unset MDM_ISA",
                           want, cpu_model());
        }
        if (cpu_has((enum cpu_isa)i)) best = i;
    }
    if (want && *want) return err_set(err, "MDM_ISA=%s: expected scalar, avx2, avx512 or avx512bf16", want);
    return best;
}

int cpu_threads(void) {
    cpu_set_t set;
    const int allowed = sched_getaffinity(0, sizeof set, &set) < 0 ? 1 : CPU_COUNT(&set);
    const double limit = machine_part(ceil(machine_limits("").cores));
    return limit < 1 ? 1 : limit < allowed ? (int)limit : allowed;
}

int cpu_threads_for(int64_t asked) {
    return asked > 0 ? (int)asked : cpu_threads();
}

const char *cpu_model(void) {
    pthread_once(&found_once, look);
    return found.model;
}
