/* Limits of containers, read from folders that look like /proc and /sys of machines with control groups of version 1, of
 * version 2, of both, and of none. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cpu.h"
#include "base/err.h"
#include "base/file.h"
#include "base/machine.h"
#include "scratch.h"

/* A fresh root with these files: pairs of path and text. */
static struct machine_limits limits_of(const char *const *files) {
    struct err err = {{0}};
    char *root = scratch_new(), path[FILE_PATH_MAX], folder[FILE_PATH_MAX];
    for (; *files; files += 2) {
        snprintf(path, sizeof path, "%s%s", root, files[0]);
        snprintf(folder, sizeof folder, "%.*s", (int)(strrchr(path, '/') - path), path);
        if (file_mkdirs(folder, &err) < 0 || file_write(path, files[1], strlen(files[1]), &err) < 0)
            fail_msg("%s", err.msg);
    }
    const struct machine_limits limits = machine_limits(root);
    scratch_free(root);
    return limits;
}

static void assert_limits(const char *const *files, int64_t memory, double cores) {
    const struct machine_limits l = limits_of(files);
    if (l.memory != memory || l.cores != cores)
        fail_msg("%s: %lld bytes and %g cores instead of %lld and %g", files[0] ? files[1] : "nothing",
                 (long long)l.memory, l.cores, (long long)memory, cores);
}

static void test_version_2(void **state) {
    (void)state;
    /* A container that sees only its own group; then a service inside groups, of which an outer one is the tightest. */
    assert_limits((const char *const[]){"/proc/self/cgroup", "0::/\n", "/sys/fs/cgroup/memory.max", "2147483648\n",
                                        "/sys/fs/cgroup/cpu.max", "150000 100000\n", NULL},
                  2147483648, 1.5);
    assert_limits((const char *const[]){"/proc/self/cgroup", "0::/work.slice/job.scope\n",
                                        "/sys/fs/cgroup/work.slice/memory.max", "1000000000\n",
                                        "/sys/fs/cgroup/work.slice/cpu.max", "max 100000\n",
                                        "/sys/fs/cgroup/work.slice/job.scope/memory.max", "max\n",
                                        "/sys/fs/cgroup/work.slice/job.scope/cpu.max", "400000 100000\n", NULL},
                  1000000000, 4);
    /* The path is the host's, but the container's own group is what is mounted. */
    assert_limits((const char *const[]){"/proc/self/cgroup", "0::/docker/0123\n", "/sys/fs/cgroup/memory.max",
                                        "12345678\n", NULL},
                  12345678, INFINITY);
    assert_limits((const char *const[]){"/proc/self/cgroup", "0::/\n", "/sys/fs/cgroup/memory.max", "max\n",
                                        "/sys/fs/cgroup/cpu.max", "max 100000\n", NULL},
                  INT64_MAX, INFINITY);
}

static void test_version_1(void **state) {
    (void)state;
    const char *const groups = "4:memory:/box/a\n3:cpuset:/\n2:cpu,cpuacct:/box\n1:name=systemd:/\n0::/\n";
    assert_limits((const char *const[]){"/proc/self/cgroup", groups, "/sys/fs/cgroup/memory/memory.limit_in_bytes",
                                        "9223372036854771712\n", "/sys/fs/cgroup/memory/box/memory.limit_in_bytes",
                                        "3000000000\n", "/sys/fs/cgroup/memory/box/a/memory.limit_in_bytes",
                                        "4000000000\n", "/sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_quota_us", "50000\n",
                                        "/sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_period_us", "100000\n", NULL},
                  3000000000, 0.5);
    assert_limits((const char *const[]){"/proc/self/cgroup", groups, "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us",
                                        "-1\n", "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n",
                                        "/sys/fs/cgroup/unified/memory.max", "700\n", NULL},
                  700, INFINITY);
}

static void test_none(void **state) {
    (void)state;
    assert_limits((const char *const[]){NULL}, INT64_MAX, INFINITY);
    assert_limits((const char *const[]){"/proc/self/cgroup", "nonsense\n:\n::\n", NULL}, INT64_MAX, INFINITY);
    assert_limits((const char *const[]){"/proc/self/cgroup", "0::/\n", "/sys/fs/cgroup/memory.max", "",
                                        "/sys/fs/cgroup/cpu.max", "100000 0\n", NULL},
                  INT64_MAX, INFINITY);
}

static void test_this_machine(void **state) {
    (void)state;
    const struct machine_limits l = machine_limits("");
    const double all = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
    assert_true(machine_memory() > 64 << 20 && (double)machine_memory() <= all && machine_memory() <= l.memory);
    assert_true(cpu_threads() >= 1 && (double)cpu_threads() < l.cores + 1);
    assert_int_equal(cpu_threads_for(0), cpu_threads());
    assert_int_equal(cpu_threads_for(3), 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_version_2),
        cmocka_unit_test(test_version_1),
        cmocka_unit_test(test_none),
        cmocka_unit_test(test_this_machine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
