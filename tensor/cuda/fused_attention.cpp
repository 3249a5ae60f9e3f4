#include "tensor/cuda/fused_attention.h"

// Every call of cuDNN goes through a pointer that is looked up in cudnn_dlhandle, which is ours to set.
#define NV_CUDNN_FRONTEND_USE_DYNAMIC_LOADING
#define CUDNN_FRONTEND_SKIP_JSON_LIB
#include <cudnn_frontend.h>
#include <dlfcn.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <compare>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "tensor/cuda/runtime.h"
#include "tensor/round_up.h"

static_assert(CUDNN_MAJOR == 9 && CUDNN_FRONTEND_VERSION >= 11400, "cuDNN 9 and its frontend 1.14 or later");

namespace cudnn_frontend {
void* cudnn_dlhandle = nullptr;
}  // namespace cudnn_frontend

namespace headroom::cuda {
namespace {

namespace fe = cudnn_frontend;

std::string version_text(std::size_t version) {
  return fmt::format("{}.{}.{}", version / 10000, version / 100 % 100, version % 100);
}

// Opens the library; returns why it could not, or nothing.
std::string open_library() {
  std::vector<std::string> places;
  if (const char* const named = std::getenv("HEADROOM_CUDNN")) {
    places = {named};
  } else {
    places = {fmt::format("libcudnn.so.{}", CUDNN_MAJOR)};
#ifdef HEADROOM_CUDNN_LIBRARY
    places.emplace_back(HEADROOM_CUDNN_LIBRARY);
#endif
  }
  std::string failure;
  for (const std::string& place : places) {
    void* const library = dlopen(place.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) {
      if (failure.empty()) failure = dlerror();
      continue;
    }
    if (dlsym(library, "cudnnGetVersion") == nullptr) return fmt::format("{} is no cuDNN", place);
    fe::cudnn_dlhandle = library;
    // Should the frontend want a CUDA runtime after all (see compute_capability), then one of our version.
    setenv("CUDNN_FRONTEND_CUDART_LIB_NAME", fmt::format("libcudart.so.{}", CUDART_VERSION / 1000).c_str(), 0);
    return {};
  }
  return failure;
}

const std::string& library_failure() {
  static const std::string failure = open_library();
  return failure;
}

// Lives as long as the process, as the library does. Throws std::runtime_error where the library does not work, one of
// its parts missing for example.
cudnnHandle_t handle() {
  static cudnnHandle_t made = [] {
    auto* const work = stream();
    cudnnHandle_t fresh = nullptr;
    cudnnStatus_t status = fe::detail::create_handle(&fresh);
    if (status == CUDNN_STATUS_SUCCESS) status = fe::detail::set_stream(fresh, work);
    if (status != CUDNN_STATUS_SUCCESS) {
      throw std::runtime_error(fmt::format("cudnnCreate: {}", fe::detail::get_error_string(status)));
    }
    return fresh;
  }();
  return made;
}

// The selected device's, 90 for 9.0. Told to the frontend, which would ask a second CUDA runtime beside ours.
std::int32_t compute_capability() {
  static const std::int32_t found = [] {
    int device = 0;
    int major = 0;
    int minor = 0;
    check(cudaGetDevice(&device), "cudaGetDevice");
    check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device), "cudaDeviceGetAttribute");
    check(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device), "cudaDeviceGetAttribute");
    return 10 * major + minor;
  }();
  return found;
}

bool deterministic() {
  static const bool on = [] {
    const char* const value = std::getenv("HEADROOM_DETERMINISTIC_ATTENTION");
    return value == nullptr || std::string_view(value) != "0";
  }();
  return on;
}

// What one call of the library works on: some sequences with all heads, or one with some.
struct Part {
  std::int64_t sequences;
  std::int64_t kv_heads;
};

std::int64_t next_divisor(std::int64_t whole, std::int64_t below) {
  std::int64_t divisor = below - 1;
  while (whole % divisor != 0) --divisor;
  return divisor;
}

// The next smaller one of which a whole number makes up the shape.
std::optional<Part> smaller(const Part& part, const AttentionShape& shape) {
  if (part.sequences > 1) return Part{next_divisor(shape.batch, part.sequences), part.kv_heads};
  if (part.kv_heads > 1) return Part{1, next_divisor(shape.n_kv_heads, part.kv_heads)};
  return std::nullopt;
}

