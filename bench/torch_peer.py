#!/usr/bin/env python3
"""The peer to measure against: the training step of configs/bench.toml in eager PyTorch, float32, on the CPU.

    bench/torch_peer.py [--config configs/bench.toml] [--threads 2] [--warmup 2] [--steps 8]

Same model (RMSNorm, SwiGLU, rotary positions, causal attention, untied head), same AdamW with clipping (weight decay on
matrices and embeddings, not on norms), written the way one writes it by hand; `scaled_dot_product_attention` where this
PyTorch has it. The last line is JSON: tokens_per_second, step_seconds (medians), peak_memory_bytes, parameters,
threads, torch, blas (the library that was loaded for it).
"""

import argparse
import json
import math
import pathlib
import resource
import statistics
import time
import tomllib

import torch
import torch.nn as nn
import torch.nn.functional as F

EPS = 1e-5
FUSED_ATTENTION = hasattr(F, "scaled_dot_product_attention")


class RMSNorm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + EPS) * self.weight


def rotate(x, cos, sin):
    """x [B, H, T, head_dim], halves convention."""
    x1, x2 = x.chunk(2, -1)
    return torch.cat((x1 * cos - x2 * sin, x2 * cos + x1 * sin), -1)


class Block(nn.Module):
    def __init__(self, c):
        super().__init__()
        d, f = c["hidden_size"], c["ffn_size"]
        self.heads = c["n_heads"]
        self.attention_norm, self.mlp_norm = RMSNorm(d), RMSNorm(d)
        self.qkv = nn.Linear(d, 3 * d, bias=False)
        self.o = nn.Linear(d, d, bias=False)
        self.gate = nn.Linear(d, f, bias=False)
        self.up = nn.Linear(d, f, bias=False)
        self.down = nn.Linear(f, d, bias=False)

    def forward(self, x, cos, sin, mask):
        batch, seq, d = x.shape
        head_dim = d // self.heads
        qkv = self.qkv(self.attention_norm(x)).view(batch, seq, 3, self.heads, head_dim)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        if FUSED_ATTENTION:
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            y = (q @ k.transpose(-1, -2) / math.sqrt(head_dim) + mask).softmax(-1) @ v
        x = x + self.o(y.transpose(1, 2).reshape(batch, seq, d))
        h = self.mlp_norm(x)
        return x + self.down(F.silu(self.gate(h)) * self.up(h))


class Model(nn.Module):
    def __init__(self, c):
        super().__init__()
        d, seq, head_dim = c["hidden_size"], c["seq_len"], c["hidden_size"] // c["n_heads"]
        self.embedding = nn.Embedding(c["vocab_size"], d)
        self.blocks = nn.ModuleList(Block(c) for _ in range(c["n_layers"]))
        self.final_norm = RMSNorm(d)
        self.head = nn.Linear(d, c["vocab_size"], bias=False)
        angle = torch.outer(torch.arange(seq).float(), 10000.0 ** (-torch.arange(0, head_dim, 2).float() / head_dim))
        self.register_buffer("cos", angle.cos())
        self.register_buffer("sin", angle.sin())
        self.register_buffer("mask", torch.full((seq, seq), float("-inf")).triu(1))

    def forward(self, ids, targets):
        x = self.embedding(ids)
        for block in self.blocks:
            x = block(x, self.cos, self.sin, self.mask)
        return F.cross_entropy(self.head(self.final_norm(x)).flatten(0, 1), targets.flatten())


def loaded_blas():
    """The file behind libblas.so.3 in this process; None where torch brings its own."""
    for line in pathlib.Path("/proc/self/maps").read_text().splitlines():
        path = pathlib.Path(line.split()[-1])
        if path.name.startswith("libblas."):
            return str(path)
    return None


def main():
    root = pathlib.Path(__file__).resolve().parent.parent
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=pathlib.Path, default=root / "configs/bench.toml")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--warmup", type=int, default=2, help="steps before the clock runs")
    parser.add_argument("--steps", type=int, default=8, help="steps that count")
    arguments = parser.parse_args()
    config = tomllib.loads(arguments.config.read_text())
    c, batch = config["model"], config["train"]["global_batch"]

    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    model = Model(c)
    for parameter in model.parameters():
        if parameter.dim() == 2:
            nn.init.normal_(parameter, std=0.02)
    matrices = [parameter for parameter in model.parameters() if parameter.dim() == 2]
    gains = [parameter for parameter in model.parameters() if parameter.dim() == 1]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": gains, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=6e-4, betas=(0.9, 0.95), eps=1e-7)
    tokens = torch.randint(0, c["vocab_size"], (batch, c["seq_len"] + 1))

    times = []
    for step in range(arguments.warmup + arguments.steps):
        begin = time.perf_counter()
        loss = model(tokens[:, :-1], tokens[:, 1:])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        times.append(time.perf_counter() - begin)
        print(f"step {step + 1} loss {loss.item():.4f} {1e3 * times[-1]:.0f} ms", flush=True)

    step_seconds = statistics.median(times[arguments.warmup :])
    print(
        json.dumps(
            {
                "tokens_per_second": batch * c["seq_len"] / step_seconds,
                "step_seconds": step_seconds,
                "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
                "parameters": sum(parameter.numel() for parameter in model.parameters()),
                "threads": arguments.threads,
                "torch": torch.__version__,
                "blas": loaded_blas(),
            }
        )
    )


if __name__ == "__main__":
    main()
