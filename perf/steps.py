#!/usr/bin/env python3
"""Training steps of Banyan beside those of PyTorch, by turns: run.sh calls this.

steps.py BENCH OUT.json [--rounds N] [--only TEXT] [--peer PYTHON ...]

Every case is run --rounds times; in each round every program takes a few steps, one program after the other.  A figure
is the median over all steps of all rounds, the spread the distance of their quartiles, and a ratio the median over the
rounds of (PyTorch's median / Banyan's): what disturbs the machine for longer than a round disturbs both.  Memory is the most
that a process had beyond what it began with, PyTorch's with its libraries loaded.
"""
import argparse
import json
import os
import statistics
import subprocess
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
# name: options of bench step, options of peer_torch.py
GPT2 = (["--model.layers=12", "--model.width=768", "--model.heads=12", "--model.vocab=50257"],
        ["--layers", "12", "--width", "768", "--heads", "12", "--vocab", "50257"])
SMALL = (["--model.layers=6", "--model.width=384", "--model.heads=6", "--model.vocab=65"],
         ["--layers", "6", "--width", "384", "--heads", "6", "--vocab", "65"])
LLAMA = (GPT2[0] + ["--model.kv_heads=4", "--model.norm=rms", "--model.position=rotary", "--model.mlp=swiglu",
                    "--model.bias=false"],
         GPT2[1] + ["--kv-heads", "4", "--llama"])
CASES = {
    "GPT-2 124M, 4 x 256": (GPT2, 4, 256),
    "GPT-2 124M, 4 x 64": (GPT2, 4, 64),
    "10.8M, 12 x 256": (SMALL, 12, 256),
    "Llama 114M, 2 x 1024": (LLAMA, 2, 1024),
}
BF16 = (["--run.precision=bf16"], ["--bf16"])  # PyTorch keeps the parameters in fp32, too (autocast)
for _name, ((_ours, _theirs), _batch, _length) in list(CASES.items()):
    CASES[_name + ", bf16"] = ((_ours + BF16[0], _theirs + BF16[1]), _batch, _length)


def banyan_step(bench, case, steps, threads):
    (options, _), batch, length = case
    with tempfile.NamedTemporaryFile(suffix=".json") as out:
        subprocess.run([bench, "step", *options, f"--model.context={length}", f"--train.batch={batch}",
                        f"--parallel.microbatch={batch}", f"--run.threads={threads}", f"--steps={steps}",
                        f"--json={out.name}"], check=True, stdout=subprocess.DEVNULL)
        figures = json.load(out)
    return figures["device"], figures


def peer_step(python, case, steps, threads):
    (_, options), batch, length = case
    out = subprocess.run([python, os.path.join(HERE, "peer_torch.py"), *options, "--batch", str(batch), "--length",
                          str(length), "--threads", str(threads), "--steps", str(steps)], check=True,
                         capture_output=True, text=True, env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}).stdout
    figures = json.loads(out)
    return figures["peer"], figures


def spread(values):
    if len(values) == 1:
        return 0.0
    quartiles = statistics.quantiles(values, n=4)
    return quartiles[2] - quartiles[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bench")
    parser.add_argument("out")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--peer", action="append", default=[], metavar="PYTHON", help="an interpreter that has torch")
    a = parser.parse_args()
    report = {"threads": a.threads, "load": os.getloadavg()[0], "cases": []}
    for name, case in CASES.items():
        if a.only not in name:
            continue
        rounds = []  # of {program: its figures}
        for _ in range(a.rounds):
            programs = [banyan_step(a.bench, case, a.steps, a.threads)]
            programs += [peer_step(python, case, a.steps, a.threads) for python in a.peer]
            rounds.append(dict(programs))
        entry = {"case": name, "programs": []}
        ours = next(iter(rounds[0]))
        for program in rounds[0]:
            steps = [ms for r in rounds for ms in r[program]["steps_ms"]]
            ratios = [statistics.median(r[program]["steps_ms"]) / statistics.median(r[ours]["steps_ms"]) for r in rounds]
            memory = max(r[program]["memory_bytes"] for r in rounds)
            entry["programs"].append({"program": program, "median_ms": statistics.median(steps), "min_ms": min(steps),
                                      "spread_ms": spread(steps), "times_banyan": statistics.median(ratios),
                                      "times_banyan_rounds": ratios, "memory_bytes": memory})
        report["cases"].append(entry)
        for p in entry["programs"]:
            print(f"{name:28}{p['program'][:40]:42}{p['median_ms']:10.1f} ms  +- {p['spread_ms']:7.1f}"
                  f"{p['times_banyan']:7.2f} x Banyan{p['memory_bytes'] / 2**20:8.0f} MiB", flush=True)
    with open(a.out, "w") as out:
        json.dump(report, out, indent=1)


if __name__ == "__main__":
    main()
