#include "parallel/agreement.h"

#include <vector>

namespace headroom {
namespace {

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span<const char>(text.data(), text.size()));
}

std::string text_of(const std::vector<std::byte>& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// An Error as a message: code, length of the hint, hint, what.
std::string packed(const Error& error) {
  return fmt::format("{} {} {}{}", static_cast<int>(error.code()), error.hint().size(), error.hint(), error.what());
}

Error unpacked(const std::string& message) {
  std::size_t used = 0;
  const int code = std::stoi(message, &used);
  std::string rest = message.substr(used + 1);
  const std::size_t length = std::stoul(rest, &used);
  rest = rest.substr(used + 1);
  return {static_cast<ExitCode>(code), rest.substr(length), rest.substr(0, length)};
}

}  // namespace

std::string on_root(Communicator& group, const std::function<std::string()>& work) {
  // '+' and the text, or '-' and the Error.
  std::string message;
  if (group.rank() == 0) {
    try {
      message = "+" + work();
    } catch (const Error& error) {
      message = "-" + packed(error);
    } catch (const std::exception& error) {
      message = "-" + packed(Error(ExitCode::internal, error.what()));
    }
  }
  message = text_of(group.broadcast_bytes(bytes_of(message), 0));
  if (message.front() == '-') throw unpacked(message.substr(1));
  return message.substr(1);
}

std::optional<Error> first_failure(Communicator& group, const std::optional<Error>& own) {
  // The largest of (size - rank) over the ranks that failed names the lowest one.
  std::int64_t failed = own ? group.size() - group.rank() : 0;
  group.all_reduce(std::span<std::int64_t>(&failed, 1), Reduction::max);
  if (failed == 0) return std::nullopt;
  const int root = group.size() - static_cast<int>(failed);
  const std::string message = group.rank() == root ? packed(*own) : "";
  return unpacked(text_of(group.broadcast_bytes(bytes_of(message), root)));
}

void on_all(Communicator& group, const std::function<void()>& work) {
  std::optional<Error> own;
  try {
    work();
  } catch (const Error& error) {
    own = error;
  } catch (const std::exception& error) {
    own.emplace(ExitCode::internal, error.what());
  }
  if (const std::optional<Error> failure = first_failure(group, own)) throw Error(*failure);
}

}  // namespace headroom
