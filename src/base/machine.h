/* machine: how much of the machine this process may use. A container's limits (control groups, version 1 or 2) count as
 * well as what the hardware has: a job that plans for the host's memory is killed inside a smaller container. */
#ifndef MDM_BASE_MACHINE_H
#define MDM_BASE_MACHINE_H
#include <stdint.h>

int64_t machine_memory(void); /* bytes; for cores see cpu_threads() in base/cpu.h */
/* This process is one of `processes` that share the machine, and that many cores fall to it: from now on machine_memory()
 * and cpu_threads() tell its part. */
void machine_divide(int processes, double cores);

/* The limits that the control groups of this process set, its group's and those of all groups above it.
 * `root` is put before /proc and /sys: "" outside tests. */
struct machine_limits {
    int64_t memory; /* bytes; INT64_MAX: none */
    double cores;   /* INFINITY: none */
};
struct machine_limits machine_limits(const char *root);
/* This process's part of `cores` cores that all processes of the machine have together. */
double machine_part(double cores);

#endif
