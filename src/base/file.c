/* file: whole-file reading with caps, and writing through a temporary name. No formats, no compression. */
#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fault.h"
#include "base/mem.h"

static int fail(struct err *err, const char *what, const char *path) {
    enum { SHOWN = 600 }; /* of a very long path, so that the reason still fits */
    return err_set(err, "cannot %s '%.*s%s': %s", what, SHOWN, path, strlen(path) > SHOWN ? "..." : "",
                   strerror(errno));
}

static int open_to_read(const char *path, int flags, struct stat *st, struct err *err) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | flags);
    if (fd < 0) return fail(err, "open", path);
    bool known = fstat(fd, st) == 0;
    if (known && !S_ISDIR(st->st_mode)) return fd;
    if (known) errno = EISDIR;
    fail(err, "read", path);
    close(fd);
    return -1;
}

/* Up to n bytes from the descriptor's position, or from `offset` when it is not negative. Fewer only at the end. */
static ssize_t read_upto(int fd, char *buf, size_t n, int64_t offset) {
    size_t got = 0;
    while (got < n) {
        if (fault_now(FAULT_READ)) return -1;
        ssize_t r = offset < 0 ? read(fd, buf + got, n - got) : pread(fd, buf + got, n - got, offset + (int64_t)got);
        if (r < 0 && errno == EINTR) continue;
        if (r < 0) return -1;
        if (r == 0) break;
        got += (size_t)r;
    }
    return (ssize_t)got;
}

/* ---- reading ---- */

int file_map(struct file_map *m, const char *path, struct err *err) {
    static const _Alignas(4096) unsigned char nothing[1];
    *m = (struct file_map){0};
    struct stat st;
    int fd = open_to_read(path, O_NONBLOCK, &st, err), status = -1; /* does not wait for a pipe's writer */
    if (fd < 0) return -1;
    if (!S_ISREG(st.st_mode)) {
        err_set(err, "cannot map '%s': it is not a regular file", path);
    } else if (fault_now(FAULT_READ)) {
        fail(err, "map", path);
    } else if (st.st_size == 0) {
        *m = (struct file_map){nothing, 0};
        status = 0;
    } else {
        void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (p == MAP_FAILED) {
            fail(err, "map", path);
        } else {
            *m = (struct file_map){p, (size_t)st.st_size};
            status = 0;
        }
    }
    close(fd);
    return status;
}

void file_unmap(struct file_map *m) {
    if (m->size) munmap((void *)(uintptr_t)m->data, m->size);
    *m = (struct file_map){0};
}

/* Reads to the end whatever the size was said to be: pipes and /proc say 0. One byte past the cap tells "too large". */
static int read_all(char **data, size_t *size, int fd, size_t expected, const char *path, size_t max, struct err *err) {
    char *buf = NULL;
    int64_t capacity = 0;
    size_t got = 0;
    for (size_t room = expected + 1;; room = (size_t)capacity) {
        if (got + room > max + 1) room = max + 1 - got;
        if (mem_grow(&buf, &capacity, (int64_t)(got + room + 1), 1, path, err) < 0) break;
        ssize_t r = read_upto(fd, buf + got, room, -1);
        if (r < 0) {
            fail(err, "read", path);
            break;
        }
        got += (size_t)r;
        if (got > max) {
            err_set(err, "'%s' is larger than %zu bytes, the most that is accepted here", path, max);
            break;
        }
        if ((size_t)r < room) {
            buf[got] = '\0';
            *data = buf;
            *size = got;
            return 0;
        }
    }
    mem_free(buf);
    return -1;
}

int file_read(char **data, size_t *size, const char *path, size_t max, struct err *err) {
    BUG_ON(max > INT64_MAX / 4);
    struct stat st;
    int fd = open_to_read(path, 0, &st, err);
    if (fd < 0) return -1;
    size_t expected = S_ISREG(st.st_mode) ? (size_t)st.st_size : 0;
    int status = read_all(data, size, fd, expected < max ? expected : max, path, max, err);
    close(fd);
    return status;
}

