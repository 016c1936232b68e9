/* The watch over ranks, as rank 0 of two: the other one is what the test makes of it. tests/mpi/test_watch.sh has real ones. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static bool threads = true;
static int maybe_create(pthread_t *t, const pthread_attr_t *a, void *(*run)(void *), void *context) {
    return threads ? pthread_create(t, a, run, context) : 11;
}
#define pthread_create maybe_create
#include "../../src/comm/watch.c"
#undef pthread_create

/* ---- the other rank ---- */

static int words[4], said; /* its words in the exchanges of words, one after another; what else it sends is zeros */

int comm_rank(void) {
    return 0;
}
int comm_size(void) {
    return 2;
}
void comm_exchange(const struct comm_piece *to, const struct comm_piece *from) {
    if (from[0].bytes && from[0].data != to[0].data) memcpy(from[0].data, to[0].data, (size_t)from[0].bytes);
    if (!from[1].bytes) return;
    memset(from[1].data, 0, (size_t)from[1].bytes);
    if (from[1].bytes == sizeof(int) && said < 4) memcpy(from[1].data, &words[said++], sizeof(int));
}

static void start(const char *patience, int settles, int can, int has_thread) {
    struct err err = {{0}};
    words[0] = settles;
    words[1] = can;
    words[2] = has_thread;
    said = 0;
    w.stops = false;
    if (patience)
        setenv("MDM_PATIENCE", patience, 1);
    else
        unsetenv("MDM_PATIENCE");
    assert_int_equal(watch_start(15, &err), 0);
}

/* ---- calls ---- */

static int caller(uint16_t port, uint64_t token, int32_t rank) {
    const struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = port, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const struct hello hello = {.token = token, .rank = rank};
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(send(fd, &hello, sizeof hello, MSG_NOSIGNAL), sizeof hello);
    return fd;
}

/* Is it connected to what rank 0 has of rank 1? */
static bool answered(int fd) {
    uint64_t token = 0;
    char sign = 0;
    if (recv(fd, &token, sizeof token, 0) != sizeof token || token != w.token || w.peer[1].fd < 0) return false;
    assert_int_equal(send(w.peer[1].fd, "a", 1, MSG_NOSIGNAL), 1);
    return ready(fd, POLLIN, 1000) && recv(fd, &sign, 1, 0) == 1 && sign == ALIVE;
}

/* A rank that gave up its first call is reached by its second, and one that gave up altogether is no rank that ended. */
static void calls(void **state) {
    (void)state;
    struct peer peers[2] = {{.fd = -1}, {.fd = -1}};
    char hosts[2][HOST] = {"a", "b"};
    uint16_t port;
    w.ranks = 2;
    w.me = LEADER;
    w.peer = peers;
    w.host = hosts;
    w.token = 77;
    w.listener = listen_anywhere(&port);
    assert_true(w.listener >= 0);
    close(caller(port, 77, 1));
    const int second = caller(port, 77, 1), stranger = caller(port, 78, 1), nobody = caller(port, 77, 2);
    for (int i = 0; i < 4; i++) accept_one();
    assert_true(answered(second));
    assert_false(answered(stranger));
    assert_false(answered(nobody));
    forget((const bool[2]){false, false});
    assert_true(peers[1].fd >= 0);
    forget((const bool[2]){false, true});
    assert_true(peers[1].fd < 0 && peers[1].broken == 0);
    close(second);
    close(stranger);
    close(nobody);
    close(w.listener);
    w.listener = -1;
    w.peer = NULL;
    w.host = NULL;
}

/* ---- who watches ---- */

static void all_or_none(void **state) {
    (void)state;
    start(NULL, 0, 0, 0);
    assert_true(w.on);
    watch_end();
    assert_false(w.on);
    start(NULL, 0, 0, 1); /* the other has no thread */
    assert_true(!w.on && !w.peer);
    watch_end();
    start(NULL, 0, 1, 0); /* no memory */
    assert_true(!w.on && !w.peer);
    watch_end();
    threads = false;
    start(NULL, 0, 0, 0);
    assert_true(!w.on && !w.peer);
    watch_end();
    threads = true;
}

static void patience(void **state) {
    (void)state;
    struct err err = {{0}};
    const int in = fcntl(0, F_GETFD);
    assert_true(in >= 0);
    start("0", 0, 0, 0);
    assert_false(w.on);
    watch_end();
    assert_int_equal(fcntl(0, F_GETFD), in); /* standard input is not the connection to anybody */
    start("2.5", 0, 0, 0);
    assert_true(w.patience == 2.5);
    watch_end();
    static const char *const nonsense[] = {"", "15s", "-1", "nan", "0.5", "1.99", "inf", "soon"};
    for (size_t i = 0; i < sizeof nonsense / sizeof *nonsense; i++) {
        said = 4;
        setenv("MDM_PATIENCE", nonsense[i], 1);
        assert_int_equal(watch_start(15, &err), -1);
        assert_non_null(strstr(err.msg, "MDM_PATIENCE is '"));
    }
    unsetenv("MDM_PATIENCE");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(calls), cmocka_unit_test(all_or_none),
                                       cmocka_unit_test(patience)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
