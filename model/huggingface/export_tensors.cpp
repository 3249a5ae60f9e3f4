#include "model/huggingface/export_tensors.h"

#include <fmt/format.h>

#include <array>
#include <memory>
#include <numeric>

#include "base/error.h"
#include "tensor/memory.h"

namespace headroom::huggingface {
namespace {

using decoder::Config;
using decoder::LayerWeights;
using decoder::LinearWeights;
using decoder::NormWeights;
using decoder::WeightSource;
using Take = std::function<void(std::span<const float>)>;
using Extents = std::vector<std::int64_t>;

constexpr std::int64_t kRows = 1024;  // of embedding and head at a time

// Asks for a layer when the first of its tensors is written.
class LayerReader {
 public:
  explicit LayerReader(WeightSource& source) : source_(source) {}

  WeightSource& source() { return source_; }
  const LayerWeights& layer(std::int64_t number) {
    if (number != number_) layer_ = &source_.layer(number);
    number_ = number;
    return *layer_;
  }

 private:
  WeightSource& source_;
  const LayerWeights* layer_ = nullptr;
  std::int64_t number_ = -1;
};

void take_tensor(const Tensor& tensor, const Take& take) {
  take({tensor.data<float>(), static_cast<std::size_t>(tensor.elements())});
}

// A vector, or zeros where the model has none.
void take_vector(const Tensor& vector, std::int64_t size, const Take& take) {
  if (vector.present()) return take_tensor(vector, take);
  take(std::vector<float>(static_cast<std::size_t>(size), 0.0F));
}

// Rows [first, first + count) of a product's weight [out, in]; `transposed`: as [in, count]. The source's own may be
// either.
void take_rows(const LinearWeights& weights, std::int64_t first, std::int64_t count, bool transposed,
               const Take& take) {
  const Tensor& all = weights.weight;
  const std::int64_t in = weights.transposed ? all.rows() : all.columns();
  const std::int64_t out_stride = weights.transposed ? 1 : in;
  const std::int64_t in_stride = weights.transposed ? all.columns() : 1;
  const float* from = all.data<float>() + first * out_stride;
  const auto [rows, row_stride, columns, stride] =
      transposed ? std::array{in, in_stride, count, out_stride} : std::array{count, out_stride, in, in_stride};
  if (stride == 1 && row_stride == columns) return take({from, static_cast<std::size_t>(rows * columns)});
  std::vector<float> row(static_cast<std::size_t>(columns));
  for (std::int64_t i = 0; i < rows; ++i, from += row_stride) {
    for (std::size_t j = 0; j < row.size(); ++j) row[j] = from[static_cast<std::int64_t>(j) * stride];
    take(row);
  }
}

class Exporter {
 public:
  Exporter(const Config& config, const TensorNames& names, WeightSource& weights)
      : config_(config),
        names_(names),
        reader_(std::make_shared<LayerReader>(weights)),
        prefix_(names.prefixes.front()) {}

  std::vector<ExportedTensor> run() {
    add_embedding();
    if (config_.embedding_scale) {
      add(prefix_ + names_.embedding_scale, {1},
          [reader = reader_](const Take& take) { take_tensor(reader->source().outer().embedding_scale, take); });
    }
    if (config_.learned_positions) {
      add(prefix_ + names_.positions + ".weight", {config_.max_positions, config_.hidden_size},
          [reader = reader_, first = config_.position_offset, count = config_.max_positions](const Take& take) {
            take_tensor(reader->source().outer().positions.row_range(first, count), take);
          });
    }
    for (layer_ = 0; layer_ < config_.n_layers; ++layer_) add_layer();
    layer_ = -1;
    add_norm(prefix_ + names_.final_norm,
             [reader = reader_]() -> const NormWeights& { return reader->source().outer().final_norm; });
    if (!config_.tied_head) add_head();
    return std::move(tensors_);
  }

 private:
  void add(std::string name, Extents shape, std::function<void(const Take& take)> numbers) {
    tensors_.push_back({{std::move(name), std::move(shape)}, layer_, std::move(numbers)});
  }

  void add_embedding() {
    const std::int64_t vocab = config_.vocab_size;
    const std::int64_t width = config_.hidden_size;
    add(prefix_ + names_.embedding + ".weight", {vocab, width}, [reader = reader_, vocab, width](const Take& take) {
      Buffer memory(static_cast<std::size_t>(kRows * width) * sizeof(float), Device::cpu, "rows of the embedding");
      std::vector<std::int32_t> ids;
      for (std::int64_t first = 0; first < vocab; first += kRows) {
        ids.resize(static_cast<std::size_t>(std::min(kRows, vocab - first)));
        std::iota(ids.begin(), ids.end(), static_cast<std::int32_t>(first));
        const Tensor rows = memory.tensor({static_cast<std::int64_t>(ids.size()), width}, DType::f32);
        reader->source().embed(ids, rows);
        take_tensor(rows, take);
      }
    });
  }

