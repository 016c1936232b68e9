"""The report: one HTML file that needs no other, with a section for each claim: what was published, what came out here, what that shows."""
import base64
import html
import math
import subprocess

STYLE = """body{font:16px/1.5 Georgia,serif;max-width:56em;margin:2em auto;padding:0 1em;color:#222}h1,h2{line-height:1.2}h2{margin-top:2.2em}
table{border-collapse:collapse;margin:1em 0;font:14px/1.4 sans-serif}td,th{padding:.25em .8em;border-bottom:1px solid #ccc;text-align:right}
td:first-child,th:first-child{text-align:left}img{max-width:100%}code,pre{font-size:13px;white-space:pre-wrap;overflow-wrap:anywhere}
.claim{border-left:4px solid #888;padding-left:1em;color:#444}.shown{font-weight:bold}sup a{text-decoration:none}"""
FAMILY = {"mdm": "MDM", "arm": "ARM"}


def esc(text):
    return html.escape(str(text))


def link(commands):
    """References to the commands that made what stands before them."""
    return "<sup>" + " ".join(f'<a href="#c{n}">[{n}]</a>' for n in commands) + "</sup>" if commands else ""


def timed(content):
    """What another run will not repeat."""
    return f'<span class="time">{content}</span>'


def table(head, rows, commands):
    """Without commands: each row has its own."""
    def cells(tag, row):
        return "<tr>" + "".join(f"<{tag}>{c if str(c).startswith('<') else esc(c)}</{tag}>" for c in row) + "</tr>"
    return f"<table>{cells('th', head)}{''.join(cells('td', r) for r in rows)}</table>" + (f"<p>From commands {link(commands)}.</p>" if commands else "")


def picture(path, alt):
    data = base64.b64encode(open(path, "rb").read()).decode()
    return f'<p><img alt="{esc(alt)}" src="data:image/svg+xml;base64,{data}"></p>'


def section(title, claim, shown, commands, *parts):
    return f'<h2>{esc(title)}</h2><p class="claim">{claim}</p>{"".join(parts)}<p class="shown">{shown.rstrip()}{link(commands)}</p>'


def value(results, task, metric, percent=True):
    """A metric with its standard error."""
    r = results.get(task, {})
    v, e = r.get(f"{metric},none"), r.get(f"{metric}_stderr,none")
    if v is None:
        return "–"
    scale, digits = (100, 1) if percent else (1, 2)
    return f"{scale * v:.{digits}f}" + (f" ± {scale * e:.{digits}f}" if isinstance(e, float) else "")


def number(results, task, metric):
    return results.get(task, {}).get(f"{metric},none")


def paired(a, b):
    """Mean of b − a over the items that both have, and its standard error; both saw the same items, so the error is that of the differences."""
    d = [b[i] - a[i] for i in a if i in b]
    mean = sum(d) / len(d) if d else 0
    return mean, math.sqrt(sum((x - mean) ** 2 for x in d) / (len(d) - 1) / len(d)) if len(d) > 1 else math.inf


# ---- whether a claim shows

def verdict_guidance(better, worse, n):
    if better == n:
        return "the claim shows"
    if not better:
        return "that is no evidence for the claim"
    return "there the claim shows, elsewhere nothing does" if not worse else "the claim does not show"


def verdict_reversal(taught, mdm, arm):
    """Shares that are right, a pair of the two directions each: of the MDM as taught, of both families the other way round."""
    shows = sum(m > .1 and m > 4 * a for m, a in zip(mdm, arm))
    if shows:
        return "the claim shows" if shows == 2 else "the claim shows in one direction of the two"
    learned = sum(t >= .2 for t in taught)
    return "at this scale the claim does not show" + ("; the MDM has not even learned the facts as taught", ", and of the facts as taught the MDM has learned one direction",
                                                      ", though the MDM has learned the facts as taught")[learned]


def verdict_periods(shrinks, ahead, n):
    if ahead == n:
        return "as published"
    if shrinks == n:
        return "the direction is the published one, but the MDM " + (f"leads in {ahead} only" if ahead else "does not lead")
    return "the claim does not show"


def verdict_arithmetic(mdm, arm):
    if mdm > .3:
        return "These problems are far easier than GSM8K’s."
    return "An ARM of this size learns to calculate from these problems, the MDM does not." if arm > .3 else "At this scale neither learns to calculate."


# ---- the sections

def times(factor):
    """Two digits: 0.83, 1.6, 16, 160."""
    return f"{float(f'{factor:.2g}'):g}"


