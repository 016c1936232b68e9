/* machine: reads /proc/self/cgroup and the files of the groups that it names. A file that is not there or not readable
 * sets no limit: not every system has control groups. */
#include "base/machine.h"

#include <fcntl.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct {
    int processes;
    double cores;
} part = {1, INFINITY};

enum { PATH_BYTES = 4096, GROUPS_BYTES = 16384 };

/* The start of a small file as a string. */
static bool slurp(char *out, size_t size, const char *path) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    ssize_t n = read(fd, out, size - 1);
    close(fd);
    out[n > 0 ? n : 0] = '\0';
    return n > 0;
}

/* The two numbers of folder/name, the second left alone when there is one only; "max" is no number. */
static bool numbers(const char *folder, const char *name, double *a, double *b) {
    char path[PATH_BYTES + 64], text[128], *end;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (!slurp(text, sizeof text, path)) return false;
    const double x = strtod(text, &end);
    if (end == text || x < 0) return false; /* version 1 says -1 for none */
    *a = x;
    if (b && *end == ' ') *b = strtod(end, NULL);
    return true;
}

static void take_limits(struct machine_limits *l, const char *folder) {
    double most, quota, period = 0;
    if ((numbers(folder, "memory.max", &most, NULL) || numbers(folder, "memory.limit_in_bytes", &most, NULL)) &&
        most < (double)l->memory)
        l->memory = (int64_t)most;
    if ((numbers(folder, "cpu.max", &quota, &period) ||
         (numbers(folder, "cpu.cfs_quota_us", &quota, NULL) && numbers(folder, "cpu.cfs_period_us", &period, NULL))) &&
        period > 0)
        l->cores = fmin(l->cores, quota / period);
}

/* The group at mount + path and all above it. Inside a container the path may be the host's, which is not mounted: then
 * only the mount itself, the container's own group, has files. */
static void walk(struct machine_limits *l, const char *mount, const char *path) {
    char folder[PATH_BYTES];
    const size_t top = strlen(mount);
    if (snprintf(folder, sizeof folder, "%s%s", mount, path) >= (int)sizeof folder) return;
    for (;;) {
        take_limits(l, folder);
        char *slash = strrchr(folder + top, '/');
        if (!slash) return;
        *slash = '\0';
    }
}

struct machine_limits machine_limits(const char *root) {
    struct machine_limits l = {INT64_MAX, INFINITY};
    char path[PATH_BYTES], mount[PATH_BYTES], groups[GROUPS_BYTES];
    snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
    if (!slurp(groups, sizeof groups, path)) return l;
    /* Lines "number:controllers:path"; version 2 has no controllers and stands at the top, or beside version 1. */
    for (char *save = NULL, *line = strtok_r(groups, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        char *controllers = strchr(line, ':'), *group = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!group) continue;
        *group++ = '\0';
        const char *const folders[] = {*++controllers ? controllers : "unified", ""};
        for (int i = 0; i < (*controllers ? 1 : 2); i++) {
            snprintf(mount, sizeof mount, "%s/sys/fs/cgroup%s%s", root, *folders[i] ? "/" : "", folders[i]);
            walk(&l, mount, group);
        }
    }
    return l;
}

int64_t machine_memory(void) {
    const double all = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
    const int64_t limit = machine_limits("").memory;
    return ((double)limit < all ? limit : (int64_t)all) / part.processes;
}

void machine_divide(int processes, double cores) {
    part.processes = processes;
    part.cores = cores;
}

double machine_part(double cores) {
    return fmin(cores / part.processes, part.cores);
}
