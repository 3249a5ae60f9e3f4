# The parallel floor over NCCL, without GPUs. Included by tests/CMakeLists.txt behind parallel_tests.
#
# headroom_fake_gpu: a GPU backend whose device has no kernels but streams that are threads, and an NCCL between the
# processes of one host, under the real parallel/cuda. So what orders collectives and operations, splits groups and
# watches over them runs on any machine.
file(GLOB fake_gpu_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/parallel/fake_gpu/*.cpp)
foreach(source events nccl_comm nccl_group nccl_communicator)
  list(APPEND fake_gpu_sources ${PROJECT_SOURCE_DIR}/parallel/cuda/${source}.cpp)
endforeach()
add_library(headroom_fake_gpu MODULE ${fake_gpu_sources})
set_target_properties(headroom_fake_gpu PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}
                                                   CXX_VISIBILITY_PRESET hidden)
target_include_directories(headroom_fake_gpu BEFORE PRIVATE ${PROJECT_SOURCE_DIR}/tests/parallel/fake_gpu/include)
target_link_libraries(headroom_fake_gpu PRIVATE headroom_parallel headroom_tensor headroom_base)
target_link_options(headroom_fake_gpu PRIVATE -Wl,--version-script=${PROJECT_SOURCE_DIR}/cmake/cuda_exports.map
                                              -Wl,--as-needed)

foreach(ranks 1 2 3 4)
  set(test parallel/fake_gpu_${ranks}_ranks)
  add_test(NAME ${test} COMMAND ${mpirun} ${ranks} $<TARGET_FILE:parallel_tests> --gtest_brief=1
                                --gtest_filter=-*OnHost*:Mismatch*:*Watch*:Control*)
  set_tests_properties(${test} PROPERTIES PROCESSORS ${ranks} TIMEOUT 300 ENVIRONMENT
    "${mpi_environment};HEADROOM_CUDA_LIBRARY=$<TARGET_FILE:headroom_fake_gpu>")
endforeach()
add_dependencies(parallel_tests headroom_fake_gpu)

# What the watchdog does when a collective hangs, and when NCCL reports an error.
add_executable(parallel_failing_collective ${PROJECT_SOURCE_DIR}/tests/parallel/programs/failing_collective.cpp)
target_link_libraries(parallel_failing_collective PRIVATE headroom_parallel)
add_dependencies(parallel_failing_collective headroom_fake_gpu)
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
