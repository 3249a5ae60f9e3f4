# pack: one relocatable folder with the program, tests for a GPU machine and what they need, and its archive
# (launch/pack.sh; docs/gpu.md).
if(HEADROOM_TESTS)
  add_custom_target(pack
    COMMAND ${PROJECT_SOURCE_DIR}/launch/pack.sh ${CMAKE_BINARY_DIR} ${CMAKE_BINARY_DIR}/headroom-pack
    USES_TERMINAL VERBATIM)
  add_dependencies(pack headroom tensor_tests model_tests optim_tests model_mpi_tests optim_mpi_tests trainer_mpi_tests
                   analysis_mpi_tests headroom_cuda_emulated)
else()
  add_custom_target(pack
    COMMAND ${CMAKE_COMMAND} -E echo "pack: the folder holds test programs; configure with -DHEADROOM_TESTS=ON"
    COMMAND ${CMAKE_COMMAND} -E false VERBATIM)
endif()
if(TARGET headroom_cuda)
  add_dependencies(pack headroom_cuda)
endif()
