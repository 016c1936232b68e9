/* watch: see watch.h. Rank 0 listens; what it and the others need of each other (addresses, a number that shows that a
 * connection is from this run) they exchange by comm_gather(). */
#include "comm/watch.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/progress.h"
#include "comm/comm.h"

enum {
    ADDRESSES = 8,
    HOST = 64,
    BEAT = 500 /* ms */,
    PATIENCE_LEAST = 2 /* s, some beats */,
    CONNECT = 3000 /* ms */,
    HELLO = 1000 /* ms */,
    LEADER = 0
};
enum { ALIVE = 'a', END = 'e' };
#define GRACE 3.0 /* seconds that a launcher has to end us when a connection breaks */
#define STALL 5.0 /* between two beats of our own: it was us who stood still */

struct peer {
    int fd;
    double heard, broken; /* when; 0: it is not */
};
static struct {
    bool on, stops;
    pthread_t thread;
    double patience;
    int ranks, me, listener;
    struct peer *peer;     /* [ranks] of the leader; [0] of the others is the leader */
    struct pollfd *polled; /* as many */
    char (*host)[HOST];    /* [ranks] */
    uint64_t token;
} w = {.listener = -1};

/* ---- how it ends ---- */

static void tell_others(int but) {
    const char end = END;
    for (int r = 0; w.me == LEADER && r < w.ranks; r++)
        if (r != but && w.peer[r].fd >= 0) send(w.peer[r].fd, &end, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static _Noreturn void end_because(int rank, const char *why, double seconds) {
    char line[256];
    const int n = snprintf(line, sizeof line,
                           "mdm: rank %d on %s %s %.0f s ago: all ranks end; the same command goes on from the newest "
                           "checkpoint\n",
                           rank, w.host[rank], why, seconds);
    tell_others(rank);
    if (write(STDERR_FILENO, line, (size_t)n) < 0) _exit(3);
    _exit(2);
}

/* Others than rank 0 speak only when it is rank 0 that is silent, one after another. */
static void judge(int rank, const struct peer *p, double now) {
    const double later = 2.0 * (w.me < 6 ? w.me : 6) * (w.patience < 5 ? w.patience / 15 : 1);
    if (p->fd < 0 && p->broken == 0) return; /* never was */
    if (p->broken > 0 && now - p->broken > GRACE + later)
        end_because(rank, "ended or lost its connection", now - p->broken);
    if (p->broken == 0 && now - p->heard > w.patience + later)
        end_because(rank, "gave its last sign of life", now - p->heard);
}

/* ---- signs of life ---- */

static void hang_up(struct peer *p) {
    if (p->fd >= 0) close(p->fd);
    p->fd = -1;
}

static void hear(struct peer *p, double now) {
    char signs[64];
    const ssize_t n = recv(p->fd, signs, sizeof signs, MSG_DONTWAIT);
    if (n > 0) p->heard = now;
    if (n > 0 && memchr(signs, END, (size_t)n)) _exit(2); /* rank 0 has said why */
    if (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR))) return;
    hang_up(p);
    p->broken = now;
}

static void beat(struct peer *peers, int n, double now) {
    const char alive = ALIVE;
    for (int r = 0; r < n; r++) {
        if (peers[r].fd >= 0) send(peers[r].fd, &alive, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
        judge(r, &peers[r], now);
    }
}

static void *watch(void *unused) {
    const int n = w.me == LEADER ? w.ranks : 1;
    double last = clock_seconds();
    for (int r = 0; r < n; r++) w.peer[r].heard = last;
    while (!__atomic_load_n(&w.stops, __ATOMIC_ACQUIRE)) {
        for (int r = 0; r < n; r++) w.polled[r] = (struct pollfd){.fd = w.peer[r].fd, .events = POLLIN};
        poll(w.polled, (nfds_t)n, BEAT);
        const double now = clock_seconds();
        for (int r = 0; r < n; r++)
            if (w.peer[r].fd >= 0 && w.polled[r].revents) hear(&w.peer[r], now);
        if (now - last < BEAT / 1e3) continue;
        for (int r = 0; r < n && now - last > STALL; r++) w.peer[r].heard = now;
        last = now;
        beat(w.peer, n, now);
    }
    return unused;
}

/* ---- connecting ---- */

struct hello {
    uint64_t token;
    int32_t rank;
};
struct leader { /* what rank 0 tells of itself */
    uint64_t token;
    uint16_t port;
    int count;
    struct in_addr address[ADDRESSES];
};

static int listen_anywhere(uint16_t *port) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_ANY)};
    socklen_t size = sizeof a;
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof a) == 0 && listen(fd, COMM_RANKS) == 0 &&
        getsockname(fd, (struct sockaddr *)&a, &size) == 0) {
        *port = a.sin_port;
        return fd;
    }
    if (fd >= 0) close(fd);
    return -1;
}

