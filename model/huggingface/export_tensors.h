// A model's weights under the names and in the forms of a Hugging Face family, in the order in which they are written.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "model/decoder/weights.h"
#include "model/huggingface/family.h"
#include "model/huggingface/safetensors_writer.h"

namespace headroom::huggingface {

struct ExportedTensor {
  TensorShape shape;
  std::int64_t layer = -1;  // whose it is; -1: none's
  // Hands out all numbers, row by row, in pieces. Tensors must be asked in order.
  std::function<void(const std::function<void(std::span<const float>)>& take)> numbers;
};

// `config` is the written form's, of which `weights` may lack biases: those are 0. Of a table of positions what stands
// before its position_offset is left out.
// `weights` must outlive what is returned.
std::vector<ExportedTensor> exported_tensors(const decoder::Config& config, const TensorNames& names,
                                             decoder::WeightSource& weights);

}  // namespace headroom::huggingface
