/* http_help: a small chat-completions server on 127.0.0.1 for tests, in threads of the test program. It does to each
 * request what a plan says: answers, waits, hangs up, sends a status, half an answer, or something else.
 *
 *     struct server s;
 *     server_start(&s, plan, NULL);                   // s.base is http://127.0.0.1:PORT/v1
 *     …
 *     server_stop(&s);                                // waits for its threads
 *
 * Include after cmocka.h. */
#ifndef MDM_TESTS_HTTP_HELP_H
#define MDM_TESTS_HTTP_HELP_H
#include <arpa/inet.h>
#include <jansson.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { SERVER_REQUESTS = 1024, SERVER_TEXT = 1 << 16 };

struct reply {        /* what to do; zeroed: a chat completion with the text "fine" */
    const char *text; /* the completion */
    int delay_ms;
    bool wait;       /* until the client has taken some other answer */
    bool drop;       /* close without a word */
    bool half;       /* close in the middle of the body */
    int status;      /* another one than 200 */
    int retry_after; /* seconds */
    const char *location;
    const char *body; /* instead of a chat completion, as it is */
};
struct request {
    double time;
    int turn; /* how many times this user message came before */
    char authorization[256];
    char *body; /* JSON */
    char user[2048];
};
struct server {
    int fd, port;
    char base[64];
    void (*plan)(void *context, const struct request *r, struct reply *out);
    void *context;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t quiet, taking;
    int live;         /* connections */
    int taken;        /* answers that the client has read to their end: it has closed the connection */
    int asking, most; /* requests that wait for their answer, now and at most at a time */
    struct request requests[SERVER_REQUESTS];
    int n;
};

static double server_clock(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Reads headers and body; false when the client is gone. */
static bool server_read(int fd, struct request *r) {
    char *text = calloc(1, SERVER_TEXT + 1);
    size_t n = 0, want = SERVER_TEXT;
    char *body = NULL;
    while (n < want) {
        const ssize_t k = recv(fd, text + n, want - n, 0);
        if (k <= 0) break;
        n += (size_t)k;
        if (!body && (body = strstr(text, "\r\n\r\n")) != NULL) {
            const char *length = strcasestr(text, "\r\ncontent-length:");
            body += 4;
            want = (size_t)(body - text) + (length ? strtoul(length + 17, NULL, 10) : 0);
        }
    }
    if (body && n == want) {
        const char *a = strcasestr(text, "\r\nauthorization: ");
        if (a) snprintf(r->authorization, sizeof r->authorization, "%.*s", (int)strcspn(a + 17, "\r"), a + 17);
        json_t *v = json_loads(body, 0, NULL);
        json_t *messages = json_object_get(v, "messages");
        const char *user = json_string_value(json_object_get(json_array_get(messages, 1), "content"));
        snprintf(r->user, sizeof r->user, "%s", user ? user : "");
        r->body = strdup(body);
        json_decref(v);
    }
    free(text);
    return r->body != NULL;
}

static void server_send(int fd, const struct reply *p) {
    char head[512], more[128] = "";
    json_t *v = json_pack("{s:[{s:i, s:{s:s, s:s}, s:s}], s:{s:i, s:i}}", "choices", "index", 0, "message", "role",
                          "assistant", "content", p->text ? p->text : "fine", "finish_reason", "stop", "usage",
                          "prompt_tokens", 100, "completion_tokens", 10);
    char *made = json_dumps(v, 0);
    const char *body = p->body ? p->body : made;
    const size_t n = strlen(body);
    if (p->retry_after) snprintf(more, sizeof more, "Retry-After: %d\r\n", p->retry_after);
    if (p->location) snprintf(more, sizeof more, "Location: %s\r\n", p->location);
    const int status = p->status ? p->status : 200;
    snprintf(head, sizeof head,
             "HTTP/1.1 %d X\r\nContent-Type: application/json\r\n%sContent-Length: %zu\r\n"
             "Connection: close\r\n\r\n",
             status, more, n);
    send(fd, head, strlen(head), MSG_NOSIGNAL);
    send(fd, body, p->half ? n / 2 : n, MSG_NOSIGNAL);
    free(made);
    json_decref(v);
}

/* Until the client has closed the connection. */
static void server_drain(int fd) {
    char rest[256];
    shutdown(fd, SHUT_WR);
    while (recv(fd, rest, sizeof rest, 0) > 0) continue;
}

struct connection {
    struct server *s;
    int fd;
};

static void *server_serve(void *arg) {
    struct connection c = *(struct connection *)arg;
    struct server *s = c.s;
    struct request r = {.time = server_clock()};
    struct reply p = {0};
    free(arg);
    if (server_read(c.fd, &r)) {
        pthread_mutex_lock(&s->lock);
        for (int i = 0; i < s->n; i++) r.turn += !strcmp(s->requests[i].user, r.user);
        if (s->n < SERVER_REQUESTS) s->requests[s->n++] = r;
        s->plan(s->context, &r, &p);
        if (++s->asking > s->most) s->most = s->asking;
        pthread_mutex_unlock(&s->lock);
        usleep((unsigned)p.delay_ms * 1000);
        pthread_mutex_lock(&s->lock);
        while (p.wait && s->taken == 0) pthread_cond_wait(&s->taking, &s->lock);
        s->asking--;
        pthread_mutex_unlock(&s->lock);
        if (!p.drop) server_send(c.fd, &p);
        if (!p.drop) server_drain(c.fd);
        pthread_mutex_lock(&s->lock);
        s->taken++;
        pthread_cond_broadcast(&s->taking);
        pthread_mutex_unlock(&s->lock);
    }
    shutdown(c.fd, SHUT_RDWR);
    close(c.fd);
    pthread_mutex_lock(&s->lock);
    if (--s->live == 0) pthread_cond_signal(&s->quiet);
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

static void *server_run(void *arg) {
    struct server *s = arg;
    int fd;
    while ((fd = accept(s->fd, NULL, NULL)) >= 0) {
        struct connection *c = malloc(sizeof *c);
        pthread_t t;
        *c = (struct connection){s, fd};
        pthread_mutex_lock(&s->lock);
        s->live++;
        pthread_mutex_unlock(&s->lock);
        pthread_create(&t, NULL, server_serve, c);
        pthread_detach(t);
    }
    return NULL;
}

static void server_start(struct server *s, void (*plan)(void *, const struct request *, struct reply *),
                         void *context) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    memset(s, 0, sizeof *s);
    s->plan = plan;
    s->context = context;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->quiet, NULL);
    pthread_cond_init(&s->taking, NULL);
    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(s->fd >= 0 && bind(s->fd, (struct sockaddr *)&a, n) == 0 && listen(s->fd, 128) == 0);
    assert_int_equal(getsockname(s->fd, (struct sockaddr *)&a, &n), 0);
    s->port = ntohs(a.sin_port);
    snprintf(s->base, sizeof s->base, "http://127.0.0.1:%d/v1", s->port);
    assert_int_equal(pthread_create(&s->thread, NULL, server_run, s), 0);
}

static void server_stop(struct server *s) {
    shutdown(s->fd, SHUT_RDWR);
    pthread_join(s->thread, NULL);
    close(s->fd);
    pthread_mutex_lock(&s->lock);
    while (s->live > 0) pthread_cond_wait(&s->quiet, &s->lock);
    for (int i = 0; i < s->n; i++) free(s->requests[i].body);
    pthread_mutex_unlock(&s->lock);
}

#endif
