/* fuzz_config: any bytes as a config.json. What is accepted fulfils the rules, has countable parameters, and comes back
 * from its own JSON unchanged. */
#include "fuzz_file.h"

#include "base/err.h"
#include "model/params.h"

static void use(const struct config *c) {
    struct err err = {{0}};
    struct config back;
    struct params p;
    if (config_check(c, "accepted", &err) < 0 || params_all(c) <= params_body(c)) abort();
    json_t *o = config_to_json(c), *again;
    if (!o || config_from_json(&back, o, "again", &err) < 0) abort();
    again = config_to_json(&back);
    if (!json_equal(o, again)) abort();
    json_decref(o);
    json_decref(again);
    if (params_init(&p, c, &err) < 0) abort();
    if (p.total < params_all(c) || params_index(&p, PARAM_HEAD, -1) != p.count - 1) abort();
    params_free(&p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct err err = {{0}};
    struct config c;
    if (config_load(&c, fuzz_file(data, size), FAMILY_MDM, 1, &err) == 0)
        use(&c);
    else if (!err.msg[0])
        abort();
    return 0;
}