def scaling(found):
    ours, published = found["ours"], found["published"]
    run, fitted, again = found["commands"]
    rows = []
    for name, fit in (("published optima, fitted again", published), ("here", ours)):
        for family in ("mdm", "arm"):
            f = fit["families"].get(family, {})
            interval = f.get("loss_exponent_interval")
            rows.append([f"{FAMILY[family]}, {name}", len(f.get("budgets", [])),
                         f"{f['loss_exponent']:.4f}" if f.get("loss_exponent") is not None else "–",
                         f"{interval[0]:.4f} … {interval[1]:.4f}" if interval else "–",
                         f"{f['n_exponent']:.3f}" if f.get("n_exponent") is not None else "–"])
    best = found["best"]
    budgets = sorted({b for _, b in best})
    ratios = ours.get("compute_ratio", [])
    if ratios:
        better, other = FAMILY[ratios[0]["better"]], FAMILY[ratios[0]["other"]]
        low, high = (min(r.get("ratio_interval", (0, math.inf))[0] for r in ratios), max(r.get("ratio_interval", (0, math.inf))[1] for r in ratios))
        shown = (f"By the lines, {other}s need {times(min(r['ratio'] for r in ratios))} to {times(max(r['ratio'] for r in ratios))} times the compute of {better}s for the same loss "
                 f"(95 % intervals from {times(low)} {f'to {times(high)}' if math.isfinite(high) else 'up, without an end that these points show'}): " + ("the direction is the published one. " if better == "ARM" and low > 1 else "that shows neither family ahead. " if low <= 1 else "not as published. ")
                 + "Budgets are many decades smaller than the published ones, so neither exponents nor factor can be compared in size.")
    else:
        shown = "The fit gives no factor of compute between the families at this scale; above stands what it says of its points. "
        ahead = [b for b in budgets if ("mdm", b) in best and ("arm", budgets[0]) in best and best["mdm", b][0] - best["arm", budgets[0]][0] > 3 * math.hypot(best["mdm", b][1], best["arm", budgets[0]][1])]
        if ahead:
            shown += f"The best ARM of {budgets[0]:.0e} FLOPs has a lower loss than the best MDM of {ahead[-1]:.0e} (by more than three standard errors): the ARM is ahead, as published."
    again_ratios = [r["ratio"] for r in published.get("compute_ratio", [])]
    if again_ratios:
        shown = f"Of the published optima the same fit makes a factor of {min(again_ratios):.1f} to {max(again_ratios):.1f}{link([again])}. " + shown
    optima = {(f, b["flops"]): b for f in ("mdm", "arm") for b in ours["families"].get(f, {}).get("budgets", [])}
    measured = [[FAMILY[f], f"{b:.0e}", f"{best[f, b][2]:.3g}", f"{best[f, b][0]:.3f} ± {best[f, b][1]:.3f}"]
                + [f"{optima[f, b][k]:{d}}" if (f, b) in optima else "–" for k, d in (("n_opt", ".3g"), ("loss_opt", ".3f"))] for f in ("mdm", "arm") for b in budgets if (f, b) in best]
    problems = "".join(f"<li>{esc(x)}</li>" for x in ours.get("problems", []))
    return section("Scaling law", "Both families follow a power law of validation loss in compute, with exponents −0.0624 (MDM) and −0.0641 (ARM); an MDM needs about 16 times the compute.", shown, [run, fitted],
                   table(["", "budgets", "exponent of the loss", "95 % interval", "exponent of N*"], rows, [fitted, again]),
                   table(["family", "FLOPs", "best size tried", "its loss", "N*", "L*"], measured, [run, fitted]),
                   picture("law/fit/isoflop.svg", "loss against size, a curve for each budget"),
                   picture("law/fit/frontier.svg", "best loss and size against compute") if any(f["loss_exponent"] is not None for f in ours["families"].values()) else "",
                   f"<p>What the fit says of these points:</p><ul>{problems}</ul>" if problems else "")


def guidance(found):
    names = list(found["results"])
    tasks = sorted(t for t in found["results"][names[0]] if number(found["results"][names[0]], t, "acc") is not None)
    rows, better, worse = [], 0, 0
    for task in tasks:
        metric = "acc_norm" if task == "hellaswag" else "acc"
        gain, error = paired(*(found["items"][n][task] for n in names[:2]))
        rows.append([task] + [value(found["results"][n], task, metric) for n in names] + [f"{100 * gain:+.1f} ± {100 * error:.1f}"])
        better += gain > 2 * error
        worse += gain < -2 * error
    shown = (f"With guidance more is right in {better} of {len(tasks)} tasks, less in {worse}, by more than two standard errors of the paired difference"
             + f": {verdict_guidance(better, worse, len(tasks))}."
             + "".join(f" {n} items were left out for {name}: too long for it, or not readable." for name, n in found["left out"].items() if n))
    return section("Unsupervised guidance", "Guidance that no training prepared, logits u + (w + 1)(c − u) with the prompt masked in u, improves a 1.1 B MDM on all eight zero-shot tasks.", shown, found["commands"],
                   table(["right, %"] + names + ["gain, same items (acc)"], rows, found["commands"]))


