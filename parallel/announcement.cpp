#include "parallel/announcement.h"

namespace headroom {

const char* name_of(Collective collective) {
  switch (collective) {
    case Collective::all_gather:
      return "all_gather";
    case Collective::reduce_scatter:
      return "reduce_scatter";
    case Collective::all_reduce:
      return "all_reduce";
    case Collective::gather_bytes:
      return "gather_bytes";
    case Collective::broadcast_bytes:
      return "broadcast_bytes";
    case Collective::barrier:
      return "barrier";
    case Collective::split:
      return "split";
  }
  return "another collective";
}

std::string describe(const Announcement& announcement) {
  const char* const name = name_of(announcement.collective);
  switch (announcement.collective) {
    case Collective::gather_bytes:
      return fmt::format("{} to rank {}", name, announcement.root);
    case Collective::broadcast_bytes:
      return fmt::format("{} from rank {}", name, announcement.root);
    case Collective::barrier:
    case Collective::split:
      return name;
    default:
      return fmt::format("{}{} of {} {} elements", name, announcement.reduction == Reduction::max ? " (max)" : "",
                         announcement.elements, name_of(announcement.type));
  }
}

}  // namespace headroom
