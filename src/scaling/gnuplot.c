/* gnuplot: see gnuplot.h. */
#include "scaling/gnuplot.h"

#include <errno.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"

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
    return 0;
}