PUBLISHED_FACTS = {"reverse_dtn_same": ("description → name, as taught", 97, "–"), "reverse_dtn_reverse": ("description → name, taught the other way round", 92, 0),
                   "reverse_ntd_same": ("name → description, as taught", 49, "–"), "reverse_ntd_reverse": ("name → description, taught the other way round", 37, 0)}


def reversal(found):
    rows, turned, taught = [], {"mdm": [], "arm": []}, []
    for task, (what, mdm, arm) in PUBLISHED_FACTS.items():
        rows.append([what, mdm, arm] + [value(found["results"][f], task, "acc") for f in ("mdm", "arm")])
        if task.endswith("_same"):
            taught.append(number(found["results"]["mdm"], task, "acc") or 0)
        else:
            for f in turned:
                turned[f].append(number(found["results"][f], task, "acc") or 0)
    ways = [PUBLISHED_FACTS[t][0].split(",")[0] for t in PUBLISHED_FACTS if not t.endswith("_same")]
    right = {f: " and ".join(f"{100 * x:.1f} % ({way})" for x, way in zip(turned[f], ways)) for f in turned}
    shown = f"Asked the other way round, the MDM is right in {right['mdm']}, the ARM in {right['arm']}: {verdict_reversal(taught, turned['mdm'], turned['arm'])}."
    return section("Reversed facts", "An MDM that was taught “A is B” can tell “B is A”; ARMs of any size cannot.", shown, found["commands"],
                   table(["right, %", "published MDM", "published ARMs", "MDM here", "ARM here"], rows, found["commands"]))


PUBLISHED_PERIODS = [("published: held out, same source", 18.02, 17.34), ("published: February and March 2024", 24.06, 27.01), ("published: April 2024", 24.01, 26.93)]


def periods(found):
    tasks = sorted((t for t in found["results"]["mdm"] if t.startswith("perplexity_")), key=lambda t: (not t.endswith("same"), t))
    mdm, arm = (found["chunks"][f] for f in ("mdm", "arm"))
    ratio = {t: paired(arm[t[11:]], mdm[t[11:]]) for t in tasks}
    rows = [[t[11:].replace("same", "held out, same sources")] + [value(found["results"][f], t, "perplexity", False) for f in ("mdm", "arm")]
            + [f"{ratio[t][0]:+.3f} ± {ratio[t][1]:.3f}"] for t in tasks]
    others = [t for t in tasks if not t.endswith("same")]
    home = ratio["perplexity_same"]
    falls = [t for t in others if home[0] - ratio[t][0] > 2 * math.hypot(home[1], ratio[t][1])]
    rises = [t for t in others if ratio[t][0] - home[0] > 2 * math.hypot(home[1], ratio[t][1])]
    ahead = [t for t in falls if ratio[t][0] + 2 * ratio[t][1] < 0]
    if not others:
        shown = "There was no text of another period (PAPER_LATER=DIR)."
    else:
        shown = (f"The MDM's distance behind the ARM shrinks, by more than two standard errors, in {len(falls)} of {len(others)} texts of another period, and grows in {len(rises)}"
                 + f": {verdict_periods(len(falls), len(ahead), len(others))}. "
                 + "Those texts are of other kinds too, not only of another time.")
    return section("Text of another time", "A 1.1 B MDM breaks the ARM's lead on text newer than its training text: perplexity 18.02 against 17.34 at home, 24.06 against 27.01 on later text.", shown, found["commands"],
                   table(["text", "perplexity, MDM", "perplexity, ARM", "ln of their ratio, same chunks"], rows, found["commands"]),
                   table(["text", "perplexity, MDM", "perplexity, ARM", "ln of their ratio"], [[t, m, a, f"{math.log(m / a):+.3f}"] for t, m, a in PUBLISHED_PERIODS], []))


PUBLISHED_SPEED = [("ARM with its cache", 555, "1.57"), ("MDM, 64 steps", 204, "1.40"), ("MDM, 128 steps", 396, "1.56"), ("MDM, 256 steps", 780, "1.60")]