std::int64_t group_of(const AttentionShape& shape) {
  return shape.n_heads / shape.n_kv_heads;
}

// The tensors' names in a graph.
using Uid = std::int64_t;
constexpr Uid kQuery = 1;
constexpr Uid kKey = 2;
constexpr Uid kValue = 3;
constexpr Uid kOut = 4;
constexpr Uid kLse = 5;
constexpr Uid kDout = 6;
constexpr Uid kDquery = 7;
constexpr Uid kDkey = 8;
constexpr Uid kDvalue = 9;

// Describes a graph's tensors, [sequences, heads, seq, head_dim] in the operations' own layout.
class Layouts {
 public:
  using Attributes = fe::graph::Tensor_attributes;

  Layouts(const AttentionShape& shape, const Part& part)
      : shape_(shape), part_(part), heads_(part.kv_heads * group_of(shape)) {}

  void query(Attributes& tensor, Uid uid) const { describe(tensor, uid, heads_, shape_.qkv_width()); }
  void key(Attributes& tensor, Uid uid) const { describe(tensor, uid, part_.kv_heads, shape_.qkv_width()); }
  void output(Attributes& tensor, Uid uid) const { describe(tensor, uid, heads_, shape_.query_width()); }
  // Packed, as the library wants them: a part has all heads or only one sequence.
  void statistics(Attributes& tensor, Uid uid) const {
    tensor.set_uid(uid)
        .set_dim({part_.sequences, heads_, shape_.seq, 1})
        .set_stride({heads_ * shape_.seq, shape_.seq, 1, 1})
        .set_data_type(fe::DataType_t::FLOAT);
  }

 private:
  void describe(Attributes& tensor, Uid uid, std::int64_t heads, std::int64_t row) const {
    tensor.set_uid(uid)
        .set_dim({part_.sequences, heads, shape_.seq, shape_.head_dim})
        .set_stride({shape_.seq * row, shape_.head_dim, row, 1})
        .set_data_type(fe::DataType_t::BFLOAT16);
  }

  AttentionShape shape_;
  Part part_;
  std::int64_t heads_;
};

using Graph = fe::graph::Graph;
using GraphTensor = std::shared_ptr<fe::graph::Tensor_attributes>;
using Describe = void (Layouts::*)(Layouts::Attributes&, Uid) const;

GraphTensor input(Graph& graph, const Layouts& layouts, Describe describe, Uid uid) {
  Layouts::Attributes attributes;
  (layouts.*describe)(attributes, uid);
  return graph.tensor(attributes);
}

void output(const GraphTensor& tensor, const Layouts& layouts, Describe describe, Uid uid) {
  tensor->set_output(true);
  (layouts.*describe)(*tensor, uid);
}

// What both passes' nodes have in common.
template <class Attributes>
Attributes causal(const AttentionShape& shape) {
  Attributes attributes;
  attributes.set_name("attention")
      .set_attn_scale(static_cast<float>(1.0 / std::sqrt(static_cast<double>(shape.head_dim))))
      .set_diagonal_alignment(fe::DiagonalAlignment_t::TOP_LEFT)
      .set_diagonal_band_right_bound(0);
  return attributes;
}

std::unique_ptr<Graph> described(AttentionPass pass, const AttentionShape& shape, const Part& part) {
  auto graph = std::make_unique<Graph>();
  graph->set_io_data_type(fe::DataType_t::BFLOAT16)
      .set_intermediate_data_type(fe::DataType_t::FLOAT)
      .set_compute_data_type(fe::DataType_t::FLOAT)
      .set_sm_version(compute_capability());
  const Layouts layouts(shape, part);
  const GraphTensor query = input(*graph, layouts, &Layouts::query, kQuery);
  const GraphTensor key = input(*graph, layouts, &Layouts::key, kKey);
  const GraphTensor value = input(*graph, layouts, &Layouts::key, kValue);
  if (pass == AttentionPass::forward) {
    auto attributes = causal<fe::graph::SDPA_attributes>(shape);
    attributes.set_generate_stats(true);
    const auto [out, lse] = graph->sdpa(query, key, value, attributes);
    output(out, layouts, &Layouts::output, kOut);
    output(lse, layouts, &Layouts::statistics, kLse);
    return graph;
  }
  const GraphTensor out = input(*graph, layouts, &Layouts::output, kOut);
  const GraphTensor dout = input(*graph, layouts, &Layouts::output, kDout);
  const GraphTensor lse = input(*graph, layouts, &Layouts::statistics, kLse);
  auto attributes = causal<fe::graph::SDPA_backward_attributes>(shape);
  attributes.set_deterministic_algorithm(deterministic());
  const auto [dquery, dkey, dvalue] = graph->sdpa_backward(query, key, value, out, dout, lse, attributes);
  output(dquery, layouts, &Layouts::query, kDquery);
  output(dkey, layouts, &Layouts::key, kDkey);
  output(dvalue, layouts, &Layouts::key, kDvalue);
  return graph;
}

