/* run: a training run as a value: its settings, and its folder, locked.
 *
 * The settings are one table. The command line, --config FILE and RUN/run.json fill in the same targets by the same
 * rules, and run.json is written from it:
 *
 *     struct setting table[RUN_SETTINGS + 1];       // ends with a row without name
 *     run_options(opts, table);                     // the rows for the command line
 *     run_open(&run, "pretrain", a.out, a.config, table, &given, &err);
 *     …                                             // check all that can be wrong: nothing is written yet
 *     run_write(&run, &facts, &err);                // config.json, the tokenizer, run.json
 *     …                                             // train
 *     run_close(&run);
 *
 * Opening reads the folder's run.json, if there is one: a setting that was not given has the run's value. Paths are
 * kept absolute, so that a run goes on from any folder. */
#ifndef MDM_TRAIN_RUN_H
#define MDM_TRAIN_RUN_H
#include <jansson.h>
#include <stdbool.h>
#include "base/file.h"
#include "base/opt.h"

struct config;
struct tokenizer;

enum setting_rule {
    SETTING_FIXED,  /* what is computed depends on it: a run that goes on has it as it was */
    SETTING_FREE,   /* may change with every start */
    SETTING_BUDGET, /* how long the run is: one of these that is given replaces all that were recorded */
    SETTING_START,  /* of this start alone: not recorded */
};
struct setting {
    struct opt opt;
    enum setting_rule rule;
    bool file; /* the path is of a file or it is a name, which no folder hides */
    bool path; /* the value is a path, or PATH=NUMBER; in a list also several with commas between them */
};
enum { RUN_SETTINGS = 64 };           /* the most that a table may have */
#define RUN_MODEL "model.safetensors" /* in the folder: the weights at the end of the training */

struct run {
    const char *folder, *kind;
    const struct setting *table;
    int lock;
    bool made;        /* run_open() made the folder, and nothing is in it yet */
    bool resumed;     /* run.json was there */
    int64_t steps;    /* of a resumed run: its length as recorded */
    json_t *extended; /* of a resumed run: [{"after", "steps"}], how it grew */
    char **strings;   /* what settings that were read point to */
    int64_t nstrings, capacity;
};

struct run_facts { /* what run.json and the files beside it hold besides the settings */
    const struct config *config;
    const struct tokenizer *tokenizer; /* NULL: none */
    int64_t steps;                     /* length of the run */
    int64_t done;                      /* steps done so far */
    json_t *others;                    /* for readers: an object, taken over; NULL: none */
};

void run_options(struct opt opts[RUN_SETTINGS + 1], const struct setting *table);
/* Opened and written by all ranks of the run together: one of them has the lock and writes, and all fail when one does.
 * config: another run.json to take settings from (a new run only), or NULL. `given` belongs to run_options(). */
int run_open(struct run *r, const char *kind, const char *folder, const char *config, const struct setting *table,
             const struct opt_given *given, struct err *err);
int run_write(struct run *r, struct run_facts *facts, struct err *err);
/* Frees the strings that settings point to, and the lock; a folder that was made for nothing goes. */
void run_close(struct run *r);
/* Bytes of "PATH" or "PATH=NUMBER" that are the path: a file may have an = in its name. */
size_t run_path_bytes(const char *text);

#endif
