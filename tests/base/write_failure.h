// The error of an action that cannot write.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "base/error.h"

namespace headroom::test {

// What an action that must fail for want of space or a place to write says.
template <class Action>
std::string failure(Action action) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::disk_full);
    EXPECT_NE(error.hint(), "");
    return error.what();
  }
  ADD_FAILURE() << "no error";
  return "";
}

}  // namespace headroom::test
