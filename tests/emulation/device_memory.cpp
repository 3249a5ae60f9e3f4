#include "tests/emulation/device_memory.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>

namespace headroom::emulation {
namespace {

constexpr std::size_t kAlignment = 16;
constexpr std::size_t kRemembered = 256;  // freed blocks whose addresses stay forbidden
constexpr unsigned char kCanary = 0xa5;
constexpr unsigned char kFresh = 0xff;

struct Block {
  std::byte* mapping;  // of the first forbidden page
  std::size_t mapped;  // with both forbidden pages
  std::byte* begin;
  std::size_t bytes;

  std::byte* inside() const { return mapping + page(); }
  std::byte* inside_end() const { return mapping + mapped - page(); }
  static std::size_t page() {
    static const auto size = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    return size;
  }
};

struct Memory {
  std::mutex mutex;
  std::map<std::uintptr_t, Block> blocks;  // by end of the mapping
  std::deque<Block> freed;
  std::size_t used = 0;
};
Memory& memory() {
  static auto& made = *new Memory;  // never destroyed: whoever frees late still finds it
  return made;
}

std::uintptr_t number(const void* address) {
  return reinterpret_cast<std::uintptr_t>(address);
}

const Block* block_at(const void* address) {
  const auto found = memory().blocks.upper_bound(number(address));
  return found != memory().blocks.end() && number(found->second.mapping) <= number(address) ? &found->second : nullptr;
}

std::size_t rounded(std::size_t bytes, std::size_t step) {
  return (bytes + step - 1) / step * step;
}

void check_canaries(const Block& block) {
  for (std::byte* at = block.inside(); at != block.inside_end(); ++at) {
    if (at == block.begin) at += block.bytes;
    if (at == block.inside_end()) break;
    if (*at == std::byte{kCanary}) continue;
    fmt::print(stderr, "emulated device: somebody wrote {}\n", describe_address(at));
    std::abort();
  }
}

std::string place_in(const Block& block, const void* address, const char* kind) {
  if (number(address) < number(block.begin)) {
    return fmt::format("{} bytes before {} of {} bytes", number(block.begin) - number(address), kind, block.bytes);
  }
  const std::size_t offset = number(address) - number(block.begin);
  if (offset < block.bytes) return fmt::format("byte {} of {} of {} bytes", offset, kind, block.bytes);
  return fmt::format("{} bytes behind the end of {} of {} bytes", offset - block.bytes, kind, block.bytes);
}

}  // namespace

std::size_t total_device_bytes() {
  return std::size_t{2} << 30;
}

std::size_t available_device_bytes() {
  const std::lock_guard lock(memory().mutex);
  return total_device_bytes() - memory().used;
}

void* allocate_device(std::size_t bytes) {
  const std::lock_guard lock(memory().mutex);
  if (bytes > total_device_bytes() - memory().used) return nullptr;
  Block block{};
  const std::size_t usable = rounded(rounded(bytes, kAlignment), Block::page());
  block.mapped = usable + 2 * Block::page();
  void* mapping = mmap(nullptr, block.mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapping == MAP_FAILED) return nullptr;
  block.mapping = static_cast<std::byte*>(mapping);
  if (mprotect(block.inside(), usable, PROT_READ | PROT_WRITE) != 0) {
    munmap(mapping, block.mapped);
    return nullptr;
  }
  block.bytes = bytes;
  block.begin = block.inside_end() - rounded(bytes, kAlignment);
  std::memset(block.inside(), kCanary, usable);
  std::memset(block.begin, kFresh, bytes);
  memory().blocks.emplace(number(block.mapping) + block.mapped, block);
  memory().used += bytes;
  return block.begin;
}

bool free_device(void* address) {
  const std::lock_guard lock(memory().mutex);
  const Block* found = block_at(address);
  if (found == nullptr || found->begin != address) return false;
  const Block block = *found;
  check_canaries(block);
  memory().blocks.erase(number(block.mapping) + block.mapped);
  memory().used -= block.bytes;
  // The pages go, the addresses stay forbidden for a while, so that a late access is found.
  const void* kept =
      mmap(block.mapping, block.mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
  if (kept == MAP_FAILED) return false;
  memory().freed.push_back(block);
  if (memory().freed.size() > kRemembered) {
    munmap(memory().freed.front().mapping, memory().freed.front().mapped);
    memory().freed.pop_front();
  }
  return true;
}

Range range_of(const void* address, std::size_t bytes) {
  const std::lock_guard lock(memory().mutex);
  const Block* block = block_at(address);
  if (block == nullptr) return Range::host;
  const bool inside =
      number(address) >= number(block->begin) && number(address) + bytes <= number(block->begin) + block->bytes;
  return inside ? Range::device : Range::broken;
}

std::string describe_address(const void* address) {
  if (const Block* block = block_at(address)) return place_in(*block, address, "a block");
  for (const Block& block : memory().freed) {
    if (number(address) >= number(block.mapping) && number(address) < number(block.mapping) + block.mapped) {
      return place_in(block, address, "a freed block");
    }
  }
  return {};
}

}  // namespace headroom::emulation
