/* journal: see journal.h. */
#include "base/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fault.h"
#include "base/mem.h"

enum { LONGEST = 64 << 20 }; /* of a torn line */

static int fail(const struct journal *j, const char *what, struct err *err) {
    return err_set(err, "cannot %s '%.600s': %s", what, j->path, strerror(errno));
}

static int sync_file(const struct journal *j, struct err *err) {
    return fault_now(FAULT_FSYNC) || fsync(j->fd) < 0 ? fail(j, "sync", err) : 0;
}

/* The part of text[n] behind its last line break. */
static int64_t tail_start(const char *text, int64_t n) {
    const char *end = n > 0 ? memrchr(text, '\n', (size_t)n) : NULL;
    return end ? end - text + 1 : 0;
}

static int repair(struct journal *j, struct err *err) {
    const int64_t from = j->size > LONGEST ? j->size - LONGEST : 0, n = j->size - from;
    char *text = mem_alloc(n + 1, 1, j->path, err);
    int r = text ? file_read_at(j->fd, text, (size_t)n, from, j->path, err) : -1;
    const int64_t tail = r == 0 ? tail_start(text, n) : n;
    if (tail < n && tail == 0 && from > 0)
        r = err_set(err, "%s: the last line is longer than %d bytes", j->path, LONGEST);
    if (r == 0 && tail < n) {
        json_t *v = json_loadb(text + tail, (size_t)(n - tail), JSON_DECODE_ANY, NULL);
        if (v) {
            r = journal_add(j, "", 0, err);
        } else if (ftruncate(j->fd, from + tail) < 0) {
            r = fail(j, "repair", err);
        } else {
            j->cut = n - tail;
            j->size = from + tail;
            r = sync_file(j, err);
        }
        json_decref(v);
    }
    mem_free(text);
    return r;
}

int journal_open(struct journal *j, const char *path, struct err *err) {
    *j = (struct journal){.fd = -1};
    if (strlen(path) >= sizeof j->path) return err_set(err, "%.60s…: the name is too long", path);
    strcpy(j->path, path);
    j->fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (j->fd < 0) return fail(j, "open", err);
    j->size = file_size(path, err);
    if (j->size >= 0 && file_sync_folder(path, err) == 0 && repair(j, err) == 0) return 0;
    journal_close(j);
    return -1;
}

int journal_add(struct journal *j, const char *text, int64_t n, struct err *err) {
    char *line = mem_alloc(n + 1, 1, "a line", err);
    if (!line) return -1;
    if (n > 0) memcpy(line, text, (size_t)n);
    line[n++] = '\n';
    int r = 0;
    for (int64_t done = 0; r == 0 && done < n;) {
        const ssize_t k = fault_now(FAULT_WRITE) ? -1 : write(j->fd, line + done, (size_t)(n - done));
        if (k < 0 && errno == EINTR) continue;
        if (k < 0)
            r = fail(j, "write", err);
        else
            done += k;
    }
    mem_free(line);
    if (r == 0) r = sync_file(j, err);
    if (r == 0)
        j->size += n;
    else if (ftruncate(j->fd, j->size) < 0) /* a torn line is left, which the next journal_open() repairs */
        r = -1;
    return r;
}

void journal_close(struct journal *j) {
    if (j->path[0] && j->fd >= 0) close(j->fd);
    *j = (struct journal){.fd = -1};
}
