// The texts a model is looked at with: the same sequences at every snapshot of a run, each with and without BOS.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "analysis/config.h"
#include "data/corpus.h"
#include "data/tokenizer.h"

namespace headroom {

enum class ProbeKind : std::uint8_t { sentence, calibration };
std::string_view name_of(ProbeKind kind);

struct ProbeSequence {
  std::vector<std::int32_t> ids;  // BOS included
  bool bos = false;
  ProbeKind kind = ProbeKind::sentence;
  std::string text;                 // decoded; empty without a tokenizer
  std::vector<std::string> pieces;  // one a token; the id as text without a tokenizer
};

struct ProbeSet {
  std::vector<ProbeSequence> sequences;
  // What could not be had and why, for the log: no tokenizer, short documents, few windows.
  std::vector<std::string> notes;
};

// Sentences first, in the config's order, then calibration windows by position in the held-out file; of each first the
// form with BOS, then the one without. A pure function of its arguments.
//
// Windows are snapshot.calibration_tokens long (with BOS: BOS and one token less; at most seq_len), lie inside
// documents so that no BOS is among their tokens, and are evenly spread over all such windows. Where documents are
// unknown or all too short, windows are spread over the file as it is.
//
// `tokenizer` may be null: then there are no BOS forms and no sentences. The default sentences are left out with a
// note; sentences that the config names are refused. A tokenizer without a BOS makes no BOS forms, either.
//
// Throws ExitCode::bad_config naming key and numbers: a sentence without tokens or of more than seq_len, sentences
// without a tokenizer, ids beyond vocab_size; ExitCode::bad_data when the held-out file has no window.
ProbeSet build_probe_set(const SnapshotConfig& config, const TokenFile& held_out, const Tokenizer* tokenizer,
                         std::int64_t seq_len, std::int64_t vocab_size);

}  // namespace headroom