/* The loopback first: for ranks of the same host. */
static void list_addresses(struct leader *l) {
    struct ifaddrs *all = NULL;
    if (getifaddrs(&all) != 0) return;
    for (int loop = 1; loop >= 0; loop--)
        for (struct ifaddrs *i = all; i && l->count < ADDRESSES; i = i->ifa_next)
            if (i->ifa_addr && i->ifa_addr->sa_family == AF_INET && i->ifa_flags & IFF_UP &&
                !(i->ifa_flags & IFF_LOOPBACK) == !loop)
                l->address[l->count++] = ((struct sockaddr_in *)(void *)i->ifa_addr)->sin_addr;
    freeifaddrs(all);
}

static bool ready(int fd, short events, int ms) {
    struct pollfd p = {.fd = fd, .events = events};
    return poll(&p, 1, ms) == 1;
}

/* To rank 0 at one of its addresses; it answers with the token. */
static int connect_to(const struct leader *l, struct in_addr address) {
    const struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = l->port, .sin_addr = address};
    const struct hello hello = {l->token, w.me};
    uint64_t answer = 0;
    int failed = 0;
    socklen_t size = sizeof failed;
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return -1;
    if ((connect(fd, (const struct sockaddr *)&a, sizeof a) == 0 || errno == EINPROGRESS) &&
        ready(fd, POLLOUT, CONNECT) && getsockopt(fd, SOL_SOCKET, SO_ERROR, &failed, &size) == 0 && !failed &&
        send(fd, &hello, sizeof hello, MSG_NOSIGNAL) == (ssize_t)sizeof hello && ready(fd, POLLIN, CONNECT) &&
        recv(fd, &answer, sizeof answer, 0) == (ssize_t)sizeof answer && answer == l->token)
        return fd;
    close(fd);
    return -1;
}

/* Somebody who connects and cannot name the token is sent away. Who calls a second time has given up the first call. */
static void accept_one(void) {
    struct hello hello = {0};
    const int fd = accept4(w.listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0) return;
    if (ready(fd, POLLIN, HELLO) && recv(fd, &hello, sizeof hello, MSG_DONTWAIT) == (ssize_t)sizeof hello &&
        hello.token == w.token && hello.rank > 0 && hello.rank < w.ranks &&
        send(fd, &w.token, sizeof w.token, MSG_NOSIGNAL) == (ssize_t)sizeof w.token) {
        hang_up(&w.peer[hello.rank]);
        w.peer[hello.rank].fd = fd;
    } else {
        close(fd);
    }
}

/* Rank 0 takes calls while the others make theirs, until all have told that they are through. */
static void *take_calls(void *through) {
    while (!__atomic_load_n((bool *)through, __ATOMIC_ACQUIRE))
        if (ready(w.listener, POLLIN, 10)) accept_one();
    return NULL;
}

static int call(const struct leader *l) {
    int fd = -1;
    for (int i = 0; i < l->count && fd < 0; i++) fd = connect_to(l, l->address[i]);
    return fd;
}

static void tell_hosts(void) {
    int64_t first[COMM_RANKS + 1];
    for (int r = 0; r <= w.ranks; r++) first[r] = r * HOST;
    gethostname(w.host[w.me], HOST - 1);
    comm_gather(w.host, first);
}

