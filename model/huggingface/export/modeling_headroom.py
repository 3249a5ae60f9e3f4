"""A Headroom model in PyTorch, plainly written: for loading its checkpoints in transformers, where no architecture
there has their switches. Attention is written out; keys and values are cached for generation. It says what it computes
in the order in which it is computed; nothing in it is fused."""

import torch
from torch import nn
from torch.nn import functional
from transformers import GenerationMixin, PreTrainedModel
from transformers.cache_utils import DynamicCache
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast

from .configuration_headroom import HeadroomConfig

# What transformers calls the cache, as an argument and in an output: newer versions, older ones.
CACHE = "cache" if "cache" in BaseModelOutputWithPast.__dataclass_fields__ else "past_key_values"
# Arguments that versions of transformers or their tokenizers give and that this model need not be told.
SUPERFLUOUS = {"cache_position", "token_type_ids"}


def rms(x, eps):
    """x / sqrt(mean(x^2) + eps) over the last axis, in float32 at least."""
    wide = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
    return (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + eps)).to(x.dtype)


class RmsNorm(nn.Module):
    def __init__(self, size, eps):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x):
        return self.weight * rms(x, self.eps)


class DynamicTanh(nn.Module):
    def __init__(self, size, bias):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.bias = nn.Parameter(torch.zeros(size)) if bias else None
        self.alpha = nn.Parameter(torch.ones(1))

    def forward(self, x):
        y = self.weight * torch.tanh(self.alpha * x)
        return y if self.bias is None else y + self.bias


def make_norm(config):
    if config.norm == "rms":
        return RmsNorm(config.hidden_size, config.norm_eps)
    if config.norm == "layer":
        return nn.LayerNorm(config.hidden_size, config.norm_eps, bias=config.norm_bias)
    return DynamicTanh(config.hidden_size, config.norm_bias)


def rotary_table(positions, config, like):
    """cos and sin [batch, 1, length, head_dim / 2] of positions [batch, length]; angles in float64."""
    pairs = torch.arange(0, config.head_dim, 2, dtype=torch.float64)
    angles = positions.cpu().double().unsqueeze(-1) * config.rope_theta ** (-pairs / config.head_dim)
    return (angles.cos().unsqueeze(1).to(like.device, like.dtype), angles.sin().unsqueeze(1).to(like.device, like.dtype))


def rotate(x, table):
    """The first half of a head's channels is paired with the second."""
    cos, sin = table
    first, second = x.chunk(2, -1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), -1)


class Attention(nn.Module):
    def __init__(self, config, layer):
        super().__init__()
        self.config = config
        self.layer = layer
        width = config.num_key_value_heads * config.head_dim
        self.q = nn.Linear(config.hidden_size, config.num_attention_heads * config.head_dim, bias=config.bias)
        self.k = nn.Linear(config.hidden_size, width, bias=config.bias)
        self.v = nn.Linear(config.hidden_size, width, bias=config.bias)
        self.o = nn.Linear(config.num_attention_heads * config.head_dim, config.hidden_size, bias=config.bias)
        if config.qk_norm:
            self.q_norm = RmsNorm(config.head_dim, config.norm_eps)
            self.k_norm = RmsNorm(config.head_dim, config.norm_eps)
        if config.kv_bias != "none":
            self.bias_key = nn.Parameter(torch.zeros(config.num_key_value_heads, config.head_dim))
        if config.kv_bias == "kv":
            self.bias_value = nn.Parameter(torch.zeros(config.num_key_value_heads, config.head_dim))

    def forward(self, x, table, mask, cache):
        """x [batch, length, hidden]; mask [batch, 1, length, keys], True where a query sees a key. Gives the output and
        the probabilities [batch, heads, length, keys], behind which the bias slot's are where there is a KV bias."""
        config = self.config
        batch, length, _ = x.shape
        heads = lambda y: y.view(batch, length, -1, config.head_dim).transpose(1, 2)
        q, k, v = heads(self.q(x)), heads(self.k(x)), heads(self.v(x))
        if config.qk_norm:
            q, k = self.q_norm(q), self.k_norm(k)
        if table is not None:
            q, k = rotate(q, table), rotate(k, table)
        if cache is not None:
            k, v = cache.update(k, v, self.layer)
        group = config.num_attention_heads // config.num_key_value_heads
        k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
        scale = config.head_dim**-0.5
        scores = (q @ k.transpose(-1, -2)) * scale
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
        if config.kv_bias != "none":
            key = self.bias_key.repeat_interleave(group, 0).unsqueeze(-1)
            scores = torch.cat((scores, (q @ key) * scale), -1)
        wide = torch.float32 if scores.dtype in (torch.float16, torch.bfloat16) else scores.dtype
        mass = torch.softmax(scores, -1, dtype=wide).to(q.dtype)
        y = mass[..., : k.shape[2]] @ v
        if config.kv_bias == "kv":
            y = y + mass[..., -1:] * self.bias_value.repeat_interleave(group, 0).unsqueeze(1)
        return self.o(y.transpose(1, 2).reshape(batch, length, -1)), mass


