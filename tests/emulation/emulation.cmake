# headroom_cuda_emulated: libheadroom_cuda_emulated.so, the GPU backend with its kernels compiled for the CPU. The same
# sources as libheadroom_cuda.so's, but for NVIDIA's libraries: tests/emulation/product.cpp stands in for cuBLASLt,
# attention is our own kernels', several ranks exchange through host memory.
find_package(Boost REQUIRED COMPONENTS context)

# The emulator, which the backend and its own tests are made with.
set(emulator ${CMAKE_CURRENT_LIST_DIR})
add_library(headroom_emulation STATIC
  ${emulator}/api.cpp ${emulator}/device_memory.cpp ${emulator}/fault_handler.cpp ${emulator}/meetings.cpp
  ${emulator}/scheduler.cpp ${emulator}/streams.cpp ${emulator}/symbols.cpp)
target_include_directories(headroom_emulation BEFORE PUBLIC ${emulator}/include)
target_link_libraries(headroom_emulation PUBLIC headroom_flags fmt::fmt Boost::context)

# Kernels read memory as other types (16 bytes at once), as CUDA allows. An index outside of an array is an illegal
# instruction, which the emulator reports with kernel and thread.
set(kernel_options -O2 -g1 -fno-strict-aliasing -Wno-unknown-pragmas)
if(NOT HEADROOM_SANITIZE)
  list(APPEND kernel_options -fsanitize=bounds -fsanitize-undefined-trap-on-error)
endif()

file(GLOB kernels CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tensor/cuda/*.cu)
set_source_files_properties(${kernels} PROPERTIES LANGUAGE CXX COMPILE_OPTIONS "${kernel_options}")
file(GLOB host_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tensor/cuda/*.cpp)
list(FILTER host_sources EXCLUDE REGEX "/(product|product_choices|fused_attention|library_parts)\\.cpp$")
add_library(headroom_cuda_emulated SHARED ${kernels} ${host_sources} ${emulator}/product.cpp)
set_target_properties(headroom_cuda_emulated PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})
target_link_libraries(headroom_cuda_emulated PRIVATE headroom_emulation headroom_tensor headroom_base)
target_link_options(headroom_cuda_emulated PRIVATE -Wl,--version-script=${PROJECT_SOURCE_DIR}/cmake/cuda_exports.map
                                                   -Wl,--as-needed)

# What a test sets to have the emulated device.
set(emulation_environment HEADROOM_CUDA_LIBRARY=$<TARGET_FILE:headroom_cuda_emulated>)

file(GLOB emulation_tests CONFIGURE_DEPENDS ${emulator}/*_test.cpp)
set(runtime ${PROJECT_SOURCE_DIR}/tensor/cuda)
add_executable(emulation_tests ${emulation_tests} ${runtime}/runtime.cpp ${runtime}/memory.cpp ${runtime}/device.cpp)
set_source_files_properties(${emulation_tests} PROPERTIES COMPILE_OPTIONS "${kernel_options}")
target_link_libraries(emulation_tests PRIVATE headroom_emulation headroom_base GTest::gmock GTest::gtest GTest::gtest_main)
gtest_discover_tests(emulation_tests TEST_PREFIX "emulation/" DISCOVERY_TIMEOUT 60)
