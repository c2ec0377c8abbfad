#!/usr/bin/python3
"""A training step in PyTorch, the opponent of `bench step`.

Prints one JSON line: median and spread of a whole step (forward, backward, clipping, AdamW) in milliseconds, and the
memory of the process beyond what it had with PyTorch loaded.
The model is GPT-2 as Banyan trains it: learned positions, LayerNorm, tanh-GELU, biases, tied embeddings, no dropout;
with --llama rotary positions, RMSNorm, SwiGLU and no biases instead.
Tune it before a fair comparison: OMP_WAIT_POLICY=PASSIVE and an OpenMP OpenBLAS (Debian: libopenblas0-openmp).
"""
import argparse
import json
import math
import resource
import statistics
import time

import torch
import torch.nn.functional as F


class RmsNorm(torch.nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(width))

    def forward(self, x):
        if hasattr(F, "rms_norm"):
            return F.rms_norm(x, self.weight.shape, self.weight, 1e-5)
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5) * self.weight


class Rotary:
    """Angles of the half-split order, for positions below `length`."""

    def __init__(self, length, head_size):
        angle = torch.outer(torch.arange(length).float(),
                            10000.0 ** (-torch.arange(0, head_size, 2).float() / head_size))
        self.cos, self.sin = torch.cat((angle.cos(),) * 2, -1), torch.cat((angle.sin(),) * 2, -1)

    def __call__(self, x):
        first, second = x.chunk(2, -1)
        return x * self.cos + torch.cat((-second, first), -1) * self.sin


class Block(torch.nn.Module):
    def __init__(self, width, heads, kv_heads, rotary):
        super().__init__()
        self.heads, self.kv_heads, self.rotary = heads, kv_heads, rotary
        self.kv_width = width // heads * kv_heads
        norm, bias = (RmsNorm, False) if rotary else (torch.nn.LayerNorm, True)
        self.norm1 = norm(width)
        self.qkv = torch.nn.Linear(width, width + 2 * self.kv_width, bias=bias)
        self.out = torch.nn.Linear(width, width, bias=bias)
        self.norm2 = norm(width)
        self.ffn = (8 * width // 3 + 63) // 64 * 64 if rotary else 4 * width
        self.up = torch.nn.Linear(width, 2 * self.ffn if rotary else self.ffn, bias=bias)
        self.down = torch.nn.Linear(self.ffn, width, bias=bias)

    def attention(self, x):
        batch, length, width = x.shape
        q, k, v = (t.view(batch, length, -1, width // self.heads).transpose(1, 2)
                   for t in self.qkv(x).split((width, self.kv_width, self.kv_width), 2))
        if self.rotary:
            q, k = self.rotary(q), self.rotary(k)
        if self.kv_heads < self.heads:
            k, v = (t.repeat_interleave(self.heads // self.kv_heads, 1) for t in (k, v))
        if hasattr(F, "scaled_dot_product_attention"):
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            scores = q @ k.transpose(2, 3) / math.sqrt(q.shape[-1])
            mask = torch.ones(length, length, dtype=torch.bool).triu(1)
            y = scores.masked_fill(mask, float("-inf")).softmax(-1) @ v
        return self.out(y.transpose(1, 2).reshape(batch, length, width))

    def inner(self, x):
        if not self.rotary:
            return F.gelu(self.up(x), approximate="tanh")
        gate, up = self.up(x).split(self.ffn, 2)
        return F.silu(gate) * up

    def forward(self, x):
        x = x + self.attention(self.norm1(x))
        return x + self.down(self.inner(self.norm2(x)))


class Model(torch.nn.Module):
    def __init__(self, a):
        super().__init__()
        rotary = Rotary(a.length, a.width // a.heads) if a.llama else None
        self.token = torch.nn.Embedding(a.vocab, a.width)
        self.position = None if a.llama else torch.nn.Embedding(a.length, a.width)
        self.blocks = torch.nn.ModuleList(Block(a.width, a.heads, a.kv_heads or a.heads, rotary)
                                          for _ in range(a.layers))
        self.norm = RmsNorm(a.width) if a.llama else torch.nn.LayerNorm(a.width)
        for p in self.parameters():
            if p.dim() > 1:
                torch.nn.init.normal_(p, std=0.02)

    def forward(self, tokens, targets):
        x = self.token(tokens)
        if self.position is not None:
            x = x + self.position(torch.arange(tokens.shape[1]))
        for block in self.blocks:
            x = block(x)
        logits = F.linear(self.norm(x), self.token.weight)
        return F.cross_entropy(logits.view(-1, logits.shape[-1]), targets.reshape(-1))


def peak_memory():
    """Most bytes that the process has had so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in {"layers": 12, "width": 768, "heads": 12, "kv-heads": 0, "vocab": 50257, "batch": 4,
                        "length": 256, "threads": 2, "steps": 5}.items():
        parser.add_argument("--" + name, type=int, default=value)
    parser.add_argument("--llama", action="store_true", help="rotary positions, RMSNorm, SwiGLU, no biases")
    parser.add_argument("--bf16", action="store_true", help="autocast to bf16")
    a = parser.parse_args()
    before = peak_memory()
    torch.manual_seed(1)
    torch.set_num_threads(a.threads)
    model = Model(a)
    optimizer = torch.optim.AdamW(model.parameters(), lr=6e-4, betas=(0.9, 0.95), weight_decay=0.1)
    tokens = torch.randint(a.vocab, (a.batch, a.length))
    targets = torch.randint(a.vocab, (a.batch, a.length))
    times, loss = [], None
    for step in range(a.steps + 1):
        start = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=a.bf16):
            loss = model(tokens, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step > 0:
            times.append((time.perf_counter() - start) * 1e3)
    median = statistics.median(times)
    print(json.dumps(dict(peer="torch " + torch.__version__, batch=a.batch, length=a.length, threads=a.threads,
                          median_ms=median, min_ms=min(times), max_ms=max(times), steps_ms=times,
                          memory_bytes=peak_memory() - before,
                          tokens_per_s=a.batch * a.length / median * 1e3, loss=loss.item())))


if __name__ == "__main__":
    main()