class FeedForward(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.activation = config.activation
        if config.activation == "swiglu":
            self.gate = nn.Linear(config.hidden_size, config.intermediate_size, bias=config.bias)
        self.up = nn.Linear(config.hidden_size, config.intermediate_size, bias=config.bias)
        self.down = nn.Linear(config.intermediate_size, config.hidden_size, bias=config.bias)

    def forward(self, x):
        inner = self.up(x)
        if self.activation == "swiglu":
            inner = functional.silu(self.gate(x)) * inner
        elif self.activation == "relu":
            inner = functional.relu(inner)
        else:
            inner = functional.gelu(inner, approximate="tanh" if self.activation == "gelu_tanh" else "none")
        return self.down(inner)


class Block(nn.Module):
    def __init__(self, config, layer):
        super().__init__()
        self.attention_norm = make_norm(config)
        self.attention = Attention(config, layer)
        self.mlp_norm = make_norm(config)
        self.mlp = FeedForward(config)

    def forward(self, x, table, mask, cache):
        y, mass = self.attention(self.attention_norm(x), table, mask, cache)
        x = x + y
        return x + self.mlp(self.mlp_norm(x)), mass


class HeadroomPreTrainedModel(PreTrainedModel):
    config_class = HeadroomConfig
    base_model_prefix = "model"
    _no_split_modules = ["Block"]
    _supports_sdpa = False
    _supports_flash_attn = False

    def _init_weights(self, module):
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, 0.0, self.config.initializer_range)
            if getattr(module, "bias", None) is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, Attention) and self.config.kv_bias != "none":
            nn.init.normal_(module.bias_key, 0.0, self.config.initializer_range)
            if self.config.kv_bias == "kv":
                nn.init.normal_(module.bias_value, 0.0, self.config.initializer_range)
        elif isinstance(module, (RmsNorm, DynamicTanh, nn.LayerNorm)):
            nn.init.ones_(module.weight)
            if getattr(module, "bias", None) is not None:
                nn.init.zeros_(module.bias)
            if isinstance(module, DynamicTanh):
                nn.init.ones_(module.alpha)
        elif isinstance(module, HeadroomModel) and self.config.embedding_scale:
            nn.init.constant_(module.embedding_scale, self.config.hidden_size**0.5)


