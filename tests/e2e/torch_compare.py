#!/usr/bin/env python3
"""torch_compare.py DUMP KIND: the model and AdamW against an independent implementation in PyTorch.

Runs the program DUMP (torch_dump.cpp), then computes the same in double precision with PyTorch's own operations and
automatic differentiation, from nothing but the dumped parameters and tokens.  Prints one line per comparison.  A KIND
that ends in _bf16 was computed in bf16, whose values have 8 bits: its limits are wider, and it has no logits.
Exit code 0: all within tolerance; 1: not; 77: PyTorch is not installed (the test counts as skipped).
"""
import os
import subprocess
import sys
import tempfile

try:
    import numpy as np
    import torch
    import torch.nn.functional as F
except ImportError as error:
    print(f"SKIPPED: {error}. Install Debian's python3-torch to compare the model with an independent implementation.")
    sys.exit(77)

torch.set_num_threads(2)
DTYPES = {"f32": np.float32, "f64": np.float64, "i32": np.int32}


def load(folder):
    """Numbers and tensors of a dump."""
    numbers = {}
    with open(os.path.join(folder, "shape.txt")) as lines:
        for line in lines:
            key, value = line.split()
            numbers[key] = float(value)
    tensors = {}
    with open(os.path.join(folder, "index.txt")) as lines:
        for line in lines:
            name, dtype, *extents = line.split()
            data = np.fromfile(os.path.join(folder, name + ".bin"), DTYPES[dtype])
            tensors[name] = torch.from_numpy(data.reshape([int(e) for e in extents]).copy())
    return numbers, tensors


def attention(q, k, v):
    """Causal; q [B,H,T,D], k and v [B,G,T,D]."""
    share = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(share, dim=1), v.repeat_interleave(share, dim=1)
    scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    length = q.shape[-2]
    hidden = torch.ones(length, length, dtype=torch.bool).triu(1)
    return scores.masked_fill(hidden, float("-inf")).softmax(-1) @ v


def heads(x, count):
    batch, length, width = x.shape
    return x.view(batch, length, count, width // count).transpose(1, 2)


def merge(x):
    return x.transpose(1, 2).flatten(2)


class Gpt2:
    """Radford et al. 2019: learned positions, LayerNorm before each part, tanh-GELU, tied output."""

    def __init__(self, numbers, params):
        self.n, self.p = numbers, params

    def linear(self, x, name):
        return F.linear(x, self.p[name + ".weight"], self.p[name + ".bias"])

    def norm(self, x, name):
        return F.layer_norm(x, x.shape[-1:], self.p[name + ".weight"], self.p[name + ".bias"], self.n["norm_eps"])

    def logits(self, tokens):
        count = int(self.n["heads"])
        x = F.embedding(tokens, self.p["embed.token.weight"]) + self.p["embed.position.weight"][: tokens.shape[1]]
        for i in range(int(self.n["layers"])):
            block = f"blocks.{i}."
            h = self.norm(x, block + "norm1")
            q, k, v = (heads(self.linear(h, f"{block}attn.{c}"), count) for c in "qkv")
            x = x + self.linear(merge(attention(q, k, v)), block + "attn.o")
            h = self.norm(x, block + "norm2")
            x = x + self.linear(F.gelu(self.linear(h, block + "mlp.up"), approximate="tanh"), block + "mlp.down")
        return self.norm(x, "norm") @ self.p["embed.token.weight"].T


class Llama:
    """Touvron et al. 2023: rotary positions, RMSNorm before each part, SwiGLU, grouped-query attention, no biases."""

    def __init__(self, numbers, params):
        self.n, self.p = numbers, params

    def norm(self, x, name):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.n["norm_eps"]) * self.p[name + ".weight"]

    def rotate(self, x):
        # Pairs (i, i + D/2) as complex numbers, turned by position * theta^(-2i/D).
        half = x.shape[-1] // 2
        angle = torch.outer(torch.arange(x.shape[-2], dtype=x.dtype),
                            self.n["rope_theta"] ** (-torch.arange(half, dtype=x.dtype) / half))
        turned = torch.complex(x[..., :half], x[..., half:]) * torch.polar(torch.ones_like(angle), angle)
        return torch.cat([turned.real, turned.imag], dim=-1)

    def logits(self, tokens):
        x = F.embedding(tokens, self.p["embed.token.weight"])
        for i in range(int(self.n["layers"])):
            attn, mlp = f"blocks.{i}.attn.", f"blocks.{i}.mlp."
            h = self.norm(x, f"blocks.{i}.norm1")
            q = self.rotate(heads(h @ self.p[attn + "q.weight"].T, int(self.n["heads"])))
            k = self.rotate(heads(h @ self.p[attn + "k.weight"].T, int(self.n["kv_heads"])))
            v = heads(h @ self.p[attn + "v.weight"].T, int(self.n["kv_heads"]))
            x = x + merge(attention(q, k, v)) @ self.p[attn + "o.weight"].T
            h = self.norm(x, f"blocks.{i}.norm2")
            gated = F.silu(h @ self.p[mlp + "gate.weight"].T) * (h @ self.p[mlp + "up.weight"].T)
            x = x + gated @ self.p[mlp + "down.weight"].T
        table = self.p["embed.token.weight" if self.n["tied"] else "head.weight"]
        return self.norm(x, "norm") @ table.T


