/* mem: aligned, zeroed, counted memory. Each block is preceded by a 64-byte head that remembers how it was obtained.
 * It is no pool and no arena: the planners above ask once for each slab. */
#include "base/mem.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/err.h"
#include "base/fault.h"

enum { ALIGN = 64, HUGE_PAGE = 2 << 20 };

/* ASan sees overruns only in what malloc gave. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define NO_MAPPED_AREAS 1
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#define NO_MAPPED_AREAS 1
#endif
#ifdef NO_MAPPED_AREAS
static const size_t map_from = SIZE_MAX;
/* A size that cannot be had is an error to us, also in the sanitizer's eyes. */
const char *__asan_default_options(void);
const char *__asan_default_options(void) {
    return "allocator_may_return_null=1";
}
#else
static const size_t map_from = HUGE_PAGE;
#endif

static const uint64_t live_mark = 0x6d646d206d656d21, freed_mark = 0x6d646d2066726565;

struct head {
    _Alignas(ALIGN) uint64_t mark;
    size_t bytes;  /* of the block, without the head */
    size_t mapped; /* of the mapping, 0 when it came from malloc */
};

static atomic_llong in_use, peak, calls;

static void count(int64_t bytes) {
    long long now = atomic_fetch_add(&in_use, bytes) + bytes, top = atomic_load(&peak);
    while (now > top && !atomic_compare_exchange_weak(&peak, &top, now)) {
    }
}

/* A mapping of `bytes` that starts at a huge page's border, so that all of it can be huge pages. */
static struct head *map_area(size_t bytes) {
    size_t with_slack = bytes + HUGE_PAGE;
    char *p = mmap(NULL, with_slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return NULL;
    size_t before = (HUGE_PAGE - (uintptr_t)p % HUGE_PAGE) % HUGE_PAGE, after = with_slack - before - bytes;
    if (before) munmap(p, before);
    if (after) munmap(p + before + bytes, after);
    madvise(p + before, bytes, MADV_HUGEPAGE); /* a hint: refused on kernels without huge pages */
    return (struct head *)(p + before);
}

static void *obtain(size_t bytes) {
    struct head *h = NULL;
    size_t mapped = 0;
    atomic_fetch_add(&calls, 1);
    if (bytes > INT64_MAX / 2 || fault_now(FAULT_ALLOC)) return NULL;
    if (bytes >= map_from) {
        mapped = (bytes + sizeof *h + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
        h = map_area(mapped);
    } else if (posix_memalign((void **)&h, ALIGN, bytes + sizeof *h) == 0) {
        memset(h, 0, bytes + sizeof *h);
    } else {
        h = NULL;
    }
    if (!h) return NULL;
    *h = (struct head){.mark = live_mark, .bytes = bytes, .mapped = mapped};
    count((int64_t)bytes);
    return h + 1;
}

void *mem_alloc(int64_t n, size_t size, const char *what, struct err *err) {
    BUG_ON(n < 0);
    size_t bytes;
    if (__builtin_mul_overflow((size_t)n, size, &bytes)) {
        err_set(err, "out of memory: %s needs %lld x %zu bytes, more than can be addressed", what, (long long)n, size);
        return NULL;
    }
    void *p = obtain(bytes);
    if (!p) err_set(err, "out of memory: %s needs %zu bytes (%lld are in use)", what, bytes, (long long)mem_in_use());
    return p;
}

int mem_grow(void *p_of_pointer, int64_t *capacity, int64_t want, size_t size, const char *what, struct err *err) {
    void *old, *p;
    memcpy(&old, p_of_pointer, sizeof old);
    BUG_ON(want < 0 || *capacity < 0 || (!old && *capacity));
    if (want <= *capacity && old) return 0;
    int64_t n = *capacity > INT64_MAX / 2 ? INT64_MAX : 2 * *capacity;
    if (n < want) n = want;
    if (!(p = mem_alloc(n, size, what, err))) return -1;
    if (old) memcpy(p, old, (size_t)*capacity * size);
    mem_free(old);
    memcpy(p_of_pointer, &p, sizeof p);
    *capacity = n;
    return 0;
}

char *mem_strdup(const char *s, struct err *err) {
    size_t n = strlen(s) + 1;
    char *p = mem_alloc((int64_t)n, 1, "a string", err);
    if (p) memcpy(p, s, n);
    return p;
}

void mem_free(void *p) {
    if (!p) return;
    struct head *h = (struct head *)p - 1;
    BUG_ON(h->mark != live_mark); /* freed twice, not ours, or overrun from below */
    count(-(int64_t)h->bytes);
    h->mark = freed_mark;
    if (h->mapped)
        munmap(h, h->mapped);
    else
        free(h);
}

void *mem_cut(char **at, int64_t bytes) {
    void *p = *at;
    *at = (char *)((uintptr_t)*at + (uintptr_t)(bytes + ALIGN - 1) / ALIGN * ALIGN); /* NULL + n is not for pointers */
    return p;
}

int64_t mem_in_use(void) {
    return atomic_load(&in_use);
}
int64_t mem_peak(void) {
    return atomic_load(&peak);
}
int64_t mem_calls(void) {
    return atomic_load(&calls);
}
