"""Configuration of a Headroom model: every switch of its architecture, as config.json has them."""

from transformers import PretrainedConfig


class HeadroomConfig(PretrainedConfig):
    """
    norm             "rms", "layer" or "dyt": weight * tanh(alpha * x) + bias
    norm_bias        whether LayerNorm and DyT have a bias
    activation       of the feed-forward: "swiglu", "gelu" (exact), "gelu_tanh" or "relu"
    positions        "rotary" or "learned"
    bias             of every linear layer of a block
    qk_norm          RMSNorm over each head's queries and keys, before they are rotated
    kv_bias          "none"; "kv": a learned key and value per key-value head that every query sees, too; "k": its value is 0
    embedding_scale  whether the embedding is multiplied by a learned number
    """

    model_type = "headroom"
    keys_to_ignore_at_inference = ["past_key_values"]

    def __init__(
        self,
        vocab_size=32000,
        hidden_size=384,
        intermediate_size=1024,
        num_hidden_layers=6,
        num_attention_heads=6,
        num_key_value_heads=None,
        head_dim=None,
        max_position_embeddings=256,
        norm="rms",
        norm_eps=1e-5,
        norm_bias=False,
        activation="swiglu",
        positions="rotary",
        rope_theta=10000.0,
        bias=False,
        qk_norm=False,
        kv_bias="none",
        embedding_scale=False,
        initializer_range=0.02,
        use_cache=True,
        tie_word_embeddings=False,
        **kwargs,
    ):
        for name, value, choices in (
            ("norm", norm, ("rms", "layer", "dyt")),
            ("activation", activation, ("swiglu", "gelu", "gelu_tanh", "relu")),
            ("positions", positions, ("rotary", "learned")),
            ("kv_bias", kv_bias, ("none", "kv", "k")),
        ):
            if value not in choices:
                raise ValueError(f"{name} is one of {', '.join(choices)}, not {value!r}")
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.intermediate_size = intermediate_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.num_key_value_heads = num_key_value_heads or num_attention_heads
        self.head_dim = head_dim or hidden_size // num_attention_heads
        self.max_position_embeddings = max_position_embeddings
        self.norm = norm
        self.norm_eps = norm_eps
        self.norm_bias = norm_bias
        self.activation = activation
        self.positions = positions
        self.rope_theta = rope_theta
        self.bias = bias
        self.qk_norm = qk_norm
        self.kv_bias = kv_bias
        self.embedding_scale = embedding_scale
        self.initializer_range = initializer_range
        self.use_cache = use_cache
        super().__init__(tie_word_embeddings=tie_word_embeddings, **kwargs)
