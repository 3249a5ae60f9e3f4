// An owned file descriptor, and the loop that writes all of something to one.
#pragma once

#include <string_view>

namespace headroom {

class Descriptor {
 public:
  // Takes over what open() returned; -1 is a descriptor that is not there.
  explicit Descriptor(int value = -1) : value_(value) {}
  ~Descriptor();
  Descriptor(Descriptor&& other) noexcept;
  Descriptor& operator=(Descriptor&& other) noexcept;

  explicit operator bool() const { return value_ >= 0; }
  int get() const { return value_; }
  // Closes; 0 or an errno, which some file systems give for a write that failed late.
  int close();

 private:
  int value_;
};

// Writes all of it, however often the system takes only a part; 0 or the errno of the first failure.
int write_all(int descriptor, std::string_view bytes);

}  // namespace headroom