class Report:
    def __init__(self):
        self.failed = False

    def check(self, what, error, limit):
        good = error <= limit  # false for NaN
        self.failed |= not good
        print(f"{'ok  ' if good else 'FAIL'} {what}: {error:.2e} (limit {limit:.0e})")


def relative(a, b):
    return ((a.double() - b).norm() / b.norm()).item()


def compare(kind, bf16, numbers, dumped, report):
    limit = 1e-2 if bf16 else 1e-4
    params = {name[len("param."):]: t.double().requires_grad_() for name, t in dumped.items() if name.startswith("param.")}
    model = (Gpt2 if kind == "gpt2" else Llama)(numbers, params)
    tokens, targets = dumped["tokens"].long(), dumped["targets"].long()
    targets = targets.flatten().masked_fill(targets.flatten() < 0, -100)

    def mean_loss():
        return F.cross_entropy(model.logits(tokens).flatten(0, 1), targets, ignore_index=-100)

    if not bf16:
        with torch.no_grad():
            report.check("logits", relative(dumped["logits"], model.logits(tokens).flatten(0, 1)), limit)

    # torch's own AdamW; matrices decay, vectors do not.
    groups = [{"params": [p for p in params.values() if p.dim() == 2], "weight_decay": numbers["decay"]},
              {"params": [p for p in params.values() if p.dim() == 1], "weight_decay": 0.0}]
    options = {"lr": numbers["lr"], "betas": (numbers["beta1"], numbers["beta2"]), "eps": numbers["eps"]}
    optimizer = torch.optim.AdamW(groups, **options)
    losses = []
    for step in range(int(numbers["steps"])):
        optimizer.zero_grad()
        loss = mean_loss()
        losses.append(loss.item())
        loss.backward()
        if step == 0:
            compare_grads(dumped, params, 5e-2 if bf16 else limit, report)
        torch.nn.utils.clip_grad_norm_(params.values(), numbers["clip"])
        optimizer.step()
    ours = dumped["losses"].tolist()
    report.check("loss", abs(ours[0] - losses[0]) / losses[0], limit)
    report.check(f"losses of {len(losses)} AdamW steps ({losses[0]:.3f} to {losses[-1]:.3f})",
                 max(abs(a - b) / b for a, b in zip(ours, losses)), limit)
    if not losses[-1] < 0.8 * losses[0]:
        report.check("the loss of the reference falls", losses[-1] / losses[0], 0.8)


def compare_grads(dumped, params, limit, report):
    whole = torch.stack([p.grad.norm() for p in params.values()]).norm().item()
    worst, worst_name = 0.0, ""
    for name, p in params.items():
        difference = (dumped["grad." + name].double() - p.grad).norm().item()
        error = difference / max(p.grad.norm().item(), 1e-3 * whole)
        if not error <= worst:
            worst, worst_name = error, name
    report.check(f"gradients of {len(params)} tensors, worst {worst_name}", worst, limit)


def compare_adamw(numbers, dumped, report):
    x = dumped["adamw.before"].double().requires_grad_()
    optimizer = torch.optim.AdamW([x], lr=numbers["lr"], betas=(numbers["beta1"], numbers["beta2"]), eps=numbers["eps"],
                                  weight_decay=numbers["decay"])
    for grad in dumped["adamw.grads"].double():
        x.grad = grad.clone()
        optimizer.step()
    moved = (x.detach() - dumped["adamw.before"].double()).abs().max().item()
    report.check("AdamW alone", relative(dumped["adamw.after"], x.detach()), 1e-6)
    if not moved > 1e-3:
        report.check("AdamW moves the parameters", 0.0, -1.0)


def main():
    program, kind = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([program, kind, folder], check=True)
        numbers, dumped = load(folder)
    report = Report()
    compare(kind.removesuffix("_bf16"), kind.endswith("_bf16"), numbers, dumped, report)
    compare_adamw(numbers, dumped, report)
    sys.exit(1 if report.failed else 0)


if __name__ == "__main__":
    main()
