/* gnuplot: see gnuplot.h. */
#include "base/gnuplot.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/err.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/stop.h"

/* gnuplot does not say when the disk is full: does the picture have its end? */
static int check_whole(const char *path, struct err *err) {
    enum { TAIL = 16 };
    struct file_map m;
    if (file_map(&m, path, err) < 0) return -1;
    const size_t n = m.size < TAIL ? m.size : TAIL;
    const unsigned char *end = m.data + m.size - n;
    const bool whole = memmem(end, n, "</svg>", 6) || memmem(end, n, "IEND", 4); /* of an SVG, of a PNG */
    file_unmap(&m);
    return whole ? 0 : err_set(err, "%s: gnuplot did not write all of it: is the disk full?", path);
}

/* Of every line "set output 'NAME'", a quote in the name being doubled. */
static int check_pictures(const char *in, const char *script, struct err *err) {
    static const char set[] = "set output '";
    char path[FILE_PATH_MAX], *text;
    size_t size;
    if (file_join(path, in, script, err) < 0 || file_read(&text, &size, path, 1 << 24, err) < 0) return -1;
    int r = 0;
    for (const char *p = text; r == 0 && (p = strstr(p, set)) != NULL;) {
        char name[FILE_PATH_MAX];
        size_t n = 0;
        for (p += strlen(set); *p && (*p != '\'' || *++p == '\'') && n + 1 < sizeof name; p++) name[n++] = *p;
        name[n] = '\0';
        r = file_join(path, in, name, err) < 0 ? -1 : check_whole(path, err);
    }
    mem_free(text);
    return r;
}

int gnuplot_run(const char *folder, const char *script, struct err *err) {
    const char *in = folder ? folder : "";
    int status;
    const pid_t child = fork();
    if (child < 0) return err_set(err, "cannot start gnuplot: %s", strerror(errno));
    if (child == 0) {
        stop_child();
        if (*in && chdir(in) < 0) _exit(126);
        execlp("gnuplot", "gnuplot", script, (char *)NULL);
        _exit(127);
    }
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR) return err_set(err, "waiting for gnuplot: %s", strerror(errno));
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
        return err_set(err, "gnuplot is not installed (package gnuplot-nox); the script %s%s%s is ready for it", in,
                       *in ? "/" : "", script);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return err_set(err, "gnuplot failed on %s%s%s", in, *in ? "/" : "", script);
    return check_pictures(in, script, err);
}

/* The first line of a script tells the digest of the rest, so that one which a person has changed is known. */
static void first_line(char out[64], const char *text, size_t n) {
    snprintf(out, 64, "# mdm plot %016llx\n", (unsigned long long)hash_finish(hash_add(HASH_START, text, n)));
}

/* Is the script there as this program wrote it, or not there? */
static int check_unchanged(const char *path, struct err *err) {
    char *text, line[64];
    size_t n;
    if (!file_exists(path)) return 0;
    if (file_read(&text, &n, path, 1 << 24, err) < 0) return -1;
    const char *rest = text + strcspn(text, "\n");
    rest += *rest == '\n';
    first_line(line, rest, n - (size_t)(rest - text));
    const bool same = strlen(line) == (size_t)(rest - text) && !memcmp(line, text, strlen(line));
    mem_free(text);
    return same ? 0
                : err_set(err, "%s was changed by hand and would be lost: draw with 'gnuplot %s', or move it away",
                          path, path);
}

static int write_script(const char *path, const struct bytes *script, struct err *err) {
    char line[64];
    first_line(line, script->v, (size_t)script->n);
    struct file_out *f = file_out_open(path, err);
    if (!f) return -1;
    if (file_out_write(f, line, strlen(line), err) < 0 || file_out_write(f, script->v, (size_t)script->n, err) < 0) {
        file_out_abort(f);
        return -1;
    }
    return file_out_commit(f, err);
}

int gnuplot_picture(struct gnuplot_picture *p, const char *out, struct err *err) {
    const size_t n = strlen(out);
    const bool svg = n > 4 && !strcmp(out + n - 4, ".svg");
    *p = (struct gnuplot_picture){.png = n > 4 && !strcmp(out + n - 4, ".png")};
    if (!p->png && !svg) return err_set(err, "%s: expected a name that ends in .svg or .png", out);
    for (const char *c = out; *c; c++)
        if ((unsigned char)*c < 32)
            return err_set(err, "%s: gnuplot cannot write a name with a control character", out);
    if (n + sizeof ".data" > sizeof p->data) return err_set(err, "%.60s…: the name is too long", out);
    strcpy(p->out, out);
    sprintf(p->data, "%s.data", out);
    sprintf(p->script, "%s.gp", out);
    if (file_exists(p->data) && !file_exists(p->script)) /* the script is written first */
        return err_set(err, "%s is there without %s, so that it is no picture's and would be lost: move it away",
                       p->data, p->script);
    return check_unchanged(p->script, err);
}

/* A control byte, which might end the line, becomes a question mark. */
int gnuplot_quote(struct bytes *b, const char *text, struct err *err) {
    int r = bytes_push(b, "\"", 1, err);
    for (; r == 0 && *text; text++) {
        const char c = (unsigned char)*text < 32 ? '?' : *text;
        if (c == '"' || c == '\\' || c == '`') r = bytes_push(b, "\\", 1, err);
        if (r == 0) r = bytes_push(b, &c, 1, err);
    }
    return r == 0 ? bytes_push(b, "\"", 1, err) : r;
}

int gnuplot_begin(struct bytes *script, const struct gnuplot_picture *p, struct err *err) {
    if (bytes_printf(script, err, "set terminal %s size %s%s\nset output '", p->png ? "png" : "svg",
                     p->tall  ? "900,700"
                     : p->png ? "1000,600"
                              : "900,540",
                     p->png ? "" : " background 'white'") < 0 ||
        bytes_push_replaced(script, p->out, (int64_t)strlen(p->out), "'", "''", err) < 0)
        return -1;
    return bytes_printf(script, err, "'\nset grid\n");
}

int gnuplot_draw(const struct gnuplot_picture *p, const struct bytes *data, const struct bytes *script,
                 struct err *err) {
    if (write_script(p->script, script, err) < 0 || file_write(p->data, data->v, (size_t)data->n, err) < 0) return -1;
    return gnuplot_run(NULL, p->script, err);
}
