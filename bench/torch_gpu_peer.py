#!/usr/bin/env python3
"""The peer to measure against on a GPU: a training step of LLaMA-1B or GPT-2 124M in PyTorch, bf16.

    bench/torch_gpu_peer.py --shape llama-1b|gpt2-124m --mode eager|compile [--batch N] [--steps N]

Written the way one trains such models on one GPU: float32 weights under bf16 autocast (so master weights, gradients and
moments are float32, as in Headroom's bf16 runs), scaled_dot_product_attention, fused AdamW with decay on matrices and
embeddings only, gradient clipping, nothing that makes the host wait inside a step. `compile` puts the whole model and its
loss through torch.compile. The vocabulary is padded to a multiple of 64 rows, which its matrix product likes; the
parameters counted are without the padding.

The last line is JSON: tokens_per_second, step_seconds (median), peak_memory_bytes (allocated at most),
reserved_memory_bytes (taken from the device), parameters, batch, mode, torch, device. Exit status 8: out of memory.
--probe only says which PyTorch this is and fails where it has no such device.
"""

import argparse
import json
import statistics
import sys
import time

SHAPES = {
    "llama-1b": dict(kind="llama", vocab_size=65536, hidden_size=2048, layers=16, heads=16, kv_heads=16, ffn_size=5440,
                     seq_len=2048, std=0.006, batch=8),
    "gpt2-124m": dict(kind="gpt2", vocab_size=50257, hidden_size=768, layers=12, heads=12, kv_heads=12, ffn_size=3072,
                      seq_len=1024, std=0.02, batch=32),
}
OUT_OF_MEMORY = 8  # as docs/exit-codes.md has it
ROWS = 64  # the vocabulary is padded to a multiple of


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, default="llama-1b")
    parser.add_argument("--mode", choices=["eager", "compile"], default="eager")
    parser.add_argument("--steps", type=int, default=10, help="steps that count")
    parser.add_argument("--warmup", type=int, default=4, help="steps before the clock runs, compilation among them")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--probe", action="store_true", help="say which PyTorch this is, and whether the device works")
    for name in ("batch", "vocab-size", "hidden-size", "layers", "heads", "kv-heads", "ffn-size", "seq-len"):
        parser.add_argument("--" + name, type=int, help="instead of the shape's")
    given = parser.parse_args()
    shape = dict(SHAPES[given.shape])
    for name in shape:
        if getattr(given, name, None) is not None:
            shape[name] = getattr(given, name)
    if given.kv_heads is None:
        shape["kv_heads"] = shape["heads"]
    return given, argparse.Namespace(**shape)


given, shape = arguments()
try:
    import torch
    import torch.nn as nn
    import torch.nn.functional as F
except ImportError as error:
    sys.exit(f"no PyTorch: {error}")


def probe():
    """What this PyTorch is; exits where it has not what a step needs."""
    if not hasattr(F, "scaled_dot_product_attention"):
        sys.exit(f"PyTorch {torch.__version__} is too old: no scaled_dot_product_attention (2.0 has it)")
    if given.device == "cuda" and not torch.cuda.is_available():
        sys.exit(f"PyTorch {torch.__version__} sees no GPU")
    name = torch.cuda.get_device_name() if given.device == "cuda" else "cpu"
    return f"{torch.__version__} on {name}"


def rotate(x, cos, sin):
    """x [batch, heads, sequence, head_dim], halves convention."""
    x1, x2 = x.chunk(2, -1)
    return torch.cat((x1 * cos - x2 * sin, x2 * cos + x1 * sin), -1).type_as(x)


class RMSNorm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        if hasattr(F, "rms_norm"):
            return F.rms_norm(x, self.weight.shape, self.weight.type_as(x), 1e-5)
        wide = x.float()
        return (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-5)).type_as(x) * self.weight.type_as(x)


class LayerNorm(nn.Module):
    """Without a bias, as configs/gpt2-124m has it."""

    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return F.layer_norm(x, self.weight.shape, self.weight.type_as(x), None, 1e-5)


class Attention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.heads, self.kv_heads, self.width = c.heads, c.kv_heads, c.hidden_size // c.heads
        self.qkv = nn.Linear(c.hidden_size, (c.heads + 2 * c.kv_heads) * self.width, bias=False)
        self.out = nn.Linear(c.heads * self.width, c.hidden_size, bias=False)

    def forward(self, x, rotary):
        batch, seq, _ = x.shape
        q, k, v = self.qkv(x).view(batch, seq, -1, self.width).transpose(1, 2).split(
            (self.heads, self.kv_heads, self.kv_heads), dim=1)
        if rotary is not None:
            q, k = rotate(q, *rotary), rotate(k, *rotary)
        grouped = {} if self.heads == self.kv_heads else {"enable_gqa": True}
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True, **grouped)
        return self.out(y.transpose(1, 2).reshape(batch, seq, -1))


