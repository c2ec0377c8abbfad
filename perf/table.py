#!/usr/bin/env python3
"""Joins what perf/run.sh measured: table.py OUT makes OUT/perf.json and OUT/perf.md of OUT/ops.json and OUT/steps.json."""
import json
import os
import sys


def step_rows(steps):
    yield "| case | program | median ms | quartiles apart | times Banyan's | MiB |"
    yield "|---|---|---|---|---|---|"
    for case in steps["cases"]:
        for p in case["programs"]:
            yield (f"| {case['case']} | {p['program']} | {p['median_ms']:.0f} | {p['spread_ms']:.0f} | "
                   f"{p['times_banyan']:.2f} | {p['memory_bytes'] / 2**20:.0f} |")


def op_rows(ops):
    yield (f"{ops['backend']}; peak {ops['peak_flops'] / 1e9:.0f} GFLOP/s, {ops['peak_bandwidth'] / 1e9:.0f} GB/s")
    yield ""
    yield "| operation | best us | median us | best, of peak |"
    yield "|---|---|---|---|"
    for c in ops["cases"]:
        yield (f"| {c['op']} {c['shape']} | {c['seconds_best'] * 1e6:.0f} | {c['seconds_median'] * 1e6:.0f} | "
               f"{100 * c['fraction_of_peak_best']:.0f} % |")


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folder, report, lines = sys.argv[1], {}, []
    for name, rows in (("steps", step_rows), ("ops", op_rows)):
        path = os.path.join(folder, name + ".json")
        if not os.path.exists(path):
            continue
        with open(path, encoding="utf-8") as file:
            report[name] = json.load(file)
        lines += [*rows(report[name]), ""]
    with open(os.path.join(folder, "perf.json"), "w", encoding="utf-8") as out:
        json.dump(report, out, indent=1)
    with open(os.path.join(folder, "perf.md"), "w", encoding="utf-8") as out:
        out.write("\n".join(lines))


if __name__ == "__main__":
    main()
