/* gnuplot: see gnuplot.h. */
#include "scaling/gnuplot.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"

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
