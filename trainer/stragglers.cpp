#include "trainer/stragglers.h"

#include <algorithm>

#include "base/system.h"
#include "parallel/rank_words.h"

namespace headroom {

std::string describe(const Straggler& straggler) {
  return fmt::format("rank {} on {} is busy {:.1f} times as long as the median rank", straggler.rank, straggler.host,
                     straggler.ratio);
}

std::vector<Straggler> find_stragglers(std::span<const double> busy, std::span<const std::string> hosts, double ratio) {
  HEADROOM_CHECK(!busy.empty() && busy.size() == hosts.size(), "{} times of {} ranks", busy.size(), hosts.size());
  std::vector<double> sorted(busy.begin(), busy.end());
  const auto middle = sorted.begin() + (std::ssize(sorted) - 1) / 2;
  std::nth_element(sorted.begin(), middle, sorted.end());
  const double median = *middle;
  std::vector<Straggler> found;
  if (median <= 0.0) return found;
  for (std::size_t rank = 0; rank < busy.size(); ++rank) {
    if (busy[rank] > ratio * median) found.push_back({static_cast<int>(rank), hosts[rank], busy[rank] / median});
  }
  return found;
}

Stragglers::Stragglers(Communicator& world, Settings settings) : world_(world), settings_(settings) {
  if (settings_.ratio == 0.0) return;
  HEADROOM_CHECK(settings_.ratio > 0.0 && settings_.window > 0, "stragglers from {} times the median, over {} steps",
                 settings_.ratio, settings_.window);
  for (const auto& words : gather_words(world_, {host_name()})) hosts_.push_back(words.at(0));
}

std::vector<Straggler> Stragglers::note_step(double seconds, double waited) {
  if (settings_.ratio == 0.0) return {};
  busy_ += std::max(0.0, seconds - waited);  // clocks of two kinds may differ by a little
  if (++steps_ < settings_.window) return {};
  std::vector<double> busy(static_cast<std::size_t>(world_.size()));
  busy[static_cast<std::size_t>(world_.rank())] = busy_;
  world_.all_reduce(std::span<double>(busy), Reduction::sum);
  busy_ = 0.0;
  steps_ = 0;
  return find_stragglers(busy, hosts_, settings_.ratio);
}

}  // namespace headroom
