/* Instruction sets: what was found agrees with the kernel's own list, and MDM_ISA lowers the choice or fails loudly. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cpu.h"
#include "base/err.h"

static char flags[8192], model[256];

/* The "flags" and "model name" lines of the first processor in /proc/cpuinfo, with a blank at each end. */
static void read_cpuinfo(void) {
    FILE *f = fopen("/proc/cpuinfo", "r");
    static char line[8192];
    while (f && fgets(line, sizeof line, f)) {
        char *value = strchr(line, ':');
        if (!value) continue;
        value[strcspn(value, "\n")] = '\0';
        if (!strncmp(line, "flags", 5) && !*flags) snprintf(flags, sizeof flags, "%s ", value + 1);
        if (!strncmp(line, "model name", 10) && !*model) snprintf(model, sizeof model, "%s", value + 2);
    }
    if (f) fclose(f);
}

#ifdef __x86_64__
static bool listed(const char *flag) {
    char word[40];
    snprintf(word, sizeof word, " %s ", flag);
    return strstr(flags, word) != NULL;
}
#endif

static void test_agrees_with_the_system(void **state) {
    (void)state;
    assert_true(cpu_has(CPU_SCALAR));
#ifdef __x86_64__
    if (!*flags) {
        printf("SKIP: no processor flags in /proc/cpuinfo to compare with\n");
        return;
    }
    bool avx2 = listed("avx2") && listed("fma") && listed("f16c");
    bool avx512 = avx2 && listed("avx512f") && listed("avx512bw") && listed("avx512dq") && listed("avx512vl");
    assert_int_equal(cpu_has(CPU_AVX2), avx2);
    assert_int_equal(cpu_has(CPU_AVX512), avx512);
    assert_int_equal(cpu_has(CPU_AVX512BF16), avx512 && listed("avx512_bf16"));
#else
    assert_false(cpu_has(CPU_AVX2) || cpu_has(CPU_AVX512) || cpu_has(CPU_AVX512BF16));
#endif
}

static void test_choice(void **state) {
    (void)state;
    struct err err = {0};
    int best = CPU_SCALAR;
    for (int i = 0; i < CPU_ISAS; i++)
        if (cpu_has((enum cpu_isa)i)) best = i;
    unsetenv("MDM_ISA");
    assert_int_equal(cpu_choose(&err), best);
    setenv("MDM_ISA", "", 1);
    assert_int_equal(cpu_choose(&err), best);
    for (int i = 0; i < CPU_ISAS; i++) {
        setenv("MDM_ISA", cpu_isa_names[i], 1);
        bool there = cpu_has((enum cpu_isa)i);
        assert_int_equal(cpu_choose(&err), there ? i : -1);
        if (!there) assert_non_null(strstr(err.msg, "this machine"));
    }
    const char *const bad[] = {"AVX2", "avx", "avx512f", "neon", " scalar"};
    for (int i = 0; i < 5; i++) {
        setenv("MDM_ISA", bad[i], 1);
        assert_int_equal(cpu_choose(&err), -1);
        assert_non_null(strstr(err.msg, "expected scalar, avx2, avx512 or avx512bf16"));
    }
    unsetenv("MDM_ISA");
}

static void test_threads(void **state) {
    (void)state;
    cpu_set_t before, one;
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    assert_int_equal(cpu_threads(), CPU_COUNT(&before));
    int first = 0;
    while (!CPU_ISSET(first, &before)) first++;
    CPU_ZERO(&one);
    CPU_SET(first, &one);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    assert_int_equal(cpu_threads(), 1);
    assert_int_equal(sched_setaffinity(0, sizeof before, &before), 0);
}

static void test_model(void **state) {
    (void)state;
    const char *name = cpu_model();
    assert_true(*name && strlen(name) < 64);
    if (*flags && *model && strcmp(name, "unknown processor") != 0) assert_string_equal(name, model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_agrees_with_the_system),
        cmocka_unit_test(test_choice),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_model),
    };
    read_cpuinfo();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
