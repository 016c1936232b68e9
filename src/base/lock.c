/* lock: flock() with a message that names the other program. */
#include "base/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/err.h"
#include "base/file.h"

enum { HOLDER_BYTES = 128 };

/* What the holder wrote: "process 123 on HOST". */
static int refuse(int fd, const char *folder, struct err *err) {
    char holder[HOLDER_BYTES];
    const ssize_t n = pread(fd, holder, sizeof holder - 1, 0);
    holder[n > 0 ? n : 0] = '\0';
    holder[strcspn(holder, "\n")] = '\0';
    return err_set(err, "%s: another program is at work in this folder (%s): wait for it, or end it", folder,
                   *holder ? holder : "it left no name");
}

static void sign(int fd) {
    char host[64] = "", text[HOLDER_BYTES];
    gethostname(host, sizeof host - 1);
    const int n = snprintf(text, sizeof text, "process %ld on %s\n", (long)getpid(), host);
    if (ftruncate(fd, 0) < 0 || pwrite(fd, text, (size_t)n, 0) != n)
        return; /* a full disk: the lock holds all the same */
}

int lock_take(const char *folder, struct err *err) {
    char path[FILE_PATH_MAX];
    if (file_join(path, folder, LOCK_NAME, err) < 0) return -1;
    const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0) return err_set(err, "%s: cannot open: %s", path, strerror(errno));
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
        sign(fd);
        return fd;
    }
    /* A file system without locks (ENOLCK, ENOSYS, EOPNOTSUPP) is no reason not to work there. */
    if (errno != EWOULDBLOCK) return fd;
    refuse(fd, folder, err);
    close(fd);
    return -1;
}

void lock_release(int lock) {
    if (lock >= 0) close(lock);
}
