/* lm_options: what of a command line does not suit the opened model. */
#include "cmd/lm_options.h"

#include "base/err.h"

static const char *const other_family[] = {"autoregressive models", "models of family mdm"};
static const char *const own_family[] = {"of family mdm", "autoregressive"};

int lm_options_unused(const struct opt_given *given, const char *const *names, const struct config *c,
                      struct err *err) {
    for (; *names; names++)
        if (opt_given(given, *names))
            return err_set(err, "--%s is for %s; this one is %s", *names, other_family[c->family],
                           own_family[c->family]);
    return 0;
}
