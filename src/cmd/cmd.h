/* cmd: what a subcommand's file needs. Each src/cmd/cmd_NAME.c defines one `const struct command cmd_NAME`; main.c
 * lists them. This is the only layer that prints, besides base/progress and base/opt_help (help and manual pages), and the
 * only one that ends the program. But base/err tells of bugs and ends it, and comm/watch of ranks that are gone or out of reach.
 *
 *     static int run(int argc, char **argv) {
 *         struct err err = {{0}};
 *         const char *out = NULL;
 *         const struct opt opts[] = {{"out", OPT_STR, &out, "DIR", "folder to write", .required = true}, {0}};
 *         int noperands, status;
 *         if (!cmd_options(&cmd_prepare, opts, argc, argv, &noperands, NULL, &status)) return status;
 *         if (do_it(out, &err) < 0) return cmd_fail("prepare", &err);
 *         return 0;
 *     }
 *
 *     const struct command cmd_prepare = {"prepare", "turn documents into chunks", "FILE...", "mdm prepare …", run};
 *
 * What exit statuses mean stands in every manual page: EXIT STATUS in base/opt_help.c. */
#ifndef MDM_CMD_CMD_H
#define MDM_CMD_CMD_H
#include "base/err.h"
#include "base/opt.h"

extern const struct command cmd_models, cmd_tokenizer, cmd_prepare, cmd_pretrain, cmd_finetune, cmd_generate, cmd_score,
    cmd_eval, cmd_inspect, cmd_plot, cmd_plan, cmd_scale, cmd_judge;

/* Print "mdm NAME: message" on stderr, of several ranks the first one alone; returns 2. */
int cmd_fail(const char *name, const struct err *err);
/* What was printed reaches whoever reads it; -1 when it does not (a full disk): a long job ends then. */
int cmd_flush(struct err *err);
/* The status of a command that a signal has stopped, which another rank may have caught. */
int cmd_stopped(void);
/* opt_parse() of the command's options and of those that every command has (--quiet), with the ending that every command
 * wants: false when the command is over, with its exit status (0 after --help, 2 after an error, which has been
 * printed). `given` may be NULL. */
bool cmd_options(const struct command *cmd, const struct opt *opts, int argc, char **argv, int *noperands,
                 struct opt_given *given, int *status);

/* A command made of verbs ("scale fit"): runs the one that argv[1] names. `verbs` ends with a NULL name; each verb's own
 * name is the command's, a space, the word. */
int cmd_verb(const struct command *cmd, const struct command *verbs, int argc, char **argv);

#endif
