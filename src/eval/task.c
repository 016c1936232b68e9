/* task: the table. Files are task_rows.c, what is made of a row task_document.c, of a document task_items.c. */
#include "eval/task.h"

#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "eval/task_document.h"

#define CHAIN(guidance)                                                                                                \
    { .likelihood = LIKELIHOOD_CHAIN, .cfg = guidance, .draws = 1024 }
#define MC(guidance)                                                                                                   \
    { .likelihood = LIKELIHOOD_MC, .cfg = guidance, .draws = 1024 }

const struct task tasks[] = {
    {.name = "hellaswag",
     .kind = TASK_CHOICE,
     .metrics = METRIC_ACC | METRIC_ACC_NORM,
     .version = "1.0",
     .context = "{{query}}",
     .choices = {"{{choices}}"},
     .published = MC(0.7),
     .folders = {"hellaswag"},
     .split = "validation",
     .files = {"hellaswag_val*.jsonl"},
     .document = document_hellaswag,
     .source = "hellaswag_val.jsonl, or Parquet: activity_label, ctx_a, ctx_b, endings, label"},
    {.name = "openbookqa",
     .kind = TASK_CHOICE,
     .metrics = METRIC_ACC | METRIC_ACC_NORM,
     .version = "1.0",
     .context = "{{question_stem}}",
     .choices = {"{{choices.text}}"},
     .published = CHAIN(1.6),
     .folders = {"openbookqa"},
     .split = "test",
     .files = {"main/test*.parquet", "main/test/*.parquet", "Data/Main/test.jsonl"},
     .document = document_openbookqa,
     .source = "test.jsonl, or Parquet: question_stem, choices, answerKey"},
    {.name = "arc_easy",
     .kind = TASK_CHOICE,
     .metrics = METRIC_ACC | METRIC_ACC_NORM,
     .version = "1.0",
     .context = "Question: {{question}}\nAnswer:",
     .choices = {"{{choices.text}}"},
     .published = MC(0.6),
     .folders = {"arc_easy", "ARC-Easy"},
     .split = "test",
     .files = {"ARC-Easy-Test.jsonl", "ARC-Easy/ARC-Easy-Test.jsonl", "ARC-Easy/test*.parquet",
               "ARC-Easy/test/*.parquet"},
     .document = document_arc,
     .source = "ARC-Easy-Test.jsonl, or Parquet: question, choices, answerKey"},
    {.name = "boolq",
     .kind = TASK_CHOICE,
     .metrics = METRIC_ACC,
     .version = "2.0",
     .context = "{{passage}}\nQuestion: {{question}}?\nAnswer:",
     .choices = {"no", "yes"},
     .published = CHAIN(1.6),
     .folders = {"boolq", "BoolQ"},
     .split = "validation",
     .files = {"superglue_val*.jsonl", "boolq/validation*.parquet", "boolq/validation/*.parquet"},
     .document = document_of_two,
     .source = "val.jsonl of SuperGLUE, or Parquet: passage, question, label"},
    {.name = "piqa",
     .kind = TASK_CHOICE,
     .metrics = METRIC_ACC | METRIC_ACC_NORM,
     .version = "1.0",
     .context = "Question: {{goal}}\nAnswer:",
     .choices = {"{{sol1}}", "{{sol2}}"},
     .published = CHAIN(0.6),
     .folders = {"piqa"},
     .split = "validation",
     .document = document_of_two,
     .source = "valid.jsonl and valid-labels.lst, or Parquet: goal, sol1, sol2, label"},
    {.name = "social_iqa",
     .kind = TASK_CHOICE,
     .metrics = METRIC_ACC,
     .version = "0.0",
     .context = "Q: {{context}} {{question}}\nA:",
     .choices = {"{{answerA}}", "{{answerB}}", "{{answerC}}"},
     .published = MC(0.6),
     .folders = {"social_iqa", "socialiqa-train-dev"},
     .split = "validation",
     .document = document_social_iqa,
     .source = "dev.jsonl and dev-labels.lst, or Parquet: context, question, answerA, answerB, answerC, label"},
    {.name = "race",
     .kind = TASK_CHOICE,
     .metrics = METRIC_ACC,
     .version = "2.0",
     .context = "{{query}}",
     .choices = {"{{choices}}"},
     .published = MC(0.7),
     .folders = {"race", "RACE"},
     .split = "test",
     .files = {"test/high/*.txt", "RACE/test/high/*.txt", "high/*.txt", "high/test*.parquet", "high/test/*.parquet",
               "*high*lmeval*.jsonl", "*high*test*.jsonl", "*high*test*.parquet"},
     .gather = "article",
     .document = document_race,
     .source = "test/high/*.txt, or Parquet: article, problems"},
    {.name = "lambada_standard",
     .kind = TASK_LAST_WORD,
     .metrics = METRIC_ACC | METRIC_PERPLEXITY,
     .version = "1.0",
     .context = "{{context}}",
     .published = CHAIN(1.1),
     .folders = {"lambada_standard", "lambada"},
     .split = "test",
     .files = {"lambada_test_plain_text.txt"},
     .document = document_lambada,
     .source = "lambada_test_plain_text.txt, or Parquet: text"},
    {.name = "lambada_openai",
     .kind = TASK_LAST_WORD,
     .metrics = METRIC_ACC | METRIC_PERPLEXITY,
     .version = "1.0",
     .context = "{{context}}",
     .published = CHAIN(1.1),
     .folders = {"lambada_openai", "lambada", "lambada_standard"},
     .split = "test",
     .files = {"lambada_test_openai.jsonl", "lambada_test.jsonl", "lambada_test_en.jsonl", "data/lambada_test_en.jsonl",
               "data/lambada_test.jsonl", "default/test*.parquet", "default/test/*.parquet"},
     .document = document_lambada,
     .source = "lambada_test.jsonl of OpenAI, or Parquet: text"},
    {.name = "cloze",
     .kind = TASK_CHOICE,
     .metrics = METRIC_ACC | METRIC_ACC_NORM,
     .version = "1.0",
     .context = "{{query}}",
     .choices = {"{{choices}}"},
     .published = CHAIN(0.7),
     .folders = {"cloze"},
     .split = "test",
     .own = true,
     .document = document_cloze,
     .source = "your own questions, JSON lines or Parquet: query, choices, label"},
    {.name = "gsm8k",
     .kind = TASK_GENERATE,
     .metrics = METRIC_ACC,
     .version = "1.0",
     .context = "Question: {{question}}",
     .published = {.cfg = 0.1, .sampler = "confidence", .steps = 256, .length = 256, .passes = 2, .temperature = 0.1},
     .folders = {"gsm8k"},
     .split = "test",
     .files = {"test.jsonl", "main/test*.parquet", "main/test/*.parquet"},
     .document = document_gsm8k,
     .right = right_answer,
     .source = "test.jsonl, or Parquet: question, answer"},
    {.name = "reverse_ntd",
     .kind = TASK_GENERATE,
     .metrics = METRIC_ACC | METRIC_BLEU,
     .version = "1.0",
     .context = "{{prompt}}",
     .published = {.cfg = 0.8, .sampler = "confidence", .steps = 32, .length = 52, .passes = 1},
     .folders = {"reverse_ntd", "reverse", "reverse/june_version_7921032488"},
     .split = "test",
     .files = {"same=p2d_prompts_test.jsonl", "reverse=d2p_reverse_prompts_test.jsonl"},
     .document = document_reverse,
     .right = right_inside,
     .source = "p2d_prompts_test.jsonl and d2p_reverse_prompts_test.jsonl: prompt, completion"},
    {.name = "reverse_dtn",
     .kind = TASK_GENERATE,
     .metrics = METRIC_ACC,
     .version = "1.0",
     .context = "{{prompt}}",
     .published = {.cfg = 0.8, .sampler = "confidence", .steps = 32, .length = 52, .passes = 1},
     .folders = {"reverse_dtn", "reverse", "reverse/june_version_7921032488"},
     .split = "test",
     .files = {"same=d2p_prompts_test.jsonl", "reverse=p2d_reverse_prompts_test.jsonl"},
     .document = document_reverse,
     .right = right_inside,
     .source = "d2p_prompts_test.jsonl and p2d_reverse_prompts_test.jsonl: prompt, completion"},
    {.name = "perplexity",
     .kind = TASK_PERPLEXITY,
     .metrics = METRIC_PERPLEXITY | METRIC_DRAWS,
     .version = "1.0",
     .context = "{{text}}",
     .published = {.likelihood = LIKELIHOOD_MC, .draws = 128},
     .folders = {"perplexity"},
     .source = "JSON lines, Parquet or text, a group of results for each file: text"},
    {.name = "mtbench",
     .kind = TASK_CHAT,
     .metrics = METRIC_SECONDS,
     .version = "1.0",
     .context = "{{prompt}}",
     .published =
         {.cfg = 0.6, .sampler = "ancestral", .steps = 128, .length = 1024, .passes = 1, .temperature = 1, .batch = 1},
     .folders = {"mtbench", "mt_bench"},
     .split = "test",
     .files = {"question.jsonl"},
     .document = document_mtbench,
     .source = "question.jsonl of MT-Bench: question_id, category, turns"},
};
const int ntasks = sizeof tasks / sizeof *tasks;