struct FusedPlan {
  std::unique_ptr<Graph> graph;
  Part part{};
  std::int64_t workspace = 0;
  std::string refusal;  // why there is no graph
};

// The working memory that a query head's share of a call takes, nearly. Backward: a number a query; and its scores'
// gradients in bf16, by tiles of 64 queries and 128 keys, or its dq in f32; and its own dk and dv where heads share
// keys.
std::int64_t guessed_workspace(AttentionPass pass, const AttentionShape& shape) {
  if (pass == AttentionPass::forward) return 0;
  const std::int64_t sums = shape.seq * 4;
  const std::int64_t shared = group_of(shape) > 1 ? 2 * shape.seq * shape.head_dim * 2 : 0;
  const std::int64_t gradients =
      deterministic() ? round_up<std::int64_t>(shape.seq, 64) * round_up<std::int64_t>(shape.seq, 128) * 2
                      : shape.seq * shape.head_dim * 4;
  return sums + shared + gradients;
}

// The graph of the largest part that workspace_bytes() are enough for.
FusedPlan fitting_plan(AttentionPass pass, const AttentionShape& shape) {
  const auto most = static_cast<std::int64_t>(workspace_bytes());
  std::int64_t per_head = guessed_workspace(pass, shape);
  std::optional<Part> part = Part{shape.batch, shape.n_kv_heads};
  FusedPlan plan;
  while (part) {
    const std::int64_t heads = part->sequences * part->kv_heads * group_of(shape);
    const std::optional<Part> next = smaller(*part, shape);
    if (per_head * heads > most && next) {  // not worth building
      part = next;
      continue;
    }
    auto graph = described(pass, shape, *part);
    const fe::error_t built = graph->build(handle(), {fe::HeurMode_t::A});
    if (built.is_bad()) {
      plan.refusal = built.err_msg;
      return plan;
    }
    plan.workspace = graph->get_workspace_size();
    if (plan.workspace <= most) {
      plan.part = *part;
      plan.graph = std::move(graph);
      return plan;
    }
    per_head = std::max(per_head, plan.workspace / heads);
    part = next;
  }
  plan.refusal = fmt::format("it needs {} bytes of working memory, {} are there", plan.workspace, most);
  return plan;
}

struct PlanKey {
  AttentionPass pass;
  std::int64_t batch;
  std::int64_t seq;
  std::int64_t n_heads;
  std::int64_t n_kv_heads;
  std::int64_t head_dim;

  auto operator<=>(const PlanKey&) const = default;  // NOLINT(modernize-use-nullptr): it finds a 0 in there
};

FusedPlan make_plan(AttentionPass pass, const AttentionShape& shape) {
  FusedPlan plan;
  try {
    plan = fitting_plan(pass, shape);
  } catch (const Error&) {
    throw;  // the device's, not the library's
  } catch (const std::exception& error) {
    plan.refusal = error.what();
  }
  if (plan.graph == nullptr) {
    fmt::print(stderr,
               "headroom: attention {} of {} x {} tokens, {} heads of {} ({} key-value heads) not by cuDNN but by our "
               "own, slower kernel: {}\n",
               pass == AttentionPass::forward ? "forward" : "backward", shape.batch, shape.seq, shape.n_heads,
               shape.head_dim, shape.n_kv_heads, plan.refusal);
  }
  return plan;
}

const FusedPlan& plan_for(AttentionPass pass, const AttentionShape& shape) {
  // Never destroyed: at the process's end the driver may be gone before them.
  static auto& plans = *new std::map<PlanKey, FusedPlan>;
  const PlanKey key{pass, shape.batch, shape.seq, shape.n_heads, shape.n_kv_heads, shape.head_dim};
  const auto found = plans.find(key);
  return found != plans.end() ? found->second : plans.emplace(key, make_plan(pass, shape)).first->second;
}

