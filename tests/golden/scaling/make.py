"""Writes points.csv (made up: a law of two families with noise) and expected.txt: what numpy's least squares and scipy's
minimisers find in it.

    pip install numpy scipy && python make.py
"""
import itertools

import numpy as np
from scipy.optimize import minimize

LAWS = {"mdm": (2.2, 420.0, 900.0, 0.35, 0.33), "arm": (1.9, 300.0, 800.0, 0.33, 0.34)}
BUDGETS = [1e17, 3e17, 1e18, 3e18, 1e19]


def make_points():
    rng = np.random.default_rng(7)
    points = []
    for family, (e, a, b, alpha, beta) in LAWS.items():
        for c in BUDGETS:
            best = (alpha * a / (beta * b)) ** (1 / (alpha + beta)) * (c / 6) ** (beta / (alpha + beta))
            for factor in (0.2, 0.4, 0.7, 1.0, 1.5, 2.5, 5.0):
                n = round(best * factor)
                loss = (e + a / n**alpha + b / (c / 6 / n) ** beta) * np.exp(rng.normal(0, 0.002))
                points.append((family, c, n, round(loss, 4)))
    return points


def parametric(n, c, loss):
    d = c - np.log(6) - n

    def objective(u):
        r = np.abs(np.logaddexp(np.logaddexp(u[0] - u[3] * n, u[1] - u[4] * d), u[2]) - loss)
        return np.where(r <= 1e-3, r * r / 2, 1e-3 * (r - 5e-4)).sum() * 1e3

    starts = itertools.product([2, 6, 10], [2, 6, 10], [0, 1], [0.2, 0.5], [0.2, 0.5])
    best = min((minimize(objective, s, method="L-BFGS-B") for s in starts), key=lambda o: o.fun)
    for _ in range(4):
        best = minimize(objective, best.x, method="Nelder-Mead",
                        options=dict(maxiter=50000, maxfev=50000, xatol=1e-11, fatol=1e-15))
    u = best.x
    return np.exp(u[2]), np.exp(u[0]), np.exp(u[1]), u[3], u[4]


points = make_points()
with open("points.csv", "w") as f:
    f.write("family,flops,params,loss\n")
    f.writelines(f"{family},{c:g},{n},{loss}\n" for family, c, n, loss in points)
with open("expected.txt", "w") as f:
    for family in LAWS:
        optima = []
        for c in BUDGETS:
            x, y = zip(*[(np.log(n), loss) for g, k, n, loss in points if g == family and k == c])
            k = np.polyfit(x, y, 2)
            at = -k[1] / (2 * k[0])
            optima.append((np.log(c), at, np.polyval(k, at)))
            print("budget", family, c, repr(float(np.exp(at))), repr(float(optima[-1][2])), file=f)
        c, n, loss = np.array(optima).T
        print("lines", family, *map(lambda v: repr(float(v)), [*np.polyfit(c, np.log(loss), 1), *np.polyfit(c, n, 1)]),
              file=f)
        n, c, loss = np.log(np.array([p[1:] for p in points if p[0] == family], dtype=float)).T[[1, 0, 2]]
        print("parametric", family, *map(lambda v: repr(float(v)), parametric(n, c, loss)), file=f)
