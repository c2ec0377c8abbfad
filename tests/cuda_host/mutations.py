#!/usr/bin/env python3
"""mutations.py [--only EXPRESSION] [--jobs N] SOURCE BUILD LIST...: whether the tests notice mistakes put into the sources.

A list has entries of this form:

    == what is wrong                       a name
    kernels/cuda/norm.cu                   the file that is changed
    by plain tsan: *norm*                  builds that are tried until one notices, and what runs
    -text that occurs once in the file     one or more changes; lines may be cut where the text begins and ends
    +what stands there instead

Builds: plain (seeds 0 to 7), asan, tsan (0 and 2) run tests that a filter names; `ranks: N` runs comm/nccl's tests on N
ranks, `program: KIND PRECISION MESH` trains, `messages:` compares comm.device = nccl and staged.  The changed file is
compiled as the build compiles it and linked with all else that was built; nothing in SOURCE or BUILD changes.  Exit
code 1 when a mistake goes unnoticed, when a text is not there exactly once, or when something fails without a mistake.
"""
import argparse
import concurrent.futures
import itertools
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

options = argparse.ArgumentParser()
options.add_argument("--only", default=".", help="entries whose names this expression finds")
options.add_argument("--jobs", type=int, default=1)
options.add_argument("source", type=os.path.realpath)
options.add_argument("build", type=os.path.realpath)
options.add_argument("lists", nargs="+")
given = options.parse_args()
source, build = given.source, given.build
tests = os.path.join(source, "tests/cuda_host")

TARGETS = {"plain": "cuda_host_plain", "asan": "cuda_host_asan", "tsan": "cuda_host_tsan", "ranks": "nccl_ranks_plain",
           "program": "banyan-cuda-on-host", "messages": "banyan-cuda-on-host"}
SEEDS = {"plain": range(8), "asan": (0, 2), "tsan": (0, 2)}
LIMIT = 240  # seconds; a mistake that makes a program wait for ever is noticed as well
SIGNS = [("race", "ThreadSanitizer: data race"), ("address", "AddressSanitizer"), ("undefined", "runtime error:"),
         ("report", r"cuda_host: .*"), ("NaN", r"\bnan\b"), ("result", r"\S+:\d+: Failure"), ("words", r"FAILED.*")]


class Stale(Exception):
    """The list no longer fits the sources."""


def entries(path):
    for block in re.split(r"^== ", open(path).read(), flags=re.M)[1:]:
        name, file, by, *rest = block.rstrip("\n").split("\n")
        builds, what = re.fullmatch(r"by ([a-z ]+): ?(.*)", by).groups()
        changes = []
        for line in rest:
            if line.startswith("-"):
                if not changes or changes[-1][1]:
                    changes.append(([], []))
                changes[-1][0].append(line[1:])
            elif line.startswith("+"):
                changes[-1][1].append(line[1:])
        yield name, file, builds.split(), what, [("\n".join(a), "\n".join(b)) for a, b in changes]


def commands(target):
    """The build's own: {source: compile}, link."""
    out = subprocess.run(["ninja", "-C", build, "-t", "commands", target], check=True, capture_output=True, text=True).stdout
    compiles, link = {}, None
    for line in out.splitlines():
        if match := re.search(r" -o (\S+) -c (\S+)$", line):
            compiles[os.path.realpath(os.path.join(build, match[2]))] = (line, match[1])
        elif re.search(rf" -o \S*{re.escape(target)} ", line):
            link = line
    return compiles, link


def includers(target_compiles, header):
    """Sources of the target whose objects were made from the header."""
    for path, (_, out) in target_compiles.items():
        deps = subprocess.run(["ninja", "-C", build, "-t", "deps", out], check=True, capture_output=True, text=True).stdout
        if any(os.path.realpath(os.path.join(build, d.strip())) == header for d in deps.splitlines()[1:]):
            yield path


