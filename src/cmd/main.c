/* main: finds the subcommand in a table and runs it. Knows nothing of what they do. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/progress.h"
#include "base/stop.h"
#include "base/version.h"
#include "cmd/cmd.h"
#include "comm/comm.h"

/* In the order of a project's life, which is the order of `mdm help`. */
static const struct command *const commands[] = {
    &cmd_models, &cmd_tokenizer, &cmd_prepare, &cmd_plan, &cmd_pretrain, &cmd_finetune, &cmd_generate,
    &cmd_score,  &cmd_eval,      &cmd_inspect, &cmd_plot, &cmd_judge,    &cmd_scale,    NULL,
};

static int count(void) {
    int n = 0;
    while (commands[n]) n++;
    return n;
}

int cmd_fail(const char *name, const struct err *err) {
    if (comm_rank() == 0) fprintf(stderr, "mdm %s: %s\n", name, err->msg);
    return 2;
}

int cmd_flush(struct err *err) {
    if (fflush(stdout) == 0 && !ferror(stdout)) return 0;
    return err_set(err, "cannot write standard output: %s", strerror(errno));
}

int cmd_stopped(void) {
    return 128 + (stop_asked() ? stop_signal() : SIGTERM);
}

bool cmd_options(const struct command *cmd, const struct opt *opts, int argc, char **argv, int *noperands,
                 struct opt_given *given, int *status) {
    static const struct opt quiet = {"quiet", OPT_FLAG, &progress_quiet, NULL, "print results and errors only"};
    struct err err = {0};
    struct opt all[OPT_ROWS + 1] = {{0}};
    int n = 0;
    for (; opts[n].name; n++) {
        BUG_ON(n == OPT_ROWS - 1);
        all[n] = opts[n];
    }
    all[n] = quiet;
    int r = opt_parse(cmd, all, argc, argv, noperands, given, &err);
    if (given) given->opts = opts;
    if (r == 0) return true;
    *status = r < 0 ? cmd_fail(cmd->name, &err) : 0;
    return false;
}

/* Runs a command, or one of a command's verbs, if it can be as many processes as there are. */
static int as_many(const struct command *cmd, int argc, char **argv) {
    if (comm_size() == 1 || cmd->ranks) return cmd->run(argc, argv);
    struct err err = {{0}};
    err_set(&err, "started as %d processes, but this command runs as one: leave mpirun or srun out", comm_size());
    return cmd_fail(cmd->name, &err);
}

int cmd_verb(const struct command *cmd, const struct command *verbs, int argc, char **argv) {
    const char *names[16], *word = argc > 1 ? argv[1] : "";
    char list[256] = "";
    struct err err = {0};
    int n = 0;
    for (; verbs[n].name && n < 16; n++) {
        names[n] = strrchr(verbs[n].name, ' ') + 1;
        if (!strcmp(word, names[n])) return as_many(&verbs[n], argc - 1, argv + 1);
        const char *before = n == 0 ? "" : verbs[n + 1].name ? ", " : " or ";
        snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s", before, names[n]);
    }
    if (!strncmp(word, "--help=", 7)) /* of all verbs, then of the command */
        for (int i = 0; i < n; i++) verbs[i].run(2, (char *[]){(char *)verbs[i].name, argv[1], NULL});
    if (*word == '-') {
        const struct opt none[] = {{0}};
        int noperands, status;
        if (!cmd_options(cmd, none, argc, argv, &noperands, NULL, &status)) return status;
    }
    const char *near = opt_nearest(word, names, n);
    if (near)
        err_set(&err, "unknown action '%s'; did you mean '%s'?", word, near);
    else
        err_set(&err, "expected %s; 'mdm %s --help' tells more", list, cmd->name);
    return cmd_fail(cmd->name, &err);
}

static void help(FILE *out) {
    fprintf(
        out,
        "mdm %s: masked diffusion and autoregressive language models\n\nUsage: mdm COMMAND [options] [operands]\n\n",
        MDM_VERSION);
    for (int i = 0; i < count(); i++) fprintf(out, "  %-12s %s\n", commands[i]->name, commands[i]->summary);
    fprintf(out, "\n'mdm COMMAND --help' tells the options of a command, 'mdm --version' the version.\n");
}

static const struct command *find(const char *name) {
    for (int i = 0; i < count(); i++)
        if (!strcmp(commands[i]->name, name)) return commands[i];
    return NULL;
}

static int unknown(const char *name) {
    const char *names[64] = {"help"};
    int n = 1;
    for (int i = 0; i < count() && n < 64; i++) names[n++] = commands[i]->name;
    const char *near = opt_nearest(name, names, n);
    struct err err = {0};
    if (near)
        err_set(&err, "unknown command '%s'; did you mean 'mdm %s'?", name, near);
    else
        err_set(&err, "unknown command '%s'; 'mdm help' lists them", name);
    fprintf(stderr, "mdm: %s\n", err.msg);
    return 2;
}

/* ---- for `make install`, written from the same tables; see opt_help() ---- */

/* Ask a command of the table, and with it its verbs (cmd_verb()). */
static int ask(const char *name, const char *how) {
    const struct command *cmd = find(name);
    return cmd ? cmd->run(2, (char *[]){(char *)name, (char *)how, NULL}) : unknown(name);
}

