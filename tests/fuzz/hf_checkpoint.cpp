// A Hugging Face directory, parted as text_parts parts them: config.json, then the bytes of model.safetensors, or,
// where they begin with a brace, of its index, whose one shard is the third part.
#include <filesystem>

#include "model/decoder/decoder.h"
#include "model/huggingface/source.h"
#include "tests/fuzz/target.h"
#include "tests/scratch.h"

namespace headroom::fuzz {
namespace {

// What opens is run: nothing it says of itself may reach beyond its files.
void drive(std::string_view bytes) {
  static const test::Scratch scratch;
  const std::vector<std::string> parts = text_parts(bytes, 3);
  std::filesystem::remove_all(scratch / "d");
  scratch.file("d/config.json", parts[0]);
  const bool sharded = parts[1].starts_with("{");
  scratch.file(sharded ? "d/model.safetensors.index.json" : "d/model.safetensors", parts[1]);
  if (sharded) scratch.file("d/model-00001-of-00001.safetensors", parts[2]);
  auto [config, weights] = huggingface::open_checkpoint(scratch / "d");
  constexpr std::int64_t kMost = 1 << 22;  // numbers of a layer that are still quick
  if (config.hidden_size * (config.ffn_size + config.query_width()) > kMost) return;
  decoder::Decoder model(config, std::move(weights));
  const auto last = static_cast<std::int32_t>(config.vocab_size - 1);
  decoder::States states = model.embed(std::vector<decoder::Sequence>{{0, last, 0}});
  for (std::int64_t layer = 0; layer < config.n_layers; ++layer) model.apply(layer, states, nullptr);
  model.each_logits(model.finish(states, nullptr), [](const decoder::Decoder::LogitsBlock&) {});
}

const Registration kRegistered({"hf_checkpoint",
                                {ExitCode::bad_checkpoint, ExitCode::bad_data, ExitCode::out_of_memory},
                                drive});

}  // namespace
}  // namespace headroom::fuzz