def make(target, file, changes, scratch):
    """The program with the changes; its path."""
    original = os.path.join(source, file)
    text = open(original).read()
    for old, new in changes:
        if text.count(old) != 1:
            raise Stale(f"{file} has {text.count(old)} times: {old}")
        text = text.replace(old, new)
    changed = os.path.join(scratch, "tree", file)
    os.makedirs(os.path.dirname(changed), exist_ok=True)
    open(changed, "w").write(text)
    compiles, link = commands(target)
    sources = [original] if original in compiles else list(includers(compiles, original))
    if not sources:
        raise Stale(f"{file} is no part of {target}")
    for number, path in enumerate(sources):
        line, out = compiles[path]
        new_out = os.path.join(scratch, f"{target}.{number}.o")
        line = line.replace(" -I", f" -I{scratch}/tree -I", 1)
        line = re.sub(r" -MD .*$", "", line) + f" -o {new_out} -w -c {changed if path == original else path}"
        shell("compiles not", line)
        # An object of its own on the line comes before an archive that has the other.
        link = link.replace(f" {out} ", f" {new_out} ") if f" {out} " in link else link.replace(" -o ", f" {new_out} -o ", 1)
    program = os.path.join(scratch, target)
    shell("links not", re.sub(rf" -o \S*{re.escape(target)} ", f" -o {program} ", link))
    return program


def shell(what, line):
    done = subprocess.run(line, shell=True, cwd=build, capture_output=True, text=True)
    if done.returncode != 0:
        raise Stale(f"{what}: {done.stdout}{done.stderr}"[:2000])


def runs(kind, program, what):
    """(name, command, environment) of each run that may notice."""
    if kind in SEEDS:
        for seed in SEEDS[kind]:
            yield f"{kind}, seed {seed}", [program, "--gtest_brief=1", "--gtest_fail_fast", f"--gtest_filter={what}"], {
                "CUDAEMU_SEED": str(seed), "ASAN_OPTIONS": "detect_leaks=0", "TSAN_OPTIONS": "halt_on_error=1"}
    elif kind == "ranks":
        yield f"{what} ranks", ["sh", f"{source}/tests/mpirun.sh", what, program], {"CUDAEMU_DEVICES": "4"}
    elif kind == "program":
        yield f"program {what}", ["sh", f"{tests}/whole_program.sh", program, f"{build}/banyan", *what.split()], {}
    else:
        yield "messages", ["sh", f"{tests}/device_messages.sh", program, "nccl"], {}


def noticed(kind, program, what, most=8):
    """What noticed, and by what sign; None: nothing did in so many runs."""
    for name, command, environment in itertools.islice(runs(kind, program, what), most):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                                   cwd=build, env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
                                   start_new_session=True)
        try:
            out, _ = process.communicate(timeout=LIMIT)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 15)
            process.communicate()
            return f"{name}: waits for ever"
        if process.returncode != 0:
            signs = [(sign, m[0]) for sign, pattern in SIGNS if (m := re.search(pattern, out))]
            return f"{name}: {signs[0][0]} ({signs[0][1][:90]})" if signs else f"{name}: exit code {process.returncode}"
    return None


def judge(entry):
    name, file, builds, what, changes = entry
    for kind in builds:
        scratch = tempfile.mkdtemp(prefix="banyan-mutation.")
        try:
            sign = noticed(kind, make(TARGETS[kind], file, changes, scratch), what)
        finally:
            shutil.rmtree(scratch)
        if sign:
            return True, sign
    return False, "UNNOTICED by " + ", ".join(builds)


def unspoilt(kind, what):
    if kind in SEEDS:
        names = subprocess.run([os.path.join(build, "tests/cuda_host", TARGETS[kind]), "--gtest_list_tests", f"--gtest_filter={what}"],
                               check=True, capture_output=True, text=True).stdout
        if "\n  " not in names:
            return False, "NO TEST has such a name"
    sign = noticed(kind, os.path.join(build, "tests/cuda_host", TARGETS[kind]), what, 1)
    return not sign, f"FAILS: {sign}" if sign else "passes"


def main():
    started = time.monotonic()
    chosen = [e for path in given.lists for e in entries(path) if re.search(given.only, e[0])]
    bad = not chosen
    with concurrent.futures.ThreadPoolExecutor(given.jobs) as pool:
        futures = {pool.submit(judge, e): e[0] for e in chosen}
        # Without a mistake the first of the same runs notices nothing; of the others the tests themselves take care.
        for kind, what in sorted({(kind, e[3]) for e in chosen for kind in e[2]}):
            futures[pool.submit(unspoilt, kind, what)] = f"no mistake, {kind} {what}"
        for future in concurrent.futures.as_completed(futures):
            try:
                good, text = future.result()
            except Stale as e:
                good, text = False, f"STALE: {e}"
            bad |= not good
            print(f"{futures[future]}: {text}", flush=True)
    print(f"{len(chosen)} mistakes, {time.monotonic() - started:.0f} s: {'some unnoticed' if bad else 'all noticed'}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