const struct task *task_find(const char *name) {
    for (int i = 0; i < ntasks; i++)
        if (strcmp(tasks[i].name, name) == 0) return &tasks[i];
    return NULL;
}

const char *task_names(void) {
    static char names[256];
    size_t n = 0;
    if (names[0]) return names;
    for (int i = 0; i < ntasks; i++) {
        n += (size_t)snprintf(names + n, sizeof names - n, "%s%s", i ? ", " : "", tasks[i].name);
        BUG_ON(n >= sizeof names);
    }
    return names;
}

int task_list(const struct task **list, int max, const char *names, struct err *err) {
    int count = 0;
    for (const char *p = names;; p++) {
        const int n = (int)strcspn(p, ",");
        const int before = count;
        for (int i = 0; i < ntasks; i++) {
            const bool scored = (tasks[i].kind == TASK_CHOICE || tasks[i].kind == TASK_LAST_WORD) && !tasks[i].own;
            const bool named = strncmp(tasks[i].name, p, (size_t)n) == 0 && !tasks[i].name[n];
            if (!named && !(scored && n == 3 && memcmp(p, "all", 3) == 0)) continue;
            for (int k = 0; k < count; k++)
                if (list[k] == &tasks[i]) return err_set(err, "task %s is named twice", tasks[i].name);
            if (count == max) return err_set(err, "more than %d tasks", max);
            list[count++] = &tasks[i];
        }
        if (count == before) return err_set(err, "'%.*s' is no task; tasks are all, %s", n, p, task_names());
        p += n;
        if (!*p) return count;
    }
}
