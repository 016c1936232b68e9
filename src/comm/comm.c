/* comm: what is made of comm_exchange(). */
#include "comm/comm.h"

#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/stop.h"

const char *const comm_signs[] = {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK", NULL};

static bool is_sign(const char *entry) {
    for (int i = 0; comm_signs[i]; i++) {
        const size_t n = strlen(comm_signs[i]);
        if (!strncmp(entry, comm_signs[i], n) && entry[n] == '=') return true;
    }
    return false;
}

char **comm_alone(struct err *err) {
    int64_t n = 0, kept = 0;
    while (environ[n]) n++;
    char **v = mem_alloc(n + 1, sizeof *v, "a child's environment", err);
    for (int64_t i = 0; v && i < n; i++)
        if (!is_sign(environ[i])) v[kept++] = environ[i];
    return v;
}

void comm_gather(void *v, const int64_t *first) {
    struct comm_piece to[COMM_RANKS], from[COMM_RANKS];
    const int me = comm_rank(), n = comm_size();
    for (int r = 0; r < n; r++) {
        to[r] = (struct comm_piece){(char *)v + first[me], first[me + 1] - first[me]};
        from[r] = (struct comm_piece){(char *)v + first[r], first[r + 1] - first[r]};
    }
    comm_exchange(to, from);
}

void comm_tell(void *v, int64_t bytes) {
    int64_t first[COMM_RANKS + 1];
    for (int r = 0; r <= comm_size(); r++) first[r] = r > 0 ? bytes : 0;
    comm_gather(v, first);
}

/* v[n] of each rank, of `size` bytes an element, into all[comm_size()][n]. */
static void collect(void *all, const void *v, int64_t bytes) {
    int64_t first[COMM_RANKS + 1];
    for (int r = 0; r <= comm_size(); r++) first[r] = r * bytes;
    memcpy((char *)all + first[comm_rank()], v, (size_t)bytes);
    comm_gather(all, first);
}

void comm_sum_f64(double *v, int64_t n) {
    double all[COMM_RANKS];
    for (int64_t i = 0; i < n; i++) {
        collect(all, &v[i], sizeof *v);
        v[i] = all[0];
        for (int r = 1; r < comm_size(); r++) v[i] += all[r];
    }
}

int comm_agree(int word) {
    int all[COMM_RANKS], most = word;
    collect(all, &word, sizeof word);
    for (int r = 0; r < comm_size(); r++) most = all[r] > most ? all[r] : most;
    return most;
}

int comm_place(struct err *err) {
    char host[64] = "";
    gethostname(host, sizeof host - 1);
    return comm_size() > 1 ? err_prefix(err, "rank %d on %s", comm_rank(), host) : -1;
}

int comm_settle(int status, struct err *err) {
    int failed[COMM_RANKS], mine = status < 0, n = 0, which = -1;
    collect(failed, &mine, sizeof mine);
    for (int r = comm_size() - 1; r >= 0; r--)
        if (failed[r]) which = r, n++;
    if (n == 0) return 0;
    /* What goes wrong everywhere, like a wrong option, has no place. */
    if (which == comm_rank() && n < comm_size()) comm_place(err);
    int64_t first[COMM_RANKS + 1];
    for (int r = 0; r <= comm_size(); r++) first[r] = r > which ? (int64_t)sizeof err->msg : 0;
    comm_gather(err->msg, first);
    return -1;
}

enum comm_word comm_word(int status, struct err *err) {
    const enum comm_word mine = status < 0 ? COMM_FAIL : stop_asked() ? COMM_STOP : COMM_GO;
    const enum comm_word all = (enum comm_word)comm_agree((int)mine);
    if (all == COMM_FAIL) comm_settle(status, err);
    return all;
}

int comm_collect(struct bytes *all, int64_t *at, const struct bytes *mine, struct err *err) {
    int64_t sizes[COMM_RANKS];
    struct comm_piece to[COMM_RANKS] = {{0}}, from[COMM_RANKS] = {{0}};
    const int me = comm_rank();
    collect(sizes, &mine->n, sizeof *sizes);
    at[0] = 0;
    for (int r = 0; r < comm_size(); r++) at[r + 1] = at[r] + sizes[r];
    all->n = me == 0 ? at[comm_size()] : 0;
    if (comm_settle(mem_grow(&all->v, &all->capacity, all->n, 1, "what the other processes send", err), err) < 0)
        return -1;
    for (int r = 0; me == 0 && r < comm_size(); r++) from[r] = (struct comm_piece){all->v + at[r], sizes[r]};
    to[0] = (struct comm_piece){mine->v, mine->n};
    comm_exchange(to, from);
    return 0;
}