class SwiGLU(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.gate_up = nn.Linear(c.hidden_size, 2 * c.ffn_size, bias=False)
        self.down = nn.Linear(c.ffn_size, c.hidden_size, bias=False)

    def forward(self, x):
        gate, up = self.gate_up(x).chunk(2, -1)
        return self.down(F.silu(gate) * up)


class GELU(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.up = nn.Linear(c.hidden_size, c.ffn_size, bias=False)
        self.down = nn.Linear(c.ffn_size, c.hidden_size, bias=False)

    def forward(self, x):
        return self.down(F.gelu(self.up(x), approximate="tanh"))


class Model(nn.Module):
    """Token ids and targets to the mean loss."""

    def __init__(self, c):
        super().__init__()
        llama = c.kind == "llama"
        norm = RMSNorm if llama else LayerNorm
        rows = -(-c.vocab_size // ROWS) * ROWS
        self.embedding = nn.Embedding(rows, c.hidden_size)
        self.positions = None if llama else nn.Parameter(torch.zeros(c.seq_len, c.hidden_size))
        self.blocks = nn.ModuleList()
        for _ in range(c.layers):
            self.blocks.append(nn.ModuleList(
                [norm(c.hidden_size), Attention(c), norm(c.hidden_size), SwiGLU(c) if llama else GELU(c)]))
        self.final_norm = norm(c.hidden_size)
        self.head = nn.Linear(c.hidden_size, rows, bias=False)
        if not llama:
            self.head.weight = self.embedding.weight
        head_dim = c.hidden_size // c.heads
        angle = torch.outer(torch.arange(c.seq_len).float(),
                            10000.0 ** (-torch.arange(0, head_dim, 2).float() / head_dim))
        self.register_buffer("cos", angle.cos() if llama else None)
        self.register_buffer("sin", angle.sin() if llama else None)
        for parameter in self.parameters():
            if parameter.dim() == 2:
                nn.init.normal_(parameter, std=c.std)

    def forward(self, ids, targets):
        x = self.embedding(ids)
        if self.positions is not None:
            x = x + self.positions
        x = x.to(torch.bfloat16)  # the residual stream, as Headroom keeps it
        rotary = None if self.cos is None else (self.cos, self.sin)
        for attention_norm, attention, mlp_norm, mlp in self.blocks:
            x = x + attention(attention_norm(x), rotary)
            x = x + mlp(mlp_norm(x))
        return F.cross_entropy(self.head(self.final_norm(x)).flatten(0, 1).float(), targets.flatten())


def train(c):
    cuda = given.device == "cuda"
    torch.manual_seed(0)
    torch.set_float32_matmul_precision("high")
    with torch.device(given.device):
        model = Model(c)
        tokens = torch.randint(0, c.vocab_size, (c.batch, c.seq_len + 1))
    ids, targets = tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()
    parameters = list(model.parameters())
    padding = -c.vocab_size % ROWS * c.hidden_size * (2 if c.kind == "llama" else 1)
    groups = [{"params": [p for p in parameters if p.dim() == 2], "weight_decay": 0.1},
              {"params": [p for p in parameters if p.dim() == 1], "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=6e-4, betas=(0.9, 0.95), eps=1e-7, **({"fused": True} if cuda else {}))
    forward = torch.compile(model) if given.mode == "compile" else model

    def step():
        with torch.autocast(given.device, dtype=torch.bfloat16):
            loss = forward(ids, targets)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.detach()

    wait = torch.cuda.synchronize if cuda else (lambda: None)
    for number in range(given.warmup):
        print(f"warm-up {number + 1}: loss {step().item():.4f}", flush=True)
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    times = []
    for number in range(given.steps):
        wait()
        begin = time.perf_counter()
        loss = step()
        wait()
        times.append(time.perf_counter() - begin)
    print(f"loss {loss.item():.4f}, steps of {1e3 * min(times):.2f} to {1e3 * max(times):.2f} ms")
    seconds = statistics.median(times)
    return {
        "tokens_per_second": c.batch * c.seq_len / seconds,
        "step_seconds": seconds,
        "peak_memory_bytes": torch.cuda.max_memory_allocated() if cuda else 0,
        "reserved_memory_bytes": torch.cuda.max_memory_reserved() if cuda else 0,
        "parameters": sum(parameter.numel() for parameter in parameters) - padding,
        "batch": c.batch,
        "mode": given.mode,
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name() if cuda else "cpu",
    }


def main():
    found = probe()
    if given.probe:
        print(found)
        return
    try:
        result = train(shape)
    except torch.cuda.OutOfMemoryError as error:
        print(f"out of memory: {error}", file=sys.stderr)
        sys.exit(OUT_OF_MEMORY)
    print(json.dumps(result, separators=(",", ":")))


if __name__ == "__main__":
    main()
