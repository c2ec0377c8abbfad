#!/usr/bin/env python3
"""coverage.py SOURCE BUILD TARGET...: which lines of kernels/cuda and comm/nccl the tests of this folder execute.

Builds the targets, which have gcov's counters, runs kernels, products, attention, small whole programs and NCCL's
ranks, and prints the share of lines by file, every line that was not executed (`!` where it is no error path) and every
instance of a kernel that was not.  Exit code 1 when fewer than 95 % of the lines of kernels/cuda that are no error path
were executed, or when a kernel's instance was not.  (comm/nccl is counted only: ranks that its tests end by signals
leave no counters.)"""
import collections
import gzip
import json
import os
import re
import subprocess
import sys
import tempfile

source, build = (os.path.realpath(p) for p in sys.argv[1:3])
programs = sys.argv[3:]
LEAST = {"kernels/cuda": 95.0}
here = os.path.join(build, "tests/cuda_host")

# What only runs when something failed: statements that throw, catch or hand on what a call before returned, and the
# cases of an error.
ERROR_PATH = re.compile(r"\bthrow\b|\bcatch\b|\breturn e;|\bfail\(|\babort\(|case cudaError|default:|_ALLOC_FAILED")


def is_error(text, number):
    """Whether the statement that a line belongs to is of an error path."""
    first = number
    while first > 1 and not re.search(r"[;{}:]\s*(//.*)?$", text[first - 1]):
        first -= 1
    return bool(ERROR_PATH.search(" ".join(text[first:number + 1])))


def run(what, *command, **environment):
    print(f"running {what} ...", flush=True)
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=source,
                          env={**os.environ, "OMP_NUM_THREADS": "1", **environment})
    if done.returncode != 0:
        sys.exit(f"{done.stdout}\ncoverage: {what} failed with {done.returncode}")


def counters(suffix):
    for program in programs:
        for folder, _, names in os.walk(os.path.join(here, "CMakeFiles", program + ".dir")):
            yield from (os.path.join(folder, n) for n in names if n.endswith(suffix))


tests = os.path.join(source, "tests/cuda_host")
cpu = os.path.join(build, "banyan")
suites = {
    "cuda_host_coverage": [["PROGRAM", "--gtest_brief=1"]],
    "banyan-cuda-coverage": [["sh", f"{tests}/whole_program.sh", "PROGRAM", cpu, "gpt2", "fp32", "1,1,1", "2,1,1"],
                             ["sh", f"{tests}/whole_program.sh", "PROGRAM", cpu, "llama", "bf16", "1,1,1", "2,1,2"]],
    "nccl_ranks_coverage": [["sh", f"{source}/tests/mpirun.sh", n, "PROGRAM"] for n in "124"] +
                           [["sh", f"{source}/tests/comm/peer_loss.sh", "PROGRAM", "mismatch", "4"]],
}
run("the build", "nice", "cmake", "--build", build, "--target", "banyan", *programs)
for old in counters(".gcda"):
    os.remove(old)
for program in programs:
    for command in suites[program]:
        command = [os.path.join(here, program) if word == "PROGRAM" else word for word in command]
        run(" ".join(map(os.path.basename, command)), *command, CUDAEMU_SEED="0", CUDAEMU_DEVICES="4",
            **({"CUDAEMU_NCCL": "hangs"} if "mismatch" in command else {}))

lines = collections.defaultdict(collections.Counter)  # file: line: how often
kernels = collections.Counter()
with tempfile.TemporaryDirectory() as scratch:
    for notes in counters(".gcno"):
        subprocess.run(["gcov", "--json-format", "--demangled-names", notes], cwd=scratch, check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for name in os.listdir(scratch):
            with gzip.open(os.path.join(scratch, name)) as f:
                report = json.load(f)
            os.remove(os.path.join(scratch, name))
            for entry in report["files"]:
                path = os.path.relpath(os.path.join(report["current_working_directory"], entry["file"]), source)
                if not path.startswith(("kernels/cuda/", "comm/nccl/")):
                    continue
                for line in entry["lines"]:
                    lines[path][line["line_number"]] += line["count"]
                for function in entry["functions"]:
                    if re.search(r"_kernel(<.*>)?\(", function["demangled_name"]):
                        kernels[re.sub(r"\(anonymous namespace\)::|banyan::kernels::cuda::|\(.*", "",
                                       function["demangled_name"])] += function["execution_count"]

missed, count = [], collections.defaultdict(collections.Counter)
print(f"{'lines':>7} {'executed':>9}  file")
for path in sorted(lines):
    with open(os.path.join(source, path)) as f:
        text = [""] + f.read().splitlines()
    folder = count[os.path.dirname(path)]
    done = sum(1 for times in lines[path].values() if times > 0)
    print(f"{len(lines[path]):7} {100 * done / len(lines[path]):8.1f}%  {path}")
    folder["all"] += len(lines[path])
    for number in sorted(n for n, times in lines[path].items() if times == 0):
        error = is_error(text, number)
        folder["errors" if error else "missed"] += 1
        missed.append(f"{' ' if error else '!'} {path}:{number}: {text[number].strip()}")
print("\nNot executed (! is no error path):", *missed, sep="\n")
idle = sorted(k for k, times in kernels.items() if times == 0)
print(f"\n{len(kernels)} instances of kernels, not executed: {len(idle)}", *idle, sep="\n")
bad = bool(idle) or not kernels
for folder, c in count.items():
    share = 100 * (1 - c["missed"] / (c["all"] - c["errors"]))
    print(f"{folder}: {c['all']} lines, {c['errors']} of error paths not executed, {share:.1f} % of the others executed"
          f" (at least {LEAST.get(folder, 0):g} %)")
    bad |= share < LEAST.get(folder, 0)
sys.exit(1 if bad else 0)