  void add_head() {
    const std::int64_t vocab = config_.vocab_size;
    add(names_.heads.front() + ".weight", {vocab, config_.hidden_size}, [reader = reader_, vocab](const Take& take) {
      for (std::int64_t first = 0; first < vocab; first += kRows) {
        take_tensor(reader->source().head(first, std::min(kRows, vocab - first)), take);
      }
    });
  }

  // `find` gives the norm's weights when they are wanted.
  template <class Find>
  void add_norm(const std::string& name, Find find) {
    const std::int64_t size = config_.hidden_size;
    add(name + ".weight", {size}, [find](const Take& take) { take_tensor(find().weight, take); });
    if (config_.norm.bias) {
      add(name + ".bias", {size}, [find, size](const Take& take) { take_vector(find().bias, size, take); });
    }
    if (config_.norm.kind == decoder::NormKind::dyt) {
      add(name + ".alpha", {1}, [find](const Take& take) { take_tensor(find().alpha, take); });
    }
  }

  // A member of the layer that is being added.
  template <class Weights>
  auto of_layer(Weights LayerWeights::*member) {
    return [reader = reader_, member, number = layer_]() -> const Weights& { return reader->layer(number).*member; };
  }

  // Product weights whose rows are the named tensors', one under the other.
  void add_linear(const std::vector<std::string>& names, const Extents& outs, std::int64_t in, bool bias,
                  LinearWeights LayerWeights::*member) {
    std::int64_t first = 0;
    std::int64_t all = 0;
    for (const std::int64_t out : outs) all += out;
    const Extents parts = names.size() == 1 ? Extents{all} : outs;
    HEADROOM_CHECK(parts.size() == names.size(), "tensors of a product");
    for (std::size_t i = 0; i < names.size(); ++i) {
      const std::int64_t out = parts[i];
      const std::string name = layer_prefix_ + names[i];
      const bool transposed = names_.transposed;
      add(name + ".weight", transposed ? Extents{in, out} : Extents{out, in},
          [find = of_layer(member), first, out, transposed](const Take& take) {
            take_rows(find(), first, out, transposed, take);
          });
      if (bias) {
        add(name + ".bias", {out}, [find = of_layer(member), first, out](const Take& take) {
          const Tensor& all_biases = find().bias;
          take_vector(all_biases.present() ? all_biases.flat_range(first, out) : Tensor(), out, take);
        });
      }
      first += out;
    }
  }

  template <class Find>
  void add_tensor(const std::string& name, const Extents& shape, Find find) {
    add(layer_prefix_ + name, shape, [find](const Take& take) { take_tensor(find(), take); });
  }

  void add_layer() {
    layer_prefix_ = prefix_ + fmt::format(fmt::runtime(names_.layer), layer_);
    const std::int64_t hidden = config_.hidden_size;
    const std::int64_t kv = config_.kv_width();
    const std::int64_t ffn = config_.ffn_size;
    add_norm(layer_prefix_ + names_.attention_norm, of_layer(&LayerWeights::attention_norm));
    add_linear(names_.qkv, {config_.query_width(), kv, kv}, hidden, config_.qkv_bias, &LayerWeights::qkv);
    if (config_.qk_norm != decoder::QkNorm::none) {
      const auto weight = [](auto find) { return [find]() -> const Tensor& { return find().weight; }; };
      add_tensor(names_.q_norm + ".weight", {config_.head_dim}, weight(of_layer(&LayerWeights::q_norm)));
      add_tensor(names_.k_norm + ".weight", {config_.head_dim}, weight(of_layer(&LayerWeights::k_norm)));
    }
    const Extents slot{config_.n_kv_heads, config_.head_dim};
    if (config_.kv_bias != decoder::KvBias::none) {
      add_tensor(names_.bias_key, slot, of_layer(&LayerWeights::bias_key));
    }
    if (config_.kv_bias == decoder::KvBias::kv) {
      add_tensor(names_.bias_value, slot, of_layer(&LayerWeights::bias_value));
    }
    add_linear({names_.output}, {hidden}, config_.query_width(), config_.output_bias, &LayerWeights::output);
    add_norm(layer_prefix_ + names_.mlp_norm, of_layer(&LayerWeights::mlp_norm));
    add_linear(names_.up, config_.gated ? Extents{ffn, ffn} : Extents{ffn}, hidden, config_.mlp_bias,
               &LayerWeights::up);
    add_linear({names_.down}, {hidden}, ffn, config_.mlp_bias, &LayerWeights::down);
  }

  const Config& config_;
  const TensorNames& names_;
  std::shared_ptr<LayerReader> reader_;
  std::string prefix_;
  std::string layer_prefix_;
  std::int64_t layer_ = -1;
  std::vector<ExportedTensor> tensors_;
};

}  // namespace

std::vector<ExportedTensor> exported_tensors(const Config& config, const TensorNames& names, WeightSource& weights) {
  return Exporter(config, names, weights).run();
}

}  // namespace headroom::huggingface
