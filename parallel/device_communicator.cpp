#include "parallel/device_communicator.h"

#include <map>

#include "base/system.h"
#include "parallel/nccl_entry.h"
#include "parallel/rank_words.h"
#include "parallel/runtime.h"
#include "parallel/staged_communicator.h"
#include "tensor/backend.h"

namespace headroom {
namespace {

std::string own_reason_against_nccl() {
  const auto why = reinterpret_cast<decltype(&headroom_why_no_nccl)>(gpu_library_symbol("headroom_why_no_nccl"));
  if (why == nullptr) return "the GPU backend was built without NCCL";
  const char* const reason = why();
  return reason == nullptr ? "" : reason;
}

// Why NCCL cannot serve all ranks, or nothing.
std::string obstacle(const std::vector<RankGpu>& ranks) {
  for (std::size_t rank = 0; rank < ranks.size(); ++rank) {
    if (!ranks[rank].why_no_nccl.empty()) {
      return fmt::format("{} (rank {} on {})", ranks[rank].why_no_nccl, rank, ranks[rank].host);
    }
  }
  return shared_gpus(ranks);
}

std::unique_ptr<Communicator> wrapped_in_nccl(std::unique_ptr<Communicator> host) {
  const auto wrap = reinterpret_cast<decltype(&headroom_wrap_in_nccl)>(gpu_library_symbol("headroom_wrap_in_nccl"));
  HEADROOM_CHECK(wrap != nullptr, "the GPU backend lacks its entry to NCCL");
  wrap(&host, abort_all_ranks);
  return host;
}

}  // namespace

std::vector<RankGpu> gather_gpus(Communicator& host) {
  const std::vector<std::vector<std::string>> told =
      gather_words(host, {host_name(), backend(Device::cuda).device_id(), own_reason_against_nccl()});
  std::vector<RankGpu> ranks;
  for (const auto& words : told) ranks.push_back({words.at(0), words.at(1), words.at(2)});
  return ranks;
}

std::string shared_gpus(const std::vector<RankGpu>& ranks) {
  std::map<std::string, std::vector<std::size_t>> ranks_of;
  for (std::size_t rank = 0; rank < ranks.size(); ++rank) ranks_of[ranks[rank].gpu].push_back(rank);
  std::string text;
  for (const auto& [gpu, members] : ranks_of) {
    if (members.size() == 1) continue;
    std::string list = fmt::format("{}", members.front());
    for (std::size_t i = 1; i < members.size(); ++i) {
      list += fmt::format("{}{}", i + 1 == members.size() ? " and " : ", ", members[i]);
    }
    text += fmt::format("{}ranks {} share a GPU ({} on {})", text.empty() ? "" : "; ", list, gpu,
                        ranks[members.front()].host);
  }
  return text;
}

ChosenTransport choose_transport(const std::vector<RankGpu>& ranks, Transport wanted) {
  const std::string against = obstacle(ranks);
  if (wanted == Transport::nccl && !against.empty()) {
    throw Error(ExitCode::bad_config, "NCCL cannot exchange the tensors of these ranks: " + against,
                "NCCL needs its library on every host and a GPU for each rank. Start fewer ranks a host, or exchange "
                "through host memory (auto or staged), which is slower.");
  }
  if (wanted == Transport::staged) return {Transport::staged, "MPI through host memory, as asked"};
  if (!against.empty()) return {Transport::staged, "MPI through host memory: " + against};
  return {Transport::nccl, "NCCL"};
}

DeviceCommunicator for_device(std::unique_ptr<Communicator> host, Device device, Transport transport) {
  if (host->size() == 1) return {std::move(host), ""};
  if (device == Device::cpu) return {std::move(host), "MPI"};
  const ChosenTransport chosen = choose_transport(gather_gpus(*host), transport);
  auto communicator = chosen.transport == Transport::staged ? make_staged_communicator(std::move(host))
                                                            : wrapped_in_nccl(std::move(host));
  return {std::move(communicator), chosen.text};
}

}  // namespace headroom
