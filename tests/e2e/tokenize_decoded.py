"""tokenize_decoded.py BANYAN: token files are read with h5py and decoded by the tables of the tokenizer.json inside:
every document must come back byte for byte, whatever its bytes."""
import json
import os
import random
import subprocess
import sys
import tempfile

try:
    import h5py
except ImportError:
    print("SKIPPED: python3-h5py is not installed", file=sys.stderr)
    sys.exit(77)

banyan = sys.argv[1]


def characters():
    """Byte -> character as published with GPT-2: printable ones stand for themselves, the others are shifted."""
    printable = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    table, shifted = {b: chr(b) for b in printable}, 256
    for b in range(256):
        if b not in table:
            table[b] = chr(shifted)
            shifted += 1
    return table


def documents(path):
    with h5py.File(path, "r") as f:
        tokens, begins = f["tokens"][:], [int(b) for b in f["documents"][:]]
        tokenizer = json.loads(bytes(f["tokenizer"][:]).decode("utf-8"))
    byte_of = {c: b for b, c in characters().items()}
    special = {t["id"]: t["content"] for t in tokenizer["added_tokens"]}
    end = next(i for i, text in special.items() if text == "<|endoftext|>")
    bytes_of = {i: bytes(byte_of[c] for c in token)
                for token, i in tokenizer["model"]["vocab"].items() if i not in special}
    for begin, stop in zip(begins, begins[1:] + [len(tokens)]):
        assert tokens[stop - 1] == end, "a document is not ended by the end token"
        yield b"".join(bytes_of[int(t)] for t in tokens[begin:stop - 1])


def tokenize(*arguments):
    subprocess.run([banyan, "tokenize", *arguments], check=True, stdout=subprocess.DEVNULL)


with tempfile.TemporaryDirectory() as scratch:
    at = lambda name: os.path.join(scratch, name)
    rng = random.Random(3)
    words = ["the", "tree", "root", "it's", "1984", "Träume", "中文", "😀", "<|endoftext|>", "\u00a0", "\u3000"]
    plain = " ".join(rng.choice(words) for _ in range(60000)).encode()  # crosses the chunks it is read in
    odd = bytes(rng.randrange(256) for _ in range(5000)) + b"\0\0\xff\xfe" + "é".encode()[:1]
    unbroken = b"a" * 300000
    for name, content in (("plain.txt", plain), ("odd.txt", odd), ("unbroken.txt", unbroken)):
        with open(at(name), "wb") as f:
            f.write(content)
    lines = ["one\ndocument", "NUL \0 and \"quotes\" \\ 中", "", "last, without an end of line"]
    with open(at("lines.jsonl"), "w") as f:
        f.write("\n".join(json.dumps({"id": i, "body": text}, ensure_ascii=i % 2 == 0)
                          for i, text in enumerate(lines)))
    os.symlink(at("plain.txt"), at("link.txt"))

    tokenize(at("plain.txt"), at("odd.txt"), at("unbroken.txt"), "--out", at("a.h5"), "--vocab-size", "500")
    assert list(documents(at("a.h5"))) == [plain, odd, unbroken], "documents do not come back"

    tokenize(at("lines.jsonl"), at("link.txt"), "--field", "body", "--out", at("b.h5"), "--tokenizer", at("a.h5"))
    assert list(documents(at("b.h5"))) == [t.encode() for t in lines] + [plain], "JSONL does not come back"

    # The same tokenizer by way of its tokenizer.json and of GPT-2's two files gives the same tokens.
    with h5py.File(at("a.h5"), "r") as f:
        text, expected = bytes(f["tokenizer"][:]).decode("utf-8"), f["tokens"][:].tolist()
    model = json.loads(text)["model"]
    os.mkdir(at("gpt2"))
    with open(at("gpt2/encoder.json"), "w") as f:
        json.dump(model["vocab"], f)
    with open(at("gpt2/vocab.bpe"), "w") as f:
        f.write("#version: 0.2\n" + "".join(m + "\n" for m in model["merges"]))
    with open(at("tokenizer.json"), "w") as f:
        f.write(text)
    for name in ("tokenizer.json", "gpt2"):
        tokenize(at("plain.txt"), at("odd.txt"), at("unbroken.txt"), "--out", at("c.h5"), "--force",
                 "--tokenizer", at(name))
        with h5py.File(at("c.h5"), "r") as f:
            assert f["tokens"][:].tolist() == expected, name + " gives other tokens"
    assert not [n for n in os.listdir(scratch) if ".h5." in n], "temporary files stay behind"
