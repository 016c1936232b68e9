/* lock: flock() with a message that names the other program. */
#include "base/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/file.h"

enum {
    HOLDER_BYTES = 128,
    HOST_BYTES = 64,
    TRIES = 1000 /* a file system whose numbers of files mean nothing: has_name() is never true */
};

/* What the holder wrote: "process 123 on HOST", and one that shares it, behind that, SHARED. */
struct holder {
    char text[HOLDER_BYTES];
    bool here, died; /* on this host; and it no longer runs */
    bool shared;
};

#define SHARED " or others that share it"

static void read_holder(struct holder *h, int fd) {
    char host[HOST_BYTES] = "", its[HOLDER_BYTES];
    long id;
    const ssize_t n = pread(fd, h->text, sizeof h->text - 1, 0);
    h->text[n > 0 ? n : 0] = '\0';
    h->text[strcspn(h->text, "\n")] = '\0';
    gethostname(host, sizeof host - 1);
    h->here = sscanf(h->text, "process %ld on %127s", &id, its) == 2 && id > 0 && !strcmp(host, its);
    h->died = h->here && kill((pid_t)id, 0) < 0 && errno == ESRCH;
    h->shared = strstr(h->text, SHARED) != NULL;
}

static int refuse(int fd, const char *folder, struct err *err) {
    struct holder h;
    read_holder(&h, fd);
    const char *name = h.died && h.shared ? "one of several that share it" : *h.text ? h.text : "it left no name";
    err_set(err, "%s: another program is at work in this folder (%s): wait for it, or end it", folder, name);
    return h.died && !h.shared ? LOCK_INHERITED : LOCK_HELD;
}

/* Of several that share it here the first one is named, while it runs. */
static void sign(int fd, bool shared) {
    char host[HOST_BYTES] = "", text[HOLDER_BYTES];
    struct holder h;
    read_holder(&h, fd);
    if (shared && h.shared && h.here && !h.died) return;
    gethostname(host, sizeof host - 1);
    const int n = snprintf(text, sizeof text, "process %ld on %s%s\n", (long)getpid(), host, shared ? SHARED : "");
    if (ftruncate(fd, 0) < 0 || pwrite(fd, text, (size_t)n, 0) != n)
        return; /* a full disk: the lock holds all the same */
}

/* Who removes the file holds it; another may have opened it before, and has then locked a file without a name. */
static bool has_name(int fd, const char *path) {
    struct stat mine, named;
    return fstat(fd, &mine) == 0 && stat(path, &named) == 0 && mine.st_dev == named.st_dev &&
           mine.st_ino == named.st_ino;
}

static int take(const char *folder, int how, struct err *err) {
    char path[FILE_PATH_MAX];
    if (file_join(path, folder, LOCK_NAME, err) < 0) return LOCK_FAILED;
    for (int left = TRIES;; left--) {
        const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
        if (fd < 0) return err_set(err, "%s: cannot open: %s", path, strerror(errno));
        if (flock(fd, how | LOCK_NB) == 0) {
            if (has_name(fd, path) || left == 0) {
                sign(fd, how == LOCK_SH);
                return fd;
            }
        } else if (errno != EWOULDBLOCK) {
            return fd; /* a file system without locks (ENOLCK, ENOSYS, EOPNOTSUPP) is no reason not to work there */
        } else if (has_name(fd, path) || left == 0) {
            const int held = refuse(fd, folder, err);
            close(fd);
            return held;
        }
        close(fd);
    }
}

int lock_take(const char *folder, struct err *err) {
    return take(folder, LOCK_EX, err);
}

int lock_share(const char *folder, struct err *err) {
    return take(folder, LOCK_SH, err);
}

void lock_inherit(int lock) {
    fcntl(lock, F_SETFD, 0);
}

void lock_release(int lock) {
    if (lock >= 0) close(lock);
}