int file_read_at(int fd, void *buf, size_t n, int64_t offset, const char *path, struct err *err) {
    BUG_ON(offset < 0);
    ssize_t r = read_upto(fd, buf, n, offset);
    if (r < 0) return fail(err, "read", path);
    if ((size_t)r == n) return 0;
    return err_set(err, "'%s' is cut short: expected %zu bytes at offset %lld, found %zd", path, n, (long long)offset,
                   r);
}

/* ---- writing ---- */

#define TEMP_TAG ".tmp."
enum {
    TEMP_DIGITS = 16,
    TEMP_MARK = sizeof TEMP_TAG + TEMP_DIGITS,
    TEMP_TRIES = 1000 /* who sweeps without a pause wins every other one */
};

struct file_out {
    int fd;
    bool joined; /* another process made the file, and renames it */
    size_t used; /* bytes of buf that the system has not got yet */
    char path[FILE_PATH_MAX], temp[FILE_PATH_MAX];
    char buf[64 << 10];
};

/* At the descriptor's position, or at `offset` when it is not negative. */
static int write_all(int fd, const char *data, size_t n, int64_t offset, const char *path, struct err *err) {
    while (n > 0) {
        ssize_t r = fault_now(FAULT_WRITE) ? -1 : offset < 0 ? write(fd, data, n) : pwrite(fd, data, n, offset);
        if (r < 0 && errno == EINTR) continue;
        if (r < 0) return fail(err, "write", path);
        data += r;
        n -= (size_t)r;
        if (offset >= 0) offset += r;
    }
    return 0;
}

static int flush(struct file_out *f, struct err *err) {
    if (write_all(f->fd, f->buf, f->used, -1, f->path, err) < 0) return -1;
    f->used = 0;
    return 0;
}

/* A symbolic link is followed, so that what it points to is replaced and not the link. Renaming over a device or a
 * pipe would delete it, so these are refused. */
static int resolve(struct file_out *f, const char *path, struct err *err) {
    struct stat st;
    char real[PATH_MAX];
    if (!*path) return err_set(err, "cannot write '': the name is empty");
    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode))
        return err_set(err, "cannot write '%s': it is %s, not a regular file", path,
                       S_ISDIR(st.st_mode) ? "a folder" : "a device or a pipe");
    if (lstat(path, &st) == 0 && S_ISLNK(st.st_mode) && realpath(path, real)) path = real;
    int n = snprintf(f->path, sizeof f->path, "%s", path);
    if (n >= FILE_PATH_MAX || n + TEMP_MARK >= FILE_PATH_MAX) {
        errno = ENAMETOOLONG;
        return fail(err, "write", path);
    }
    return 0;
}

/* file_sweep() may have come between, and takes it away. */
static bool hold(int fd) {
    struct stat st;
    if (flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK) return false;
    return fstat(fd, &st) < 0 || st.st_nlink > 0;
}

/* The temporary name is random: two programs, also on two machines that share the folder, may write one path at the same
 * time, and the last one to commit wins whole. */
