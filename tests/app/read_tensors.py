"""read_tensors.py FILE BASE: checks that h5py sees the whole tensors that checkpoint_fixture.hpp writes."""
import sys

import h5py
import numpy

path, base = sys.argv[1], float(sys.argv[2])
with h5py.File(path, "r") as f:
    for kind, group in enumerate(["params", "optimizer/m", "optimizer/v"]):
        for name, shape in [("blocks/0/attn/q/weight", (6, 4)), ("norm/weight", (5,))]:
            got = f[group][name][...]
            want = (base + numpy.arange(numpy.prod(shape)) + 1000 * kind).reshape(shape).astype("f4")
            assert got.dtype == want.dtype and numpy.array_equal(got, want), (group, name, got)
            assert f[group][name].attrs["dtype"] in ("f32", b"f32"), f[group][name].attrs["dtype"]
    assert f.attrs["run"] in ("0123456789abcdef0123456789abcdef", b"0123456789abcdef0123456789abcdef")
    assert list(f.attrs["step"]) == [int(base)]
