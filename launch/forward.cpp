// headroom forward: a model's hidden states and logits for given ids, in a file.
#include <algorithm>
#include <string>
#include <vector>

#include "analysis/forward_file.h"
#include "base/progress.h"
#include "data/id_lines.h"
#include "launch/verbs.h"
#include "trainer/open_model.h"

namespace headroom {
namespace {

class ForwardVerb : public Verb {
 public:
  ForwardVerb() : Verb("forward", "Write a model's hidden states and logits for given token ids") {}

  void declare(CLI::App& app) override {
    app.add_option("model", model_, "A Hugging Face directory, a run, or one of its checkpoints")
        ->required()
        ->type_name("MODEL");
    app.add_option("--ids", ids_, "Token ids, one sequence a line, separated by blanks or commas")
        ->required()
        ->type_name("FILE");
    app.add_option("--out", out_, "The HDF5 file to write")->required()->type_name("FILE.h5");
    app.footer(
        "Writes, for sequence i of T ids, in f32: sequences/i/ids [T], hidden [L+1, T, d] (what enters the first\n"
        "layer, then what each layer puts out), final [T, e] (what enters the head), logits [T, V]. A BOS is an id\n"
        "like others: nothing is put before a sequence. Computed on the CPU, layer by layer: in memory are one\n"
        "layer's weights and the sequences' hidden states. docs/forward-format.md describes the file.");
  }

  ExitCode run() override {
    const std::vector<decoder::Sequence> sequences = read_id_lines(ids_);
    const OpenedModel model = open_model(model_);
    warn_of_length(sequences, model.decoder->config().max_positions);
    Progress progress("layers", static_cast<std::uint64_t>(model.decoder->config().n_layers));
    write_forward(*model.decoder, sequences, {model.name, model.directory, ids_}, out_,
                  [&](std::int64_t layers) { progress.set(static_cast<std::uint64_t>(layers)); });
    progress.finish();
    fmt::print("{}\n", out_);
    return ExitCode::done;
  }

 private:
  // With rotary positions it can be done, and means little.
  static void warn_of_length(const std::vector<decoder::Sequence>& sequences, std::int64_t positions) {
    std::size_t longest = 0;
    for (const decoder::Sequence& sequence : sequences) longest = std::max(longest, sequence.size());
    if (static_cast<std::int64_t>(longest) <= positions) return;
    fmt::print(stderr, "warning: a sequence of {} tokens; the model was made for {}\n", longest, positions);
  }

  std::string model_;
  std::string ids_;
  std::string out_;
};

}  // namespace

std::unique_ptr<Verb> make_forward_verb() {
  return std::make_unique<ForwardVerb>();
}

}  // namespace headroom
