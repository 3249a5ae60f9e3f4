// Where the largest activations are and who puts them there, from the values that a snapshot keeps with their places.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "analysis/report/measures.h"

namespace headroom::report {

// A channel of one layer that is among the kept largest values of several sequences.
struct ChannelMeasure {
  std::int64_t channel = -1;
  std::int64_t sequences_in_top = 0;  // sequences with it among their K largest values
  std::int64_t sequences_as_largest = 0;
  double largest = 0.0;
};

// Massive elements of block outputs (strictly: reference section 1) at one layer, channel and position.
struct MassiveElement {
  std::int64_t layer = -1, channel = -1, position = -1;
  std::int64_t sequences = 0;  // in which it is massive
  double largest = 0.0;        // |h|
};

// A site that adds to the residual stream, and what it adds to a place.
struct Writer {
  Site site = Site::embedding_output;
  std::int64_t layer = 0;
  double value = 0.0;
  bool exact = false;  // else the channel's largest |value| over all tokens: an upper bound
};

// Channels of block outputs at `layer`, by falling number of sequences they are largest in, then in the top of.
std::vector<ChannelMeasure> channels(const SnapshotFile& snapshot, const ProbeSet& set, std::int64_t layer);

// Whether a value is massive among its sequence's, whose layer has this median.
bool is_massive(double value, double median, const Thresholds& thresholds);

// By layer, then falling number of sequences, then |h|.
std::vector<MassiveElement> massive_elements(const SnapshotFile& snapshot, const ProbeSet& set,
                                             const Thresholds& thresholds);

// Whether in some sequence all kept values of the layer are massive: there may be more than were kept.
bool may_have_more(const SnapshotFile& snapshot, const ProbeSet& set, std::int64_t layer, const Thresholds& thresholds);

// What the embedding and each attention and MLP output up to the place's layer add to it, largest first.
std::vector<Writer> writers(const SnapshotFile& snapshot, const Place& place);

// The token's piece as the snapshot's probe has it.
std::string piece_at(const SnapshotFile& snapshot, std::int64_t sequence, std::int64_t token);

}  // namespace headroom::report
