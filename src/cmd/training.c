/* training: a run's tokenizer, its record, its beginning and its end in words. */
#include "cmd/training.h"

#include <stdio.h>
#include <string.h>

#include "base/cpu.h"
#include "base/num.h"
#include "base/progress.h"
#include "base/stop.h"
#include "cmd/cmd.h"
#include "comm/comm.h"
#include "compute/gemm.h"
#include "compute/linear.h"
#include "model/params.h"
#include "text/tokenizer.h"
#include "train/checkpoint.h"

bool training_begun(const char *folder) {
    char newest[FILE_PATH_MAX];
    struct err none = {{0}};
    return checkpoint_newest(folder, newest, &none) == 1;
}

int training_tokenizer(struct tokenizer **t, const struct run *r, const char *named, bool given, const char *beside,
                       struct err *err) {
    struct err none = {{0}};
    *t = r->resumed ? tokenizer_load(r->folder, &none) : NULL;
    if (*t) {
        struct tokenizer *other = given ? tokenizer_load(named, err) : NULL;
        if (given && !other) return -1;
        const bool same = !given || !strcmp(tokenizer_digest(other), tokenizer_digest(*t));
        tokenizer_free(other);
        if (same) return 0;
        return err_set(err, "--tokenizer %s: not the tokenizer that the run in %s has; leave it out", named, r->folder);
    }
    return tokenizer_load_for(t, named, beside, err);
}

int training_check_steps(const struct run *r, int64_t steps, struct err *err) {
    if (steps >= r->steps) return 0;
    return err_set(err, "--steps %lld: the run in %s has %lld; it can be made longer, not shorter", (long long)steps,
                   r->folder, (long long)r->steps);
}

int training_open(struct trainer **t, int status, struct trainer_settings *s, const struct source *train,
                  const struct source *valid, struct err *err) {
    /* Processes that measure at once would measure each other. */
    if (status == 0 && comm_rank() == 0) s->machine_rate = linear_rate(s->precision, err);
    if (comm_settle(s->machine_rate < 0 ? -1 : status, err) < 0) return -1;
    comm_sum_f64(&s->machine_rate, 1);
    s->machine_rate *= comm_size();
    return trainer_open(t, s, train, valid, err);
}

void training_tell(const struct trainer_settings *s, const char *what) {
    char ranks[64] = "";
    if (comm_size() > 1)
        snprintf(ranks, sizeof ranks, " in each of %d processes, %d of them on this host", comm_size(),
                 comm_local_size());
    progress_say(NULL, "%s, %.1f M parameters (N = %.1f M), %lld step%s of %lld %s, %s at %g, %s, %d thread%s%s",
                 family_names[s->config.family], (double)params_all(&s->config) / 1e6,
                 (double)params_body(&s->config) / 1e6, (long long)s->schedule.steps, plural(s->schedule.steps),
                 (long long)s->batch, what, s->muon ? "muon" : "adamw", s->schedule.lr,
                 s->precision == DTYPE_F32 ? "f32"
                 : gemm_native_bf16()      ? "bf16"
                                           : "bf16 (multiplied as f32: this processor has no bf16 arithmetic)",
                 gemm_threads(), plural(gemm_threads()), ranks);
}

int training_write(struct run *r, const struct trainer_settings *s, const struct tokenizer *tokenizer,
                   const struct trainer *trainer, struct err *err) {
    json_t *others = json_pack("{s:I, s:f, s:I, s:I, s:s}", "warmup", (json_int_t)s->schedule.warmup, "min_lr",
                               s->schedule.min_lr, "parameters", (json_int_t)params_all(&s->config), "parameters_body",
                               (json_int_t)params_body(&s->config), "processor", cpu_model());
    struct run_facts facts = {.config = &s->config,
                              .tokenizer = tokenizer,
                              .steps = s->schedule.steps,
                              .done = trainer_step(trainer),
                              .others = others};
    return run_write(r, &facts, err);
}

int training_end(const char *command, int status, const struct trainer_result *result, const struct err *err) {
    if (status < 0) {
        const int failed = cmd_fail(command, err);
        return result->end == TRAINER_UNBEGUN && stop_asked() ? cmd_stopped() : failed;
    }
    if (comm_rank() == 0 && (!progress_quiet || result->end == TRAINER_DIVERGED))
        fprintf(stderr, "%s\n", result->message);
    if (result->end == TRAINER_STOPPED) return cmd_stopped();
    return result->end == TRAINER_DIVERGED ? 1 : 0;
}
