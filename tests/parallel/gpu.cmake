# The parallel floor with GPU backends that need no GPU. Included by tests/CMakeLists.txt behind parallel_tests.
#
# headroom_fake_gpu: a device without kernels whose streams are threads, and an NCCL between processes of one host, under
# the real parallel/cuda; so what orders collectives and operations, splits groups and watches them runs on any machine.
file(GLOB fake_gpu_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/parallel/fake_gpu/*.cpp)
set(fake_gpu_sources ${fake_gpu_sources}
    parallel/cuda/events.cpp parallel/cuda/nccl_comm.cpp parallel/cuda/nccl_group.cpp
    parallel/cuda/nccl_communicator.cpp parallel/watchdog.cpp parallel/announcement.cpp parallel/collective_checks.cpp
    parallel/rank_order.cpp tensor/tensor.cpp base/error.cpp base/system.cpp)
list(TRANSFORM fake_gpu_sources PREPEND ${PROJECT_SOURCE_DIR}/ REGEX "^[^/]")
add_library(headroom_fake_gpu MODULE ${fake_gpu_sources})
target_include_directories(headroom_fake_gpu BEFORE PRIVATE ${PROJECT_SOURCE_DIR}/tests/parallel/fake_gpu/include)
target_compile_options(headroom_fake_gpu PRIVATE -fvisibility=hidden -fopenmp-simd)
target_link_libraries(headroom_fake_gpu PRIVATE headroom_flags fmt::fmt)

# headroom_parallel_tests_on(LIBRARY NAME RANKS...): parallel_tests with this GPU backend.
function(headroom_parallel_tests_on library name)
  foreach(ranks ${ARGN})
    set(test parallel/${name}_${ranks}_ranks)
    add_test(NAME ${test} COMMAND ${mpirun} ${ranks} $<TARGET_FILE:parallel_tests> --gtest_brief=1)
    set_tests_properties(${test} PROPERTIES ENVIRONMENT "${mpi_environment};HEADROOM_CUDA_LIBRARY=$<TARGET_FILE:${library}>"
                                            PROCESSORS ${ranks} TIMEOUT 300)
  endforeach()
  add_dependencies(parallel_tests ${library})
endfunction()

headroom_parallel_tests_on(headroom_fake_gpu fake_gpu 1 2 3 4)
if(TARGET headroom_cuda_emulated)
  headroom_parallel_tests_on(headroom_cuda_emulated emulated_gpu 1 2 4)
endif()

# What the watchdog does when a collective hangs, and when NCCL reports an error.
add_executable(parallel_failing_collective ${PROJECT_SOURCE_DIR}/tests/parallel/programs/failing_collective.cpp)
target_link_libraries(parallel_failing_collective PRIVATE headroom_parallel)
function(headroom_failing_collective mode expected)
  set(test parallel/collective_that_${mode}s)
  add_test(NAME ${test}
           COMMAND ${PROJECT_SOURCE_DIR}/tests/parallel/programs/failing_collective.sh ${expected} ${mpirun} 2
                   $<TARGET_FILE:parallel_failing_collective> ${mode})
  set_tests_properties(${test} PROPERTIES PROCESSORS 2 TIMEOUT 60 ENVIRONMENT
    "${mpi_environment};HEADROOM_CUDA_LIBRARY=$<TARGET_FILE:headroom_fake_gpu>;HEADROOM_NCCL_TIMEOUT=1;${ARGN}")
endfunction()
headroom_failing_collective(hang "all_reduce (max) of 16 f32 elements, number 2 of its group, has not finished")
headroom_failing_collective(fail "rank 1 (1 of 2 in its group)" HEADROOM_FAKE_NCCL_ERROR=1)
