/* input: see input.h. Sizes are checked here, so that a damaged offset never reaches the system. */
#include "base/input.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/file.h"

int input_open(struct input *in, const char *path, struct err *err) {
    struct stat st;
    *in = (struct input){.path = path, .fd = open(path, O_RDONLY | O_CLOEXEC)};
    if (in->fd < 0) return err_set(err, "cannot open '%s': %s", path, strerror(errno));
    if (fstat(in->fd, &st) == 0 && S_ISREG(st.st_mode)) {
        in->size = st.st_size;
        posix_fadvise(in->fd, 0, 0, POSIX_FADV_SEQUENTIAL); /* a hint */
        return 0;
    }
    input_close(in);
    return err_set(err, "cannot read '%s': it is not a regular file", path);
}

int input_read(const struct input *in, void *buf, int64_t n, int64_t offset, struct err *err) {
    if (n < 0 || offset < 0 || offset > in->size - n)
        return err_set(err, "'%s' is cut short: %lld bytes at offset %lld wanted, it has %lld", in->path, (long long)n,
                       (long long)offset, (long long)in->size);
    return file_read_at(in->fd, buf, (size_t)n, offset, in->path, err);
}

void input_close(struct input *in) {
    if (in->fd >= 0) close(in->fd);
    in->fd = -1;
}