class HeadroomModel(HeadroomPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.embedding = nn.Embedding(config.vocab_size, config.hidden_size)
        if config.embedding_scale:
            self.embedding_scale = nn.Parameter(torch.ones(1))
        if config.positions == "learned":
            self.positions = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.layers = nn.ModuleList(Block(config, layer) for layer in range(config.num_hidden_layers))
        self.final_norm = make_norm(config)
        self.post_init()

    def get_input_embeddings(self):
        return self.embedding

    def set_input_embeddings(self, embedding):
        self.embedding = embedding

    def forward(
        self,
        input_ids=None,
        attention_mask=None,
        position_ids=None,
        past_key_values=None,
        cache=None,
        inputs_embeds=None,
        use_cache=None,
        output_attentions=None,
        output_hidden_states=None,
        return_dict=None,
        **kwargs,
    ):
        """attention_mask [batch, keys so far]: 1 or True where there is a token. `cache` and `past_key_values` are the
        same. The last of the hidden states is behind the final norm, as transformers' own models have it."""
        unknown = sorted(set(kwargs) - SUPERFLUOUS)
        if unknown:
            raise TypeError(f"forward() got unexpected arguments: {', '.join(unknown)}")
        config = self.config
        chosen = lambda given, default: default if given is None else given
        output_attentions = chosen(output_attentions, getattr(config, "output_attentions", False))
        output_hidden_states = chosen(output_hidden_states, getattr(config, "output_hidden_states", False))
        x = self.embedding(input_ids) if inputs_embeds is None else inputs_embeds
        cache = chosen(cache, past_key_values)
        if chosen(use_cache, config.use_cache and not self.training) and cache is None:
            cache = DynamicCache()
        past = 0 if cache is None else cache.get_seq_length()
        queries = torch.arange(past, past + x.shape[1], device=x.device)
        mask = (torch.arange(past + x.shape[1], device=x.device) <= queries.unsqueeze(1))[None, None]
        if attention_mask is not None:
            if attention_mask.dim() != 2:
                raise ValueError("attention_mask must be [batch, keys]")
            mask = mask & attention_mask.bool()[:, None, None, :]
        if position_ids is None and attention_mask is not None:
            # Padding has no position: learned ones, and rotated queries against a KV bias, are not relative.
            position_ids = (attention_mask.long().cumsum(-1) - 1).clamp(min=0)[:, past:]
        elif position_ids is None:
            position_ids = queries.unsqueeze(0)
        if config.embedding_scale:
            x = x * self.embedding_scale
        table = None
        if config.positions == "learned":
            x = x + self.positions(position_ids)
        else:
            table = rotary_table(position_ids, config, x)
        states, masses = (x,), ()
        for block in self.layers:
            x, mass = block(x, table, mask, cache)
            states += (x,)
            masses += (mass,)
        x = self.final_norm(x)
        output = BaseModelOutputWithPast(
            last_hidden_state=x,
            **{CACHE: cache},
            hidden_states=states[:-1] + (x,) if output_hidden_states else None,
            attentions=masses if output_attentions else None,
        )
        return output if chosen(return_dict, True) else output.to_tuple()


class HeadroomForCausalLM(HeadroomPreTrainedModel, GenerationMixin):
    _tied_weights_keys = {"lm_head.weight": "model.embedding.weight"}
    accepts_loss_kwargs = True  # num_items_in_batch, for Trainer

    def __init__(self, config):
        super().__init__(config)
        self.model = HeadroomModel(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def get_input_embeddings(self):
        return self.model.embedding

    def set_input_embeddings(self, embedding):
        self.model.embedding = embedding

    def get_output_embeddings(self):
        return self.lm_head

    def set_output_embeddings(self, head):
        self.lm_head = head

    def forward(
        self, input_ids=None, labels=None, logits_to_keep=0, return_dict=None, num_items_in_batch=None, **kwargs
    ):
        """labels [batch, length]: -100 is left out of the mean; they are shifted here. num_items_in_batch: what the sum
        is divided by instead, where this is a part of a larger batch. logits_to_keep: only those of so many last tokens;
        0: all."""
        output = self.model(input_ids, return_dict=True, **kwargs)
        x = output.last_hidden_state
        logits = self.lm_head(x[:, -logits_to_keep:] if logits_to_keep else x)
        loss = None
        if labels is not None:
            loss = self.loss_function(
                logits=logits,
                labels=labels,
                vocab_size=self.config.vocab_size,
                num_items_in_batch=num_items_in_batch,
            )
        result = CausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            **{CACHE: output[CACHE] if CACHE in output else None},
            hidden_states=output.hidden_states,
            attentions=output.attentions,
        )
        return result if return_dict is None or return_dict else result.to_tuple()