/* Who has no connection to rank 0 says so: what rank 0 still holds of its calls is dead, and no sign that it has ended. */
static void forget(const bool *missing) {
    for (int r = 1; r < w.ranks && w.me == LEADER; r++) {
        if (!missing[r]) continue;
        hang_up(&w.peer[r]);
        fprintf(stderr, "mdm: rank %d on %s cannot reach rank 0 by TCP: if it hangs, nobody will notice\n", r,
                w.host[r]);
    }
}

static void tell_missing(bool *missing) {
    int64_t first[COMM_RANKS + 1];
    for (int r = 0; r <= w.ranks; r++) first[r] = r * (int64_t)sizeof *missing;
    missing[w.me] = w.me != LEADER && w.peer[0].fd < 0;
    comm_gather(missing, first);
}

/* Every rank but the first has a connection to it, or has not. */
static void connect_all(void) {
    struct leader l = {0};
    pthread_t taker;
    bool through = false, taking = false, missing[COMM_RANKS];
    if (w.me == LEADER && getrandom(&l.token, sizeof l.token, 0) == (ssize_t)sizeof l.token) {
        w.token = l.token;
        w.listener = listen_anywhere(&l.port);
        if (w.listener >= 0) list_addresses(&l);
        taking = w.listener >= 0 && pthread_create(&taker, NULL, take_calls, &through) == 0;
    }
    comm_tell(&l, sizeof l);
    if (w.me != LEADER) w.peer[0].fd = call(&l);
    tell_missing(missing);
    __atomic_store_n(&through, true, __ATOMIC_RELEASE);
    if (taking) pthread_join(taker, NULL);
    if (w.listener >= 0) close(w.listener);
    forget(missing);
}

static void stop(void) {
    __atomic_store_n(&w.stops, true, __ATOMIC_RELEASE);
    if (w.on) pthread_join(w.thread, NULL);
    for (int r = 0; w.peer && r < w.ranks; r++) hang_up(&w.peer[r]);
    mem_free(w.peer);
    mem_free(w.polled);
    mem_free(w.host);
    w.on = false;
    w.peer = NULL;
    w.polled = NULL;
    w.host = NULL;
}

static int set_patience(double usual, struct err *err) {
    const char *text = getenv("MDM_PATIENCE");
    char *end;
    w.patience = text ? strtod(text, &end) : usual;
    const bool counts = !text || (end != text && !*end && w.patience < 1e9);
    if (counts && (w.patience == 0 || w.patience >= PATIENCE_LEAST)) return 0;
    return err_set(err, "MDM_PATIENCE is '%.40s': expected seconds, %d or more, or 0 to watch nobody", text,
                   PATIENCE_LEAST);
}

int watch_start(double patience, struct err *err) {
    enum { ALL, UNABLE, UNWANTED };
    w.ranks = comm_size();
    w.me = comm_rank();
    if (comm_settle(set_patience(patience, err), err) < 0) return -1;
    if (w.ranks == 1) return 0;
    w.peer = mem_alloc(w.ranks, sizeof *w.peer, "watch", NULL);
    w.polled = mem_alloc(w.ranks, sizeof *w.polled, "watch", NULL);
    w.host = mem_alloc(w.ranks, sizeof *w.host, "watch", NULL);
    for (int r = 0; w.peer && r < w.ranks; r++) w.peer[r].fd = -1;
    /* As on every rank: what one has in its environment, or has no room for, is for all. */
    int word = comm_agree(w.patience == 0 ? UNWANTED : w.peer && w.polled && w.host ? ALL : UNABLE);
    if (word == ALL) {
        tell_hosts();
        connect_all();
        w.on = pthread_create(&w.thread, NULL, watch, NULL) == 0;
        word = comm_agree(w.on ? ALL : UNABLE);
    }
    if (word != ALL) stop();
    if (word == UNABLE && w.me == LEADER)
        fputs("mdm: no memory or thread to watch the ranks with: if one hangs, nobody will notice\n", stderr);
    return 0;
}

void watch_end(void) {
    if (w.ranks > 1) comm_agree(0); /* nobody hangs up before all are through */
    stop();
}
