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

/* Did "process 123 on HOST" run here, and does it no more? */
static bool has_died(const char *holder) {
    char host[HOST_BYTES] = "", its[HOLDER_BYTES];
    long id;
    gethostname(host, sizeof host - 1);
    return sscanf(holder, "process %ld on %127s", &id, its) == 2 && id > 0 && !strcmp(host, its) &&
           kill((pid_t)id, 0) < 0 && errno == ESRCH;
}

/* What the holder wrote: "process 123 on HOST". */
static int refuse(int fd, const char *folder, struct err *err) {
    char holder[HOLDER_BYTES];
    const ssize_t n = pread(fd, holder, sizeof holder - 1, 0);
    holder[n > 0 ? n : 0] = '\0';
    holder[strcspn(holder, "\n")] = '\0';
    err_set(err, "%s: another program is at work in this folder (%s): wait for it, or end it", folder,
            *holder ? holder : "it left no name");
    return has_died(holder) ? LOCK_INHERITED : LOCK_HELD;
}

static void sign(int fd) {
    char host[HOST_BYTES] = "", text[HOLDER_BYTES];
    gethostname(host, sizeof host - 1);
    const int n = snprintf(text, sizeof text, "process %ld on %s\n", (long)getpid(), host);
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
                sign(fd);
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
