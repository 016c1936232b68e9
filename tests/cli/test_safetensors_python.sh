#!/bin/bash
# The `safetensors` package for Python reads what we write, and we read what it writes. PYTHON names the interpreter.
. tests/cli/common.sh "$1"
python=${PYTHON:-python3}
if ! "$python" -c 'import numpy, safetensors' 2>/dev/null; then
    echo "SKIP: no python3 with the packages numpy and safetensors (PYTHON=... names another): files are not read by that package"
    exit 0
fi

mkdir tokens again
{ printf 'LITPKDS\1\0\0\0\0\0\0\0\10\144\0\0\0\0\0\0\0'; for _ in {1..100}; do printf '\5\0'; done; } >tokens/train_x_0_0000000000.bin
"$mdm" pretrain --model "$golden/mdm-odd/config.json" --data tokens --vocab 37 --steps 2 --batch 2 --length 16 \
    --precision f32 --threads 1 --quiet --out run || exit 1
cp run/config.json again/
"$python" - <<'EOF' || exit 1
import glob, numpy as np
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
with safe_open("run/model.safetensors", "np") as f:
    assert f.metadata() == {"format": "pt"}, f.metadata()
w = load_file("run/model.safetensors")
assert len(w) == 17 and sum(x.size for x in w.values()) == 18780, (len(w), sum(x.size for x in w.values()))
assert all(x.dtype == np.float32 and np.isfinite(x).all() for x in w.values())
assert w["transformer.wte.weight"].shape == (41, 30) and w["transformer.ln_f.weight"].shape == (30,)
checkpoint = load_file(glob.glob("run/checkpoint-*.safetensors")[0])
assert len(checkpoint) == 51
assert all((checkpoint["param/" + k] == v).all() for k, v in w.items())
save_file(w, "again/model.safetensors")  # in its own order, with a header of its own length
EOF
"$mdm" inspect again/model.safetensors >out || exit 1
grep -q 'published names, 17 tensors, 18780 values' out && grep -q 'family mdm: 2 layers' out || { cat out; exit 1; }
