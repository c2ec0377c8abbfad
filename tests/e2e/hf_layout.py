#!/usr/bin/env python3
"""hf_layout.py BANYAN LOGITS KIND: models in Hugging Face's layout, written by hand, through import and export.

Writes a checkpoint as Hugging Face's programs do, computes its logits with PyTorch from those tensors, imports it,
compares the logits of the imported model (program LOGITS, hf_logits.cpp), exports it and compares the bytes.
Exit code 0: all good; 1: not; 77: PyTorch is not installed (the test counts as skipped).
"""
import json
import os
import struct
import subprocess
import sys
import tempfile

from torch_compare import F, attention, heads, merge, np, torch  # exits with 77 where PyTorch is absent

VOCAB, CONTEXT, WIDTH, LAYERS, LENGTH = 211, 32, 48, 3, 24
TYPES = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.uint8: "U8"}


def save(path, tensors):
    """The layout of safetensors' own Python package: wide types first, then by name; header padded to eight bytes."""
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for name in sorted(tensors, key=lambda n: (-tensors[n].element_size(), n)):
        t = tensors[name].contiguous()
        raw = t.view(torch.int16).numpy().tobytes() if t.element_size() == 2 else t.numpy().tobytes()
        header[name] = {"dtype": TYPES[t.dtype], "shape": list(t.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


def read(path):
    """name -> bytes of every tensor."""
    with open(path, "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        data = file.read()
    header.pop("__metadata__")
    return {name: (t["dtype"], t["shape"], data[slice(*t["data_offsets"])]) for name, t in header.items()}


def random(*shape, scale=0.15, base=0.0):
    return base + scale * torch.randn(*shape)


def make_gpt2(prefix):
    t = {"wte.weight": random(VOCAB, WIDTH), "wpe.weight": random(CONTEXT, WIDTH)}
    for i in range(LAYERS):
        h = f"h.{i}."
        for norm in ("ln_1", "ln_2"):
            t[h + norm + ".weight"], t[h + norm + ".bias"] = random(WIDTH, base=1.0), random(WIDTH)
        for name, into, out in (("attn.c_attn", WIDTH, 3 * WIDTH), ("attn.c_proj", WIDTH, WIDTH),
                                ("mlp.c_fc", WIDTH, 4 * WIDTH), ("mlp.c_proj", 4 * WIDTH, WIDTH)):
            t[h + name + ".weight"], t[h + name + ".bias"] = random(into, out), random(out)
    t["ln_f.weight"], t["ln_f.bias"] = random(WIDTH, base=1.0), random(WIDTH)
    config = {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "activation_function": "gelu_new",
              "n_embd": WIDTH, "n_head": 4, "n_layer": LAYERS, "n_positions": CONTEXT, "n_ctx": CONTEXT,
              "n_inner": None, "layer_norm_epsilon": 1e-5, "vocab_size": VOCAB}
    return {prefix + name: value for name, value in t.items()}, config


def gpt2_logits(t, prefix, tokens):
    p = {name[len(prefix):]: value.double() for name, value in t.items()}

    def conv1d(x, name):
        return x @ p[name + ".weight"] + p[name + ".bias"]

    def norm(x, name):
        return F.layer_norm(x, (WIDTH,), p[name + ".weight"], p[name + ".bias"], 1e-5)

    x = p["wte.weight"][tokens] + p["wpe.weight"][: tokens.shape[1]]
    for i in range(LAYERS):
        h = f"h.{i}."
        q, k, v = (heads(part, 4) for part in conv1d(norm(x, h + "ln_1"), h + "attn.c_attn").split(WIDTH, dim=2))
        x = x + conv1d(merge(attention(q, k, v)), h + "attn.c_proj")
        x = x + conv1d(F.gelu(conv1d(norm(x, h + "ln_2"), h + "mlp.c_fc"), approximate="tanh"), h + "mlp.c_proj")
    return norm(x, "ln_f") @ p["wte.weight"].T


HEADS, GROUPS, FFN, THETA, EPS = 6, 2, 80, 500.0, 1e-6


def make_llama(tied):
    side = WIDTH // HEADS * GROUPS
    t = {"model.embed_tokens.weight": random(VOCAB, WIDTH), "model.norm.weight": random(WIDTH, base=1.0)}
    for i in range(LAYERS):
        n = f"model.layers.{i}."
        for norm in ("input_layernorm", "post_attention_layernorm"):
            t[n + norm + ".weight"] = random(WIDTH, base=1.0)
        for name, out, into in (("self_attn.q_proj", WIDTH, WIDTH), ("self_attn.k_proj", side, WIDTH),
                                ("self_attn.v_proj", side, WIDTH), ("self_attn.o_proj", WIDTH, WIDTH),
                                ("mlp.gate_proj", FFN, WIDTH), ("mlp.up_proj", FFN, WIDTH),
                                ("mlp.down_proj", WIDTH, FFN)):
            t[n + name + ".weight"] = random(out, into)
    if not tied:
        t["lm_head.weight"] = random(VOCAB, WIDTH)
    config = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_act": "silu", "hidden_size": WIDTH,
              "intermediate_size": FFN, "num_attention_heads": HEADS, "num_key_value_heads": GROUPS,
              "num_hidden_layers": LAYERS, "max_position_embeddings": CONTEXT, "rms_norm_eps": EPS,
              "rope_theta": THETA, "rope_scaling": None, "vocab_size": VOCAB, "tie_word_embeddings": tied}
    return t, config


def rotate_half(x):
    """As Hugging Face writes rotary positions: x cos + rotate_half(x) sin."""
    size = x.shape[-1]
    angle = torch.outer(torch.arange(x.shape[-2]).double(), THETA ** (-torch.arange(0, size, 2).double() / size))
    angle = torch.cat([angle, angle], dim=-1)
    turned = torch.cat([-x[..., size // 2:], x[..., : size // 2]], dim=-1)
    return x * angle.cos() + turned * angle.sin()


def llama_logits(t, tied, tokens):
    p = {name: value.double() for name, value in t.items()}

    def linear(x, name):
        return x @ p[name + ".weight"].T

    def norm(x, name):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + EPS) * p[name + ".weight"]

    x = p["model.embed_tokens.weight"][tokens]
    for i in range(LAYERS):
        n = f"model.layers.{i}."
        h = norm(x, n + "input_layernorm")
        q = rotate_half(heads(linear(h, n + "self_attn.q_proj"), HEADS))
        k = rotate_half(heads(linear(h, n + "self_attn.k_proj"), GROUPS))
        v = heads(linear(h, n + "self_attn.v_proj"), GROUPS)
        x = x + linear(merge(attention(q, k, v)), n + "self_attn.o_proj")
        h = norm(x, n + "post_attention_layernorm")
        x = x + linear(F.silu(linear(h, n + "mlp.gate_proj")) * linear(h, n + "mlp.up_proj"), n + "mlp.down_proj")
    return norm(x, "model.norm") @ p["model.embed_tokens.weight" if tied else "lm_head.weight"].T


def fail(message):
    print("FAIL", message)
    sys.exit(1)


def call(code, *command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    text = done.stdout.decode(errors="replace")
    if done.returncode != code:
        fail(f"exit code {done.returncode} instead of {code}: {' '.join(command)}\n{text}")
    return text


def write_model(folder, tensors, config, shards=1):
    os.makedirs(folder)
    with open(os.path.join(folder, "config.json"), "w") as file:
        json.dump(config, file)
    if shards == 1:
        save(os.path.join(folder, "model.safetensors"), tensors)
        return
    names, where = sorted(tensors), {}
    for i in range(shards):
        file = f"model-{i + 1:05}-of-{shards:05}.safetensors"
        part = {name: tensors[name] for name in names[i::shards]}
        save(os.path.join(folder, file), part)
        where.update(dict.fromkeys(part, file))
    with open(os.path.join(folder, "model.safetensors.index.json"), "w") as file:
        json.dump({"metadata": {}, "weight_map": where}, file)


def whole(folder):
    """All tensors of a model, sharded or not."""
    index = os.path.join(folder, "model.safetensors.index.json")
    if not os.path.exists(index):
        return read(os.path.join(folder, "model.safetensors"))
    with open(index) as file:
        where = json.load(file)["weight_map"]
    found = {}
    for file in set(where.values()):
        part = read(os.path.join(folder, file))
        if any(where.get(name) != file for name in part):
            fail("the index does not fit its files")
        found.update(part)
    if set(found) != set(where):
        fail("the index names other tensors than there are")
    return found


def main():
    banyan, logits_program, kind = sys.argv[1:]
    torch.manual_seed(len(kind))
    extra, shards, dtype = {}, 1, torch.float32
    if kind.startswith("gpt2"):
        prefix = "transformer." if kind == "gpt2" else ""
        tensors, config = make_gpt2(prefix)
        if kind == "gpt2_body":  # as the published file: no prefix, masks beside the parameters, a second copy
            extra = {f"h.{i}.attn.bias": torch.ones(1, 1, CONTEXT, CONTEXT).byte() for i in range(LAYERS)}
            extra["lm_head.weight"] = tensors["wte.weight"].clone()
    else:
        tied = kind == "llama_tied_bf16"
        tensors, config = make_llama(tied)
        shards = 3 if kind == "llama" else 1
        dtype = {"llama_tied_bf16": torch.bfloat16, "llama_f16": torch.float16}.get(kind, dtype)
    stored = {name: t.to(dtype) for name, t in tensors.items()}
    tensors = {name: t.float() for name, t in stored.items()}
    tokens = torch.randint(0, VOCAB, (2, LENGTH))
    want = gpt2_logits(tensors, prefix, tokens) if kind.startswith("gpt2") else llama_logits(tensors, tied, tokens)

    with tempfile.TemporaryDirectory() as folder:
        at = lambda name: os.path.join(folder, name)
        write_model(at("hf"), {**stored, **extra}, config, shards)
        call(0, banyan, "import", at("hf"), "--out", at("run"))
        checkpoint = at("run/ckpt/step-000000000.e1")
        call(0, banyan, "inspect", checkpoint, "--verify")

        tokens.int().numpy().tofile(at("tokens"))
        call(0, logits_program, checkpoint, at("tokens"), str(LENGTH), at("logits"))
        got = torch.from_numpy(np.fromfile(at("logits"), np.float32)).view_as(want).double()
        error = ((got - want).norm() / want.norm()).item()
        print(f"logits: {error:.2e} (limit 1e-4), norm {want.norm().item():.1f}")
        if not error <= 1e-4:
            fail("logits differ")

        # As the format's own package would write the same tensors in fp32.
        call(0, banyan, "export", at("run"), "--out", at("back"))
        save(at("expected"), tensors)
        with open(at("expected"), "rb") as a, open(at("back/model.safetensors"), "rb") as b:
            if a.read() != b.read():
                fail("the exported file is another than the format's package would write")
        if dtype == torch.float32:
            source = whole(at("hf"))
            if whole(at("back")) != {name: source[name] for name in tensors}:
                fail("exported tensors differ from the imported ones")
        with open(at("back/config.json")) as file:
            described = json.load(file)
        for key, value in config.items():
            if value is not None and key != "n_ctx" and described.get(key) != value:
                fail(f"config.json: {key} was {value} and is {described.get(key)}")

        # In shards, and once more around.
        call(0, banyan, "export", checkpoint, "--out", at("shards"), "--shard-size", "64KiB")
        if whole(at("shards")) != whole(at("back")) or not os.path.exists(at("shards/model.safetensors.index.json")):
            fail("shards hold other tensors")
        call(0, banyan, "import", at("shards"), "--out", at("again"), "--config-out", at("again.ini"),
             "--file-size", "10KiB")
        if len([n for n in os.listdir(at("again/ckpt/step-000000000.e1")) if n.startswith("shard-")]) < 10:
            fail("the checkpoint is not cut into files of 10KiB")
        digests = [call(0, banyan, "inspect", at(run), "--digest").splitlines()[-1] for run in ("run", "again")]
        if digests[0] != digests[1]:
            fail(f"another digest after the second import: {digests}")

        # Nothing is overwritten unasked.
        call(64, banyan, "import", at("hf"), "--out", at("run"))
        call(64, banyan, "import", at("hf"), "--out", at("new"), "--config-out", at("again.ini"))
        call(64, banyan, "export", at("run"), "--out", at("back"))
        call(0, banyan, "import", at("hf"), "--out", at("run"), "--force")
        call(0, banyan, "export", at("run"), "--out", at("shards"), "--force")
        if any("-of-" in name for name in os.listdir(at("shards"))):
            fail("shards of the earlier export are left")

        refuse(banyan, folder, stored, config)
    print("ok")


def refuse(banyan, folder, stored, config):
    """Damaged and foreign models: the exit code, and no run directory."""
    at = lambda name: os.path.join(folder, name)
    some = sorted(stored)[-1]
    cases = [
        (78, "model_type", stored, {**config, "model_type": "opt"}),
        (65, some, {name: t for name, t in stored.items() if name != some}, config),
        (65, "one.more", {**stored, "one.more": torch.ones(2)}, config),
        (65, "shape", {**stored, some: torch.ones(3, 5)}, config),
        (65, "U8", {**stored, some: torch.ones(stored[some].shape).byte()}, config),
    ]
    for i, (code, says, tensors, described) in enumerate(cases):
        write_model(at(f"bad{i}"), tensors, described)
        text = call(code, banyan, "import", at(f"bad{i}"), "--out", at(f"bad-run{i}"))
        if says not in text:
            fail(f"the message does not say {says}: {text}")
        if os.path.exists(at(f"bad-run{i}")):
            fail("a refused import left a run directory")
    os.truncate(at("bad0/model.safetensors"), os.path.getsize(at("bad0/model.safetensors")) - 4)
    with open(at("bad0/config.json"), "w") as file:
        json.dump(config, file)
    call(65, banyan, "import", at("bad0"), "--out", at("bad-run"))
    call(64, banyan, "import", at("nothing"), "--out", at("bad-run"))


if __name__ == "__main__":
    main()