static int create(struct file_out *f, struct err *err) {
    for (int tries = 0; tries < TEMP_TRIES; tries++) {
        uint64_t random;
        if (getrandom(&random, sizeof random, 0) != sizeof random) return fail(err, "find a random name for", f->path);
        memcpy(f->temp, f->path, strlen(f->path) + 1);
        snprintf(f->temp + strlen(f->path), TEMP_MARK, TEMP_TAG "%0*llx", TEMP_DIGITS, (unsigned long long)random);
        f->fd = open(f->temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (f->fd < 0 && errno != EEXIST) break;
        if (f->fd >= 0 && hold(f->fd)) break;
        if (f->fd >= 0) close(f->fd);
        f->fd = -1;
        errno = EEXIST;
    }
    return f->fd < 0 ? fail(err, "create", f->temp) : 0;
}

struct file_out *file_out_open(const char *path, struct err *err) {
    struct file_out *f = mem_alloc(1, sizeof *f, path, err);
    if (!f) return NULL;
    if (resolve(f, path, err) == 0 && create(f, err) == 0) return f;
    mem_free(f);
    return NULL;
}

const char *file_out_temp(const struct file_out *f) {
    return f->temp;
}

struct file_out *file_out_join(const char *temp, struct err *err) {
    struct file_out *f = mem_alloc(1, sizeof *f, temp, err);
    if (!f) return NULL;
    f->joined = true;
    snprintf(f->path, sizeof f->path, "%s", temp);
    f->fd = open(temp, O_WRONLY | O_CLOEXEC);
    if (f->fd >= 0) return f;
    fail(err, "open", temp);
    mem_free(f);
    return NULL;
}

int file_out_write_at(struct file_out *f, const void *data, size_t n, int64_t offset, struct err *err) {
    BUG_ON(offset < 0);
    return write_all(f->fd, data, n, offset, f->path, err);
}

int file_out_write(struct file_out *f, const void *data, size_t n, struct err *err) {
    if (n > sizeof f->buf - f->used && flush(f, err) < 0) return -1;
    if (n >= sizeof f->buf) {
        return write_all(f->fd, data, n, -1, f->path, err);
    } else if (n) {
        memcpy(f->buf + f->used, data, n);
        f->used += n;
    }
    return 0;
}

int file_out_printf(struct file_out *f, struct err *err, const char *fmt, ...) {
    char small[512], *text = small;
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(small, sizeof small, fmt, ap), status = -1;
    va_end(ap);
    BUG_ON(n < 0);
    if (n >= (int)sizeof small && (text = mem_alloc(n + 1, 1, f->path, err)))
        vsnprintf(text, (size_t)n + 1, fmt, again);
    va_end(again);
    if (text) status = file_out_write(f, text, (size_t)n, err);
    if (text != small) mem_free(text);
    return status;
}

/* Some network file systems cannot do that: EINVAL is no failure. */
int file_sync_folder(const char *path, struct err *err) {
    char dir[FILE_PATH_MAX];
    const char *slash = strrchr(path, '/');
    int n = !slash ? snprintf(dir, sizeof dir, ".") : snprintf(dir, sizeof dir, "%.*s/", (int)(slash - path), path);
    BUG_ON(n >= (int)sizeof dir);
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), status = 0;
    if (fd < 0) return fail(err, "open the folder", dir);
    if (fault_now(FAULT_FSYNC) || (fsync(fd) < 0 && errno != EINVAL)) status = fail(err, "sync the folder", dir);
    close(fd);
    return status;
}

int file_out_commit(struct file_out *f, struct err *err) {
    if (flush(f, err) < 0) {
        file_out_abort(f);
        return -1;
    }
    if (fault_now(FAULT_FSYNC) || fsync(f->fd) < 0) {
        fail(err, "sync", f->path);
        file_out_abort(f);
        return -1;
    }
    if (!f->joined && (fault_now(FAULT_RENAME) || rename(f->temp, f->path) < 0)) {
        err_set(err, "cannot rename '%s' to '%s': %s", f->temp, f->path, strerror(errno));
        file_out_abort(f);
        return -1;
    }
    close(f->fd); /* held until it has its name; what close() could tell, fsync() has told */
    const int status = f->joined ? 0 : file_sync_folder(f->path, err);
    mem_free(f);
    return status;
}

void file_out_abort(struct file_out *f) {
    if (!f) return;
    if (f->fd >= 0) close(f->fd);
    if (!f->joined) unlink(f->temp);
    mem_free(f);
}

int file_write(const char *path, const void *data, size_t n, struct err *err) {
    struct file_out *f = file_out_open(path, err);
    if (!f) return -1;
    if (file_out_write(f, data, n, err) < 0) {
        file_out_abort(f);
        return -1;
    }
    return file_out_commit(f, err);
}

