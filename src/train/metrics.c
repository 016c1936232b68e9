/* metrics: appends rows to a CSV file. */
#include "train/metrics.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/mem.h"

static const char header[] = "step,tokens,flops,loss,valid_loss,lr,grad_norm,tokens_per_s,mfu,epoch,seconds\n";

struct metrics {
    FILE *f;
    char path[FILE_PATH_MAX];
};

/* Rewrite the file without the rows after keep_step. */
static int trim(const char *path, int64_t keep_step, struct err *err) {
    char *text, *line, *end;
    size_t size;
    if (file_read(&text, &size, path, (size_t)1 << 32, err) < 0) return -1;
    struct file_out *out = file_out_open(path, err);
    int r = out ? file_out_write(out, header, strlen(header), err) : -1;
    for (line = text; r == 0 && (end = strchr(line, '\n'));
         line = end + 1) { /* a torn last line has no newline: dropped */
        const long long step = strtoll(line, NULL, 10);
        if (step > 0 && step <= keep_step) r = file_out_write(out, line, (size_t)(end + 1 - line), err);
    }
    mem_free(text);
    if (r < 0) {
        file_out_abort(out);
        return -1;
    }
    return file_out_commit(out, err);
}

struct metrics *metrics_open(const char *run, int64_t keep_step, struct err *err) {
    struct metrics *m = mem_alloc(1, sizeof *m, "metrics", err);
    if (!m || file_join(m->path, run, "metrics.csv", err) < 0) goto fail;
    if (file_exists(m->path)) {
        if (trim(m->path, keep_step, err) < 0) goto fail;
    } else if (file_write(m->path, header, strlen(header), err) < 0)
        goto fail;
    m->f = fopen(m->path, "a");
    if (m->f) return m;
    err_set(err, "%s: cannot append: %s", m->path, strerror(errno));
fail:
    mem_free(m);
    return NULL;
}

int metrics_add(struct metrics *m, const struct metrics_row *r, struct err *err) {
    char valid[32] = "";
    if (!isnan(r->valid_loss)) snprintf(valid, sizeof valid, "%.6f", r->valid_loss);
    if (fault_now(FAULT_WRITE) ||
        fprintf(m->f, "%lld,%.0f,%.6e,%.6f,%s,%.6e,%.6f,%.1f,%.4f,%.4f,%.2f\n", (long long)r->step, r->tokens, r->flops,
                r->loss, valid, r->lr, r->grad_norm, r->tokens_per_s, r->mfu, r->epoch, r->seconds) < 0 ||
        fflush(m->f) != 0)
        return err_set(err, "%s: cannot write: %s; free some space and start the run again", m->path, strerror(errno));
    return 0;
}

int metrics_sync(struct metrics *m, struct err *err) {
    if (!fault_now(FAULT_FSYNC) && fsync(fileno(m->f)) == 0) return 0;
    return err_set(err, "%s: cannot reach the disk: %s", m->path, strerror(errno));
}

int metrics_close(struct metrics *m, struct err *err) {
    if (!m) return 0;
    const int r = fclose(m->f) == 0 ? 0 : err_set(err, "%s: cannot write: %s", m->path, strerror(errno));
    mem_free(m);
    return r;
}
