#include "analysis/monitor.h"

#include <algorithm>
#include <bit>

#include "analysis/statistics.h"

namespace headroom {
namespace {

constexpr std::size_t kBins = MagnitudeSummary::kBins;
constexpr std::size_t kPlace = 3;  // the bits of max_abs, row, column

}  // namespace

Monitor::Monitor(std::int64_t layers, std::int64_t channels, Device device)
    : channels_(channels),
      memory_(static_cast<std::size_t>(layers * MagnitudeSummary::kWords) * sizeof(std::int64_t), device,
              "the monitor's summaries"),
      summaries_(memory_.tensor({layers, MagnitudeSummary::kWords}, DType::i64)) {}

void Monitor::begin_step() {
  ops::zero(summaries_);
  seq_ = 0;
}

void Monitor::begin_micro_batch(std::int64_t first_sample, std::int64_t seq) {
  HEADROOM_CHECK(seq > 0 && (seq_ == 0 || seq_ == seq), "micro-batches of {} and {} tokens in one step", seq_, seq);
  first_sample_ = first_sample;
  seq_ = seq;
}

Magnitudes Monitor::magnitudes(Site site, std::int64_t layer, std::int64_t first_row) {
  if (site != Site::block_output) return {};
  HEADROOM_CHECK(seq_ > 0, "a forward before begin_micro_batch");
  // Rows are numbered over the whole step, so that the place of a maximum is the sample and position at once.
  return {summaries_.row_range(layer, 1), first_sample_ * seq_ + first_row};
}

void Monitor::hidden(Site site, std::int64_t layer, const Tensor& rows, std::int64_t first_row) {
  if (site != Site::block_output || rows.rows() == 0) return;
  ops::summarize_magnitudes(rows, magnitudes(site, layer, first_row));
}

void Monitor::attention(std::int64_t /*layer*/, const AttentionView& /*view*/) {}

MonitorRecord Monitor::collect(const Mesh& mesh) const {
  // One sum over all ranks does everything: histograms add up, and each rank's maxima go into places of its own where
  // all others put zero, so that the sum is their exact bits.
  Communicator& world = mesh.world();
  const auto ranks = static_cast<std::size_t>(world.size());
  const auto rank = static_cast<std::size_t>(world.rank());
  std::vector<MagnitudeSummary> layers(static_cast<std::size_t>(summaries_.rows()));
  ops::read_summaries(summaries_, channels_, layers);
  std::vector<std::int64_t> message(layers.size() * (kBins + ranks * kPlace), 0);
  std::int64_t* const places = message.data() + layers.size() * kBins;
  for (std::size_t layer = 0; layer < layers.size(); ++layer) {
    const MagnitudeSummary& summary = layers[layer];
    std::copy_n(summary.counts, kBins, message.data() + layer * kBins);
    std::int64_t* const place = places + (layer * ranks + rank) * kPlace;
    place[0] = std::bit_cast<std::int64_t>(summary.max_abs);
    place[1] = summary.row;
    place[2] = summary.column;
  }
  world.all_reduce(std::span<std::int64_t>(message), Reduction::sum);

  MonitorRecord record;
  for (std::size_t layer = 0; layer < layers.size(); ++layer) {
    MagnitudeSummary all;
    std::copy_n(message.data() + layer * kBins, kBins, all.counts);
    for (std::size_t from = 0; from < ranks; ++from) {
      const std::int64_t* const place = places + (layer * ranks + from) * kPlace;
      MagnitudeSummary one;
      one.max_abs = std::bit_cast<double>(place[0]);
      one.row = place[1];
      one.column = place[2];
      // The first rank's summary stands as it is: an untouched `all` would claim the first place of a zero maximum.
      if (from == 0) {
        all.max_abs = one.max_abs;
        all.row = one.row;
        all.column = one.column;
      } else {
        merge(one, all);
      }
    }
    const double median = median_of(all);
    record.max.push_back(all.max_abs);
    record.median.push_back(median);
    record.ratio.push_back(all.max_abs / median);
    const std::int64_t seq = std::max<std::int64_t>(seq_, 1);
    record.argmax.push_back({all.row / seq, all.row % seq, all.column});
  }
  return record;
}

}  // namespace headroom