int file_copy(const char *from, const char *to, struct err *err) {
    struct stat st;
    int in = open_to_read(from, 0, &st, err), status = -1;
    if (in < 0) return -1;
    enum { PIECE = 1 << 20 };
    char *buf = mem_alloc(PIECE, 1, "a copy buffer", err);
    struct file_out *out = buf ? file_out_open(to, err) : NULL;
    ssize_t r = 0;
    while (out) {
        r = read_upto(in, buf, PIECE, -1);
        if (r < 0) fail(err, "read", from);
        if (r <= 0 || file_out_write(out, buf, (size_t)r, err) < 0) break;
    }
    if (out && r == 0)
        status = file_out_commit(out, err);
    else
        file_out_abort(out);
    mem_free(buf);
    close(in);
    return status;
}

/* ---- names and folders ---- */

bool file_exists(const char *path) {
    return access(path, F_OK) == 0;
}

bool file_is_dir(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

int64_t file_size(const char *path, struct err *err) {
    struct stat st;
    if (stat(path, &st) < 0) return fail(err, "find", path);
    if (!S_ISREG(st.st_mode)) return err_set(err, "'%s' is not a regular file", path);
    return st.st_size;
}

int file_mkdirs(const char *path, struct err *err) {
    char part[FILE_PATH_MAX];
    if (snprintf(part, sizeof part, "%s", path) >= FILE_PATH_MAX) {
        errno = ENAMETOOLONG;
        return fail(err, "create the folder", path);
    }
    for (char *p = part;; p++) {
        if (*p && (*p != '/' || p == part)) continue;
        char end = *p;
        *p = '\0';
        if (mkdir(part, 0777) < 0 && errno != EEXIST) return fail(err, "create the folder", part);
        if (!end) break;
        *p = end;
    }
    if (file_is_dir(path)) return 0;
    errno = ENOTDIR;
    return fail(err, "create the folder", path);
}

static int by_bytes(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int file_list(char ***names, int64_t *count, const char *path, struct err *err) {
    DIR *d = opendir(path);
    if (!d) return fail(err, "list", path);
    char **list = NULL;
    int64_t n = 0, capacity = 0;
    struct dirent *e;
    while (errno = 0, (e = readdir(d))) {
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..")) continue;
        if (mem_grow(&list, &capacity, n + 1, sizeof *list, path, err) < 0) goto failed;
        if (!(list[n] = mem_strdup(e->d_name, err))) goto failed;
        n++;
    }
    if (errno) {
        fail(err, "list", path);
        goto failed;
    }
    closedir(d);
    if (n) qsort(list, (size_t)n, sizeof *list, by_bytes);
    *names = list;
    *count = n;
    return 0;
failed:
    file_list_free(list, n);
    closedir(d);
    return -1;
}

void file_list_free(char **names, int64_t count) {
    for (int64_t i = 0; i < count; i++) mem_free(names[i]);
    mem_free(names);
}

bool file_is_temporary(const char *name) {
    const size_t n = strlen(name);
    if (n < TEMP_MARK) return false; /* of a file that has a name */
    const char *digits = name + n - TEMP_DIGITS, *tag = name + n - (TEMP_MARK - 1);
    return !strncmp(tag, TEMP_TAG, strlen(TEMP_TAG)) && strspn(digits, "0123456789abcdef") == TEMP_DIGITS;
}

void file_sweep(const char *folder) {
    struct err ignored = {{0}};
    char **names, path[FILE_PATH_MAX];
    int64_t n;
    if (file_list(&names, &n, folder, &ignored) < 0) return;
    for (int64_t i = 0; i < n; i++) {
        struct stat st;
        if (!file_is_temporary(names[i]) || file_join(path, folder, names[i], &ignored) < 0) continue;
        const int fd = open(path, O_RDWR | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0) continue;
        if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && flock(fd, LOCK_EX | LOCK_NB) == 0) unlink(path);
        close(fd);
    }
    file_list_free(names, n);
}

int file_join(char out[FILE_PATH_MAX], const char *dir, const char *name, struct err *err) {
    size_t n = strlen(dir);
    int len = snprintf(out, FILE_PATH_MAX, "%s%s%s", dir, n && dir[n - 1] != '/' ? "/" : "", name);
    if (len < FILE_PATH_MAX) return 0;
    return err_set(err, "the path '%.100s…/%.100s' is longer than %d bytes", dir, name, FILE_PATH_MAX - 1);
}
