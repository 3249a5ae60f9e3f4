#include "trainer/config_table.h"

#include <limits>
#include <type_traits>
#include <utility>

namespace headroom {
namespace {

constexpr std::int64_t kMostSteps = 1'000'000'000'000;
constexpr std::int64_t kMostSize = std::int64_t{1} << 24;
constexpr double kInfinity = std::numeric_limits<double>::infinity();

constexpr IntegerRange kAnyCount{0, kMostSteps};
constexpr IntegerRange kCount{1, kMostSteps};
constexpr IntegerRange kSize{1, kMostSize};
constexpr IntegerRange kSizeOrAuto{0, kMostSize};
constexpr RealRange kPositive{0.0, kInfinity, true, true};
constexpr RealRange kNotNegative{0.0, kInfinity, false, true};
constexpr RealRange kDecay{0.0, 1.0, false, true};

// Whether a key is part of the fingerprint.
enum class Effect : std::uint8_t { computes, does_not_compute };
using enum Effect;

template <class Member>
using MemberType = std::remove_cvref_t<std::invoke_result_t<Member, RunConfig&>>;

// Binds a key whose TOML type is Value to a member (a function from a config to a reference) of any type that
// converts to and from it.
template <class Value, class Member>
ConfigKey bound(std::string name, ConfigKind kind, Effect effect, std::string unit, std::string help, Member member) {
  return {.name = std::move(name),
          .kind = kind,
          .unit = std::move(unit),
          .help = std::move(help),
          .computes = effect == computes,
          .get = [member](const RunConfig& config) -> ConfigValue { return static_cast<Value>(member(config)); },
          .set =
              [member](RunConfig& config, const ConfigValue& value) {
                member(config) = static_cast<MemberType<Member>>(std::get<Value>(value));
              }};
}

template <class Member>
ConfigKey boolean(std::string name, Member member, Effect effect, std::string help) {
  return bound<bool>(std::move(name), ConfigKind::boolean, effect, "", std::move(help), member);
}

template <class Member>
ConfigKey integer(std::string name, Member member, IntegerRange range, std::string unit, Effect effect,
                  std::string help) {
  ConfigKey key =
      bound<std::int64_t>(std::move(name), ConfigKind::integer, effect, std::move(unit), std::move(help), member);
  key.integers = range;
  return key;
}

template <class Member>
ConfigKey real(std::string name, Member member, RealRange range, std::string unit, Effect effect, std::string help) {
  ConfigKey key = bound<double>(std::move(name), ConfigKind::real, effect, std::move(unit), std::move(help), member);
  key.reals = range;
  return key;
}

template <class Member>
ConfigKey text(std::string name, Member member, std::string help) {
  return bound<std::string>(std::move(name), ConfigKind::text, does_not_compute, "", std::move(help), member);
}

template <class Member>
ConfigKey path(std::string name, Member member, std::string help) {
  return bound<std::string>(std::move(name), ConfigKind::path, does_not_compute, "", std::move(help), member);
}

// A choice kept as an enumeration (`choices` in the order of its enumerators, from 0) or as the string itself.
template <class Member>
ConfigKey choice(std::string name, Member member, std::vector<std::string> choices, Effect effect, std::string help) {
  ConfigKey key{.name = std::move(name),
                .kind = ConfigKind::choice,
                .unit = "",
                .help = std::move(help),
                .computes = effect == computes,
                .get = nullptr,
                .set = nullptr};
  if constexpr (std::is_enum_v<MemberType<Member>>) {
    key.get = [member, choices](const RunConfig& config) -> ConfigValue {
      return choices.at(static_cast<std::size_t>(member(config)));
    };
    key.set = [member, choices](RunConfig& config, const ConfigValue& value) {
      std::size_t index = 0;
      while (choices.at(index) != std::get<std::string>(value)) ++index;
      member(config) = static_cast<MemberType<Member>>(index);
    };
  } else {
    key.get = [member](const RunConfig& config) -> ConfigValue { return member(config); };
    key.set = [member](RunConfig& config, const ConfigValue& value) { member(config) = std::get<std::string>(value); };
  }
  key.choices = std::move(choices);
  return key;
}

// A member as a function of the config, and its path as the key's name: KEY(optim.lr) is "optim.lr", config.optim.lr.
#define MEMBER(path)          \
  [](auto& config) -> auto& { \
    return config.path;       \
  }
#define KEY(path) #path, MEMBER(path)

void add_general(std::vector<ConfigKey>& keys) {
  keys.push_back(text(KEY(name), "the run's directory under runs_dir"));
  keys.push_back(path(KEY(runs_dir), "where runs are kept"));
  keys.push_back(text(KEY(variant), "a label for reports, for example \"TVR + DyT\""));
  keys.push_back(choice(KEY(device), {"auto", "cpu", "cuda"}, does_not_compute,
                        "where the model computes; auto: on a GPU if there is one"));
  keys.push_back(integer(KEY(seed), {0, std::numeric_limits<std::int64_t>::max()}, "", computes,
                         "initialisation and data order follow from it"));
}

void add_model(std::vector<ConfigKey>& keys) {
  keys.push_back(integer(KEY(model.vocab_size), kSizeOrAuto, "tokens", computes, "vocabulary; 0 takes the corpus'"));
  keys.push_back(integer(KEY(model.hidden_size), kSize, "channels", computes, "width of the residual stream"));
  keys.push_back(integer(KEY(model.n_layers), {1, 10'000}, "", computes, "decoder blocks"));
  keys.push_back(integer(KEY(model.n_heads), kSize, "", computes, "query heads"));
  keys.push_back(integer(KEY(model.n_kv_heads), kSizeOrAuto, "", computes, "key-value heads; 0 means n_heads"));
  keys.push_back(integer(KEY(model.head_dim), kSizeOrAuto, "channels", computes,
                         "width of a head; 0 means hidden_size / n_heads"));
  keys.push_back(integer(KEY(model.ffn_size), kSize, "channels", computes, "inner width of the feed-forward layer"));
  keys.push_back(integer(KEY(model.seq_len), kSize, "tokens", computes, "context length"));
  keys.push_back(choice(KEY(model.norm), {"rms", "layer", "dyt"}, computes,
                        "RMSNorm, LayerNorm, or Dynamic Tanh in place of every norm"));
  keys.push_back(real(KEY(model.norm_eps), kPositive, "", computes, "epsilon of RMSNorm and LayerNorm"));
  keys.push_back(boolean(KEY(model.norm_bias), computes, "whether LayerNorm and DyT have a beta"));
  keys.push_back(choice(KEY(model.activation), {"swiglu", "gelu", "gelu_tanh", "relu"}, computes,
                        "of the feed-forward layer; gelu is the exact form"));
  keys.push_back(choice(KEY(model.positions), {"rotary", "learned"}, computes, "how positions enter"));
  keys.push_back(real(KEY(model.rope_theta), kPositive, "", computes, "base of the rotary embedding"));
  keys.push_back(boolean(KEY(model.bias), computes, "biases on every linear layer of a block"));
  keys.push_back(boolean(KEY(model.tied_head), computes, "the head shares the embedding's weight"));
  keys.push_back(boolean(KEY(model.qk_norm), computes, "RMSNorm over each head's queries and keys"));
  keys.push_back(boolean(KEY(model.embedding_scale), computes,
                         "a learned scalar on the embedding, from sqrt(hidden_size) (DyT's recipe)"));
  keys.push_back(choice(KEY(model.attention.kv_bias), {"none", "kv", "k"}, computes,
                        "a learned key and value per head that every query sees; k: its value is 0"));
  keys.push_back(real(KEY(model.dyt.alpha_attention), kNotNegative, "", computes,
                      "initial alpha of the norm before attention; 0 takes the published value for the width"));
  keys.push_back(real(KEY(model.dyt.alpha_other), kNotNegative, "", computes,
                      "initial alpha elsewhere; 0 takes the published value for the width"));
  keys.push_back(
      real("init.std", MEMBER(model.init.std), kNotNegative, "", computes, "standard deviation of initial weights"));
  keys.push_back(choice("init.scheme", MEMBER(model.init.scheme), {"plain", "gpt2"}, computes,
                        "gpt2 divides the std of output projections by sqrt(2 n_layers)"));
  keys.push_back(boolean("init.lir", MEMBER(model.init.lir), computes,
                         "Layer Index Rescaling: divides the std of layer l's weights by sqrt(l)"));
  keys.push_back(real("init.kv_bias_std", MEMBER(model.init.kv_bias_std), kNotNegative, "", computes,
                      "standard deviation of the KV bias' initial values"));
}

void add_optim(std::vector<ConfigKey>& keys) {
  keys.push_back(real(KEY(optim.lr), kPositive, "", computes, "learning rate after warm-up"));
  keys.push_back(real(KEY(optim.min_lr), kNotNegative, "", computes, "learning rate that the schedule decays to"));
  keys.push_back(real(KEY(optim.beta1), kDecay, "", computes, "AdamW's decay of the first moment"));
  keys.push_back(real(KEY(optim.beta2), kDecay, "", computes, "AdamW's decay of the second moment"));
  keys.push_back(real(KEY(optim.eps), kPositive, "", computes, "AdamW's epsilon"));
  keys.push_back(real(KEY(optim.weight_decay), kNotNegative, "", computes, "decoupled weight decay"));
  keys.push_back(real(KEY(optim.clip), kNotNegative, "", computes, "limit of the global gradient norm; 0: none"));
  keys.push_back(choice(KEY(optim.moments), {"wide", "bf16"}, computes,
                        "format of Adam's moments: that of the gradients, or bf16 (on a GPU)"));
  keys.push_back(choice(KEY(optim.schedule.kind), {"cosine", "linear", "wsd", "constant"}, computes,
                        "how the learning rate falls after warm-up"));
  keys.push_back(integer(KEY(optim.schedule.warmup_steps), kAnyCount, "steps", computes, "linear warm-up"));
  keys.push_back(integer(KEY(optim.schedule.warmup_tokens), {0, std::numeric_limits<std::int64_t>::max()}, "tokens",
                         computes, "linear warm-up, used when warmup_steps is 0"));
  keys.push_back(real(KEY(optim.schedule.decay_fraction), {0.0, 1.0, true, false}, "of the run", computes,
                      "length of the final decay of wsd"));
  keys.push_back(boolean(KEY(optim.tvr.enabled), computes, "Target Variance Rescaling"));
  keys.push_back(integer(KEY(optim.tvr.interval), kCount, "steps", computes, "between rescalings"));
  keys.push_back(real(KEY(optim.tvr.threshold), kPositive, "", computes, "rescale where std / target exceeds it"));
  keys.push_back(real(KEY(optim.tvr.target), kPositive, "", computes, "standard deviation to rescale to"));
  keys.push_back(boolean(KEY(optim.tvr.layer_scaled), computes, "divide layer l's target by sqrt(l)"));
}

void add_data_and_train(std::vector<ConfigKey>& keys) {
  keys.push_back(path(KEY(data.corpus), "corpus directory (made by headroom tokenize) or token file"));
  keys.push_back(path(KEY(data.valid), "held-out token file, when corpus is a file"));
  keys.push_back(
      path(KEY(data.tokenizer), "tokenizer (file or directory) in place of the corpus' own; must be the same one"));
  keys.push_back(integer(KEY(train.steps), kCount, "steps", computes, "optimizer updates"));
  keys.push_back(integer(KEY(train.global_batch), kSize, "sequences", computes, "of a step, over all ranks"));
  keys.push_back(integer(KEY(train.micro_batch), kSizeOrAuto, "sequences", does_not_compute,
                         "a rank takes at a time; 0 takes its whole share"));
  keys.push_back(
      choice(KEY(train.dtype), {"f32", "f64", "bf16"}, computes,
             "number format of weights and activations; bf16 on a GPU, with f32 master weights and gradients"));
  keys.push_back(choice(KEY(train.recompute), {"none", "norms", "attention", "block"}, does_not_compute,
                        "what the backward makes again instead of keeping it: norms (and activations), attention, or "
                        "the whole block; each includes those before it"));
  keys.push_back(integer(KEY(train.loss_chunk), kSize, "tokens", does_not_compute, "whose logits exist at once"));
  keys.push_back(real(KEY(train.bucket_mb), {0.0, 65536.0, true, false}, "MiB", does_not_compute,
                      "size of the buckets gradients are reduced in"));
}

void add_parallel(std::vector<ConfigKey>& keys) {
  keys.push_back(integer(KEY(parallel.data), {0, 1 << 20}, "ranks", does_not_compute,
                         "data parallelism; 0 takes what tensor parallelism leaves"));
  keys.push_back(integer(KEY(parallel.tensor), {1, 1 << 20}, "ranks", does_not_compute, "tensor parallelism"));
  keys.push_back(integer(KEY(parallel.threads), {0, 4096}, "a rank", does_not_compute,
                         "compute threads; 0 divides the host's cores by its ranks"));
  keys.push_back(choice(KEY(parallel.transport), {"auto", "nccl", "staged"}, does_not_compute,
                        "how GPUs exchange tensors: NCCL, or MPI through host memory; auto: NCCL where each rank has "
                        "its own GPU"));
}

void add_watching(std::vector<ConfigKey>& keys) {
  keys.push_back(
      integer(KEY(eval.every), kAnyCount, "steps", does_not_compute, "between evaluations; 0: only at the end"));
  keys.push_back(integer(KEY(eval.windows), kAnyCount, "sequences", does_not_compute,
                         "held-out windows of an evaluation; 0: all"));
  keys.push_back(integer(KEY(snapshot.every), kAnyCount, "steps", does_not_compute,
                         "between snapshots; 0: only after the last step"));
  keys.push_back(bound<std::vector<std::string>>("snapshot.sentences", ConfigKind::text_list, does_not_compute, "",
                                                 "probe sentences, whose raw states are kept",
                                                 MEMBER(snapshot.sentences)));
  keys.push_back(integer(KEY(snapshot.calibration_sequences), {0, 1'000'000}, "sequences", does_not_compute,
                         "held-out windows that statistics are taken over"));
  keys.push_back(integer(KEY(snapshot.calibration_tokens), kSize, "tokens", does_not_compute,
                         "of each calibration sequence; at most model.seq_len"));
  keys.push_back(integer(KEY(snapshot.top_k), {1, 10'000}, "", does_not_compute,
                         "largest activations kept of each layer and site"));
  keys.push_back(boolean(KEY(monitor.enabled), does_not_compute, "record max and median |h| of each layer every step"));
  keys.push_back(
      integer(KEY(checkpoint.every), kAnyCount, "steps", does_not_compute, "between checkpoints; 0: only at the end"));
  keys.push_back(integer(KEY(checkpoint.keep), {1, 1'000'000}, "", does_not_compute, "newest checkpoints kept"));
  keys.push_back(integer(KEY(checkpoint.keep_every), kAnyCount, "steps", does_not_compute,
                         "whose multiples' checkpoints are kept for good; 0: none"));
  keys.push_back(boolean(KEY(log.tensorboard), does_not_compute, "write TensorBoard event files"));
  keys.push_back(choice(KEY(log.level), {"trace", "debug", "info", "warning", "error"}, does_not_compute,
                        "least severe messages shown"));
}

void add_faults(std::vector<ConfigKey>& keys) {
  keys.push_back(real(KEY(bad_steps.spike), kNotNegative, "standard deviations", computes,
                      "above the window's mean, of loss or gradient norm, that a step is left out for; 0: only numbers "
                      "that are not finite"));
  keys.push_back(integer(KEY(bad_steps.window), {8, 1'000'000}, "steps", computes, "that spikes are measured by"));
  keys.push_back(integer(KEY(bad_steps.patience), {1, 1'000'000}, "steps", does_not_compute,
                         "bad ones in a row before bad_steps.then"));
  keys.push_back(choice(KEY(bad_steps.then), {"stop", "rollback"}, does_not_compute,
                        "rollback: go back to the last checkpoint and leave the bad steps' samples out"));
  keys.push_back(integer(KEY(bad_steps.rollbacks), {0, 1'000'000}, "", does_not_compute,
                         "without a new checkpoint in between, before the run stops all the same"));
  keys.push_back(choice(KEY(faults.signal), {"none", "USR1", "USR2"}, does_not_compute,
                        "asks the run to save and stop, like TERM and INT"));
  keys.push_back(real(KEY(faults.timeout), kNotNegative, "s", does_not_compute,
                      "that a rank may wait for others or a file system before the job is ended; 0: for ever"));
  keys.push_back(real(KEY(faults.straggler_ratio), kNotNegative, "", does_not_compute,
                      "of a rank's busy time to the median, beyond which the metrics name it; 0: never"));
  keys.push_back(
      integer(KEY(faults.straggler_window), kCount, "steps", does_not_compute, "that stragglers are measured over"));
}

#undef KEY
#undef MEMBER

}  // namespace

const std::vector<ConfigKey>& config_keys() {
  static const std::vector<ConfigKey> keys = [] {
    std::vector<ConfigKey> all;
    add_general(all);
    add_model(all);
    add_optim(all);
    add_data_and_train(all);
    add_parallel(all);
    add_watching(all);
    add_faults(all);
    return all;
  }();
  return keys;
}

}  // namespace headroom
