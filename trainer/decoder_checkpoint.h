// A checkpoint of ours as a decoder's weights (model/decoder), so that whatever looks at other people's models looks at
// them too.
#pragma once

#include <filesystem>
#include <memory>

#include "model/config.h"
#include "model/decoder/config.h"
#include "model/decoder/weights.h"

namespace headroom {

// `model` resolved.
decoder::Config decoder_config(const ModelConfig& model);

// The other way round: the model of ours that computes what `config` does, with zeros for biases that only we have. Of
// sliding windows it takes the narrowest as the context. Throws ExitCode::bad_checkpoint naming what ours have not.
ModelConfig model_config(const decoder::Config& config);

// The checkpoint's weights, read one layer at a time. Every tensor that the config asks for is there and has its shape
// when this returns; otherwise it throws ExitCode::bad_checkpoint naming it, and so does reading a tensor for the first
// time where its bytes are not those that were written.
std::unique_ptr<decoder::WeightSource> checkpoint_weights(const std::filesystem::path& checkpoint,
                                                          const decoder::Config& config);

}  // namespace headroom
