/* mem: the one module that calls malloc. Everything is zeroed and 64-byte aligned.
 *
 * The tests can make the n-th allocation fail (base/fault.h); callers handle NULL with err_set(). */
#ifndef MDM_BASE_MEM_H
#define MDM_BASE_MEM_H
#include <stddef.h>
#include <stdint.h>

struct err;

/* count * size zeroed bytes, overflow checked. NULL and *err on failure (err says how many bytes were wanted for
 * `what`). Zero bytes give a valid pointer. Large areas (>= 2 MiB) come from mmap and ask for huge pages. */
void *mem_alloc(int64_t count, size_t size, const char *what, struct err *err);
/* Grow an array to hold at least `want` elements: *p and *capacity are replaced; contents kept, new part zeroed;
 * capacity at least doubles. Returns 0, or -1 with *p untouched. */
int mem_grow(void *p_of_pointer, int64_t *capacity, int64_t want, size_t size, const char *what, struct err *err);
char *mem_strdup(const char *s, struct err *err);
void mem_free(void *p); /* NULL is fine */
/* The next `bytes` of a block that is being laid out, 64-byte aligned; *at starts at the block, or at NULL to measure.
 */
void *mem_cut(char **at, int64_t bytes);
/* Bytes now allocated through this module, and the most there ever were. */
int64_t mem_in_use(void);
int64_t mem_peak(void);
/* Number of mem_alloc/mem_grow calls that reached the allocator since the start (tests: a training step adds 0). */
int64_t mem_calls(void);

#endif