def speed(found):
    arm = found["rows"][0]
    rows = [[r["name"], timed(f"{r['tokens'] / r['seconds']:.0f}"), f"{r['nll']:.3f}", f"{100 * r['distinct']:.0f}", link(r["commands"])] for r in found["rows"]]
    with open("samples/speed.data", "w") as f:
        f.write("".join(f"{r['tokens'] / r['seconds']} {r['nll']} \"{r['name'].replace(' steps', '')}\"\n" for r in found["rows"]))
    subprocess.run(["gnuplot"], check=True, text=True, input="""set terminal svg size 700,420 font 'sans,12' background '#ffffff'; set output 'samples/speed.svg'
set xlabel 'tokens/s'; set ylabel 'nats per token, judged by the ARM'; set logscale x; set grid; set offsets graph 0.1, graph 0.15, graph 0.1, graph 0.1; unset key
plot 'samples/speed.data' using 1:2:3 with labels point pt 7 offset 0,0.8
""")
    faster = [r for r in found["rows"][1:] if r["tokens"] / r["seconds"] > arm["tokens"] / arm["seconds"]]
    as_good = [r for r in faster if r["nll"] <= arm["nll"]]
    named = {r["name"]: r["name"] + link(r["commands"]) for r in found["rows"]}
    shown = (timed(f"Faster than the ARM{link(arm['commands'])} here: {', '.join(named[r['name']] for r in faster) or 'none'}; of these as good by the judge: {', '.join(r['name'] for r in as_good) or 'none'}.")
             + " Times are those of whole commands, loading included. The judge is the ARM itself, which favours its own text; few different pairs of tokens would tell of text that repeats itself.")
    return section("Speed against quality", "On MT-Bench a 1.1 B MDM is 1.4 times faster than the ARM with its cache at equal quality, or better at more time.", shown, [],
                   table(["", "tokens/s", "nats per token by the ARM", "different pairs of tokens, %", "from commands"], rows, []),
                   table(["published, 1.1 B", "seconds for MT-Bench’s answers", "score"], PUBLISHED_SPEED, []), timed(picture("samples/speed.svg", "nats per token against tokens per second")))


def arithmetic(found, p):
    question, work, answer = found["example"]
    rows = [[FAMILY[f], "58.5" if f == "mdm" else "–", value(found["results"][f], "gsm8k", "acc")] for f in ("mdm", "arm")]
    mdm, arm = (number(found["results"][f], "gsm8k", "acc") or 0 for f in ("mdm", "arm"))
    shown = f"The MDM answers {100 * mdm:.1f} % of new problems, the ARM {100 * arm:.1f} %. {verdict_arithmetic(mdm, arm)}"
    return section("Word problems", "A 1.1 B MDM, fine-tuned on GSM8K’s calculations, answers 58.5 % of its test.", shown, found["commands"],
                   f"<p>{p.problems} made-up problems like “{esc(question)}” → <code>{esc(work)} #### {answer}</code>.</p>",
                   table(["right, %", "published, GSM8K", "here, made-up problems"], rows, found["commands"]))


def page(p, found):
    text, pre = found["text"], found["pretraining"]
    tokens = p.steps * p.batch * p.length
    where = {k: v or "Debian packages" for k, v in p.sources.items() if k in ("text", "later")}
    start = (f"<p>A model of each family, {p.layers} layers of width {p.width}, learns {tokens / 1e6:.1f} M tokens (vocabulary {p.vocab}) of {text['characters'] / 1e6:.1f} MB of text "
             f"({esc(where['text'])}); {text['held'] / 1e6:.1f} MB are held out{link(text['commands'])}. Validation loss: MDM ≤ {pre['loss']['mdm']:.3f}, ARM {pre['loss']['arm']:.3f} nats per token{link(pre['commands'])}.</p>"
             + picture("loss.svg", "training and validation loss"))
    builds = p.builds()
    mixed = f" They were run by {builds} different builds of the program: it was changed between stops." if builds > 1 else ""
    commands = "".join(f'<li id="c{i}"><code>{esc(words)}</code></li>' for i, words in enumerate(p.used, 1))
    return f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>Masked diffusion at laptop scale</title><style>{STYLE}</style>
<h1>Masked diffusion at laptop scale</h1>
<p>The claims of “Scaling up Masked Diffusion Models on Text” (arXiv 2410.18514), run again small (<code>PAPER={p.size}</code>) by <code>make paper</code>. Published figures are of models of up to
1.1 B parameters. Models here learn by the cheaper recipe (<code>--recipe fast</code>: Muon, and for the MDM noise levels near the middle more often; the ARM by Muon too), since within so little
compute the published one hardly begins to teach an MDM; what is measured is the same. ± is a standard error over the items of a test, not over trainings: each model was trained once, with one seed. On one kind of processor all numbers but times are functions of the settings.</p>
{start}{scaling(found['scaling'])}{guidance(found['guidance'])}{reversal(found['reversal'])}{periods(found['periods'])}{speed(found['speed'])}{arithmetic(found['arithmetic'], p)}
<h2>Commands</h2><p>In the folder of this report, in this order.{mixed}</p><ol>{commands}</ol></html>
"""
