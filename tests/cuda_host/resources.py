#!/usr/bin/env python3
"""resources.py BUDGET FILE.resources...: holds what ptxas said of every kernel against the budget.

Prints the largest figures of each kernel over its versions (types, alignment, GPUs). Exit code 0: all within."""
import re
import sys


def kernel_name(mangled):
    """The function's own name: the last of the nested names of an Itanium mangling."""
    names, at = [], mangled.index("_ZN") + 3
    while match := re.match(r"\d+", mangled[at:]):
        begin = at + len(match[0])
        at = begin + int(match[0])
        names.append(mangled[begin:at])
    return names[-1]


def read(files):
    """name -> (registers, shared bytes)"""
    found, name = {}, None
    for path in files:
        for line in open(path):
            if match := re.search(r"Compiling entry function '(\w+)'", line):
                name = kernel_name(match[1])
            if match := re.search(r"Used (\d+) registers", line):
                shared = re.search(r"(\d+) bytes smem", line)
                before = found.get(name, (0, 0))
                found[name] = (max(before[0], int(match[1])), max(before[1], int(shared[1]) if shared else 0))
    return found


def main():
    budget = {}
    for line in open(sys.argv[1]):
        if line.strip() and not line.startswith("#"):
            name, registers, shared = line.split()
            budget[name] = (int(registers), int(shared))
    found, bad = read(sys.argv[2:]), []
    for name, (registers, shared) in sorted(found.items()):
        print(f"{name:28} {registers:4} {shared:6}")
        if name not in budget:
            bad.append(f"{name} has no line in {sys.argv[1]}")
        elif registers > budget[name][0] or shared > budget[name][1]:
            bad.append(f"{name} takes {registers} registers and {shared} bytes, its budget is {budget[name]}")
        elif registers + 16 < budget[name][0]:
            bad.append(f"{name} takes {registers} registers only: lower its budget of {budget[name][0]}")
    bad += [f"{name} is in {sys.argv[1]} but no kernel" for name in budget if name not in found]
    print("\n".join(bad))
    return 1 if bad or not found else 0


if __name__ == "__main__":
    sys.exit(main())