/* The page of the program itself. */
static int manual(void) {
    printf(
        ".TH mdm 1 \"\" \"mdm %s\" \"User Commands\"\n.SH NAME\nmdm \\- masked diffusion and autoregressive language "
        "models\n.SH SYNOPSIS\n\\fBmdm\\fR COMMAND [options] [operands]\n.SH COMMANDS\n",
        MDM_VERSION);
    for (int i = 0; i < count(); i++) printf(".TP\n\\fBmdm\\-%s\\fR(1)\n%s\n", commands[i]->name, commands[i]->summary);
    printf(".SH OPTIONS\n\\fBmdm\\fR COMMAND \\fB\\-\\-help\\fR tells the options of a command, \\fBmdm "
           "\\-\\-version\\fR the version.\n");
    return 0;
}

/* A bash completion: what may follow is looked for under the command, its verb and the word before the cursor, the
 * narrowest first; where nothing is offered, names of files are. */
static int completion(void) {
    int status = 0;
    printf("# bash completion of mdm, from its tables of options\n_mdm_words() {\n    case $1 in\n    '') words='help "
           "--version");
    for (int i = 0; i < count(); i++) printf(" %s", commands[i]->name);
    printf("' ;;\n");
    fflush(stdout);
    for (int i = 0; i < count(); i++) status |= ask(commands[i]->name, "--help=words");
    printf(
        "    *) return 1 ;;\n    esac\n}\n_mdm() {\n"
        "    local at=$COMP_CWORD typed=(\"${COMP_WORDS[@]}\") cmd= verb= key words=\n"
        "    [ $at -lt 2 ] || [ \"${typed[1]}\" != help ] || { at=$((at - 1)); typed=(mdm \"${typed[@]:2}\"); }\n"
        "    local cur=${typed[at]} prev=${typed[at-1]}\n"
        "    [ $at -lt 2 ] || cmd=${typed[1]}\n"
        "    [ $at -lt 3 ] || verb=\"$cmd ${typed[2]}\"\n"
        "    for key in \"$verb $prev\" \"$cmd $prev\" \"$verb\" \"$cmd\"; do\n"
        "        { [ \"$key\" ] || [ -z \"$cmd\" ]; } && _mdm_words \"$key\" && break\n    done\n"
        "    [ \"$cur\" ] || [ -z \"$cmd\" ] || words=\" $words\" words=${words%%%% --*}\n" /* options when asked for */
        "    COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
        "    [ ${#COMPREPLY[@]} -gt 0 ] || [ \"${cur#-}\" != \"$cur\" ] || COMPREPLY=($(compgen -f -- \"$cur\"))\n"
        "}\ncomplete -o filenames -F _mdm mdm\n");
    return status;
}

static int run(int argc, char **argv) {
    if (argc < 2) {
        help(stderr);
        return 2;
    }
    const char *name = argv[1];
    bool asks_help = !strcmp(name, "help") || !strcmp(name, "--help") || !strcmp(name, "-h");
    if (!strcmp(name, "--version")) {
        printf("mdm %s\n", MDM_VERSION);
        return 0;
    }
    if (asks_help && argc == 2) {
        help(stdout);
        return 0;
    }
    if (asks_help && !strcmp(argv[2], "--man")) return argc == 3 ? manual() : ask(argv[3], "--help=man");
    if (asks_help && !strcmp(argv[2], "--completion")) return completion();
    if (asks_help) { /* mdm help NAME [VERB] */
        const struct command *cmd = find(argv[2]);
        char *words[] = {argv[2], argc > 3 ? argv[3] : "--help", "--help", NULL};
        return cmd ? cmd->run(argc > 3 ? 3 : 2, words) : unknown(argv[2]);
    }
    if (name[0] == '-') {
        fprintf(stderr, "mdm: unknown option '%s' before the command; 'mdm help' tells the usage\n", name);
        return 2;
    }
    const struct command *cmd = find(name);
    if (!cmd) return unknown(name);
    return as_many(cmd, argc - 1, argv + 1);
}

/* Rank 0 speaks for all, also of what keeps them from starting. What the others print of themselves is only how they die. */
static int start_ranks(void) {
    struct err err = {{0}};
    if (comm_start(&err) < 0) {
        if (comm_rank() == 0) fprintf(stderr, "mdm: %s\n", err.msg);
        return -1;
    }
    if (comm_rank() == 0) return 0;
    progress_quiet = true;
    return freopen("/dev/null", "w", stdout) ? 0 : -1;
}

/* Threads that wait for each other spin by default for about a millisecond; where other programs want the cores that is
 * four to eight times slower than sleeping, and where they do not it gains little. OpenMP reads its settings before
 * main(), so the program starts itself once more with a short spin, unless the person has chosen. */
static void settle_threads(char **argv) {
    if (getenv("GOMP_SPINCOUNT") || getenv("OMP_WAIT_POLICY") || setenv("GOMP_SPINCOUNT", "1000", 1) != 0) return;
    execv("/proc/self/exe", argv); /* returns only on failure: then we go on as we are */
}

int main(int argc, char **argv) {
    if (argc > 1) settle_threads(argv);
    prctl(PR_SET_NAME, program_invocation_short_name); /* else it is called "exe" by then */
    stop_guard();
    signal(SIGXFSZ, SIG_IGN); /* a file at its limit is a write that fails, and says so */
    if (start_ranks() < 0) return 2;
    int status = run(argc, argv);
    comm_end();
    /* A full disk shows itself only when the last of stdout is written. */
    struct err err;
    if (cmd_flush(&err) == 0 || status != 0) return status;
    fprintf(stderr, "mdm: %s\n", err.msg);
    return 2;
}