// Where a tensor's share in a part begins.
class Addresses {
 public:
  Addresses(const AttentionShape& shape, std::int64_t sequence, std::int64_t kv_head)
      : shape_(shape), sequence_(sequence), kv_head_(kv_head), head_(kv_head * group_of(shape)) {}

  void* query(const Tensor& qkv) const { return heads(qkv, shape_.qkv_width(), head_ * shape_.head_dim); }
  void* key(const Tensor& qkv) const {
    return heads(qkv, shape_.qkv_width(), shape_.query_width() + kv_head_ * shape_.head_dim);
  }
  void* value(const Tensor& qkv) const {
    return heads(qkv, shape_.qkv_width(), shape_.query_width() + shape_.kv_width() + kv_head_ * shape_.head_dim);
  }
  void* output(const Tensor& out) const { return heads(out, shape_.query_width(), head_ * shape_.head_dim); }
  void* statistics(const Tensor& lse) const {
    return lse.address<float>() + (sequence_ * shape_.n_heads + head_) * shape_.seq;
  }

 private:
  void* heads(const Tensor& tensor, std::int64_t row, std::int64_t column) const {
    return tensor.address<bf16>() + sequence_ * shape_.seq * row + column;
  }

  AttentionShape shape_;
  std::int64_t sequence_;
  std::int64_t kv_head_;
  std::int64_t head_;
};

using Pointers = std::unordered_map<Uid, void*>;

// Runs the plan over all parts; `pointers_of(addresses)` names their tensors.
template <class PointersOf>
void run(AttentionPass pass, const AttentionShape& shape, const PointersOf& pointers_of) {
  const FusedPlan& plan = plan_for(pass, shape);
  HEADROOM_CHECK(plan.graph != nullptr, "fused attention where it does not serve: {}", plan.refusal);
  Scratch scratch;
  void* const workspace = plan.workspace == 0 ? nullptr : scratch.take<std::byte>(plan.workspace);
  for (std::int64_t sequence = 0; sequence < shape.batch; sequence += plan.part.sequences) {
    for (std::int64_t kv_head = 0; kv_head < shape.n_kv_heads; kv_head += plan.part.kv_heads) {
      Pointers pointers = pointers_of(Addresses(shape, sequence, kv_head));
      const fe::error_t done = plan.graph->execute(handle(), pointers, workspace);
      if (done.is_bad()) throw Error(ExitCode::internal, fmt::format("cuDNN's attention: {}", done.err_msg));
    }
  }
}

}  // namespace

bool fused_attention_serves(AttentionPass pass, const AttentionShape& shape, DType dtype) {
  if (dtype != DType::bf16 || shape.rows() == 0 || !library_failure().empty()) return false;
  return plan_for(pass, shape).graph != nullptr;
}

void fused_attention(const Tensor& qkv, const AttentionShape& shape, Tensor out, Tensor lse) {
  run(AttentionPass::forward, shape, [&](const Addresses& at) {
    return Pointers{{kQuery, at.query(qkv)},
                    {kKey, at.key(qkv)},
                    {kValue, at.value(qkv)},
                    {kOut, at.output(out)},
                    {kLse, at.statistics(lse)}};
  });
}

void fused_attention_backward(const Tensor& dout, const Tensor& qkv, const Tensor& out, const Tensor& lse,
                              const AttentionShape& shape, Tensor dqkv) {
  run(AttentionPass::backward, shape, [&](const Addresses& at) {
    return Pointers{{kQuery, at.query(qkv)},   {kKey, at.key(qkv)},        {kValue, at.value(qkv)},
                    {kOut, at.output(out)},    {kLse, at.statistics(lse)}, {kDout, at.output(dout)},
                    {kDquery, at.query(dqkv)}, {kDkey, at.key(dqkv)},      {kDvalue, at.value(dqkv)}};
  });
}

std::string fused_attention_part() {
  if (!library_failure().empty()) {
    return fmt::format("cuDNN: {}; attention by slower kernels of our own", library_failure());
  }
  return fmt::format("cuDNN {} (frontend {})", version_text(fe::detail::get_backend_version()),
                     version_text(CUDNN_FRONTEND_VERSION));
}

}  // namespace headroom::cuda
