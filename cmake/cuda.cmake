# The GPU backend: libheadroom_cuda.so, which the program opens when a GPU is asked for (tensor/backend.h). It links
# cuBLASLt; cuDNN and NCCL it opens itself, so that a machine without them lacks fused attention or several GPUs only.
#
#   HEADROOM_CUDA=AUTO   built if a CUDA compiler and cuBLASLt are found (the default); says what is missing otherwise
#   HEADROOM_CUDA=ON     what is missing is an error
#   HEADROOM_CUDA=OFF    not built
set(HEADROOM_CUDA AUTO CACHE STRING "The GPU backend: AUTO (if CUDA is found), ON or OFF")
set_property(CACHE HEADROOM_CUDA PROPERTY STRINGS AUTO ON OFF)
# Code for compute 8.0 and 9.0, and 9.0's intermediate form, which drivers translate for newer GPUs.
set(HEADROOM_CUDA_ARCHITECTURES "80-real;90" CACHE STRING "The GPUs to compile for, as CMAKE_CUDA_ARCHITECTURES")
set(HEADROOM_CUDNN_FRONTEND_DIR "" CACHE PATH
    "Folder of cudnn_frontend.h, which the Python package nvidia-cudnn-frontend brings; searched for if empty")

# Without the backend: an error where it was insisted on.
function(headroom_no_cuda reason)
  if(HEADROOM_CUDA STREQUAL "AUTO")
    message(STATUS "GPU backend: not built, ${reason} (-DHEADROOM_CUDA=ON makes this an error)")
  else()
    message(FATAL_ERROR "GPU backend: ${reason} (-DHEADROOM_CUDA=OFF builds without it)")
  endif()
endfunction()

if(HEADROOM_CUDA MATCHES "^(OFF|NO|FALSE|0)$")
  message(STATUS "GPU backend: not built (HEADROOM_CUDA=OFF)")
  return()
endif()

if(HEADROOM_SANITIZE)
  headroom_no_cuda("the sanitizers do not know GPUs (the emulated device is tested with them)")
  return()
endif()

include(CheckLanguage)
check_language(CUDA)
if(NOT CMAKE_CUDA_COMPILER)
  headroom_no_cuda("no CUDA compiler (nvcc) found; put it on the PATH or set CMAKE_CUDA_COMPILER")
  return()
endif()
set(CMAKE_CUDA_ARCHITECTURES ${HEADROOM_CUDA_ARCHITECTURES})
enable_language(CUDA)
# Without NDEBUG, as the rest, and with line numbers for profilers and compute-sanitizer, which cost nothing at run time.
set(CMAKE_CUDA_FLAGS_RELWITHDEBINFO "-O3 -lineinfo -Xcompiler=-g1")
set(CMAKE_CUDA_FLAGS_RELEASE "-O3")
# CMake 3.25 does not know how to ask nvcc for C++20.
if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")
  set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION "-std=c++20")
  list(APPEND CMAKE_CUDA_COMPILE_FEATURES cuda_std_20)
endif()

find_package(CUDAToolkit)
if(NOT TARGET CUDA::cublasLt OR NOT TARGET CUDA::cudart_static)
  headroom_no_cuda("the CUDA toolkit lacks cuBLASLt or the static runtime")
  return()
endif()

# Optional: cuDNN's and its frontend's headers for fused attention, NCCL's for several GPUs. Their libraries are opened
# at run time; where they are now is the second place to look.
find_path(CUDNN_INCLUDE_DIR cudnn.h HINTS ${CUDAToolkit_INCLUDE_DIRS})
find_library(CUDNN_LIBRARY NAMES libcudnn.so.9 cudnn HINTS ${CUDAToolkit_LIBRARY_DIR} ${CUDAToolkit_INCLUDE_DIRS}/../lib)
find_path(NCCL_INCLUDE_DIR nccl.h HINTS ${CUDAToolkit_INCLUDE_DIRS})
find_library(NCCL_LIBRARY NAMES libnccl.so.2 nccl HINTS ${CUDAToolkit_LIBRARY_DIR} ${CUDAToolkit_INCLUDE_DIRS}/../lib)
if(NOT HEADROOM_CUDNN_FRONTEND_DIR)
  find_program(PYTHON3 python3)
  if(PYTHON3)
    execute_process(COMMAND ${PYTHON3} -c "import site, sysconfig; print(';'.join(p + '/include' for p in {
sysconfig.get_paths()['purelib'], *site.getsitepackages(), site.getusersitepackages()}))"
                    OUTPUT_VARIABLE python_includes OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  endif()
  find_path(CUDNN_FRONTEND_INCLUDE_DIR cudnn_frontend.h
            HINTS ${CMAKE_BINARY_DIR}/cudnn-frontend/include ${CUDNN_INCLUDE_DIR} ${python_includes})
  mark_as_advanced(PYTHON3 CUDNN_FRONTEND_INCLUDE_DIR)
else()
  set(CUDNN_FRONTEND_INCLUDE_DIR ${HEADROOM_CUDNN_FRONTEND_DIR})
endif()
mark_as_advanced(CUDNN_INCLUDE_DIR CUDNN_LIBRARY NCCL_INCLUDE_DIR NCCL_LIBRARY)
if(CUDNN_INCLUDE_DIR)
  file(STRINGS ${CUDNN_INCLUDE_DIR}/cudnn_version.h cudnn_9 REGEX "#define CUDNN_MAJOR 9")
endif()

file(GLOB cuda_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tensor/cuda/*.cu ${PROJECT_SOURCE_DIR}/tensor/cuda/*.cpp)
set(cuda_definitions "")
set(cuda_includes ${CUDAToolkit_INCLUDE_DIRS})
set(cuda_missing "")
set(fused_attention ${PROJECT_SOURCE_DIR}/tensor/cuda/fused_attention.cpp)
if(cudnn_9 AND EXISTS ${CUDNN_FRONTEND_INCLUDE_DIR}/cudnn_frontend.h)
  list(APPEND cuda_definitions HEADROOM_WITH_CUDNN=1)
  list(APPEND cuda_includes ${CUDNN_INCLUDE_DIR} ${CUDNN_FRONTEND_INCLUDE_DIR})
  if(CUDNN_LIBRARY)
    set_property(SOURCE ${fused_attention} PROPERTY COMPILE_DEFINITIONS "HEADROOM_CUDNN_LIBRARY=\"${CUDNN_LIBRARY}\"")
  endif()
else()
  list(REMOVE_ITEM cuda_sources ${fused_attention})
  string(APPEND cuda_missing ", no cuDNN 9 or no frontend (run launch/cudnn_frontend.sh, or set "
                             "HEADROOM_CUDNN_FRONTEND_DIR): attention by our own kernels, which are slower")
endif()
if(NCCL_INCLUDE_DIR)
  file(GLOB nccl_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/parallel/cuda/*.cpp)
  list(APPEND cuda_sources ${nccl_sources})
  list(APPEND cuda_definitions HEADROOM_WITH_NCCL=1)
  list(APPEND cuda_includes ${NCCL_INCLUDE_DIR})
  if(NCCL_LIBRARY)
    set_property(SOURCE ${PROJECT_SOURCE_DIR}/parallel/cuda/nccl_library.cpp
                 PROPERTY COMPILE_DEFINITIONS "HEADROOM_NCCL_LIBRARY=\"${NCCL_LIBRARY}\"")
  endif()
else()
  string(APPEND cuda_missing ", no NCCL: several GPUs exchange through host memory")
endif()

add_library(headroom_cuda SHARED ${cuda_sources})
set_target_properties(headroom_cuda PROPERTIES
  CUDA_STANDARD 20 CUDA_STANDARD_REQUIRED ON
  CXX_VISIBILITY_PRESET hidden CUDA_VISIBILITY_PRESET hidden
  LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}
  BUILD_RPATH "$ORIGIN;${CUDAToolkit_LIBRARY_DIR}" INSTALL_RPATH "$ORIGIN")
# fmt 9 takes nvcc for one without constexpr, which its consteval functions then lack.
target_compile_definitions(headroom_cuda PRIVATE ${cuda_definitions} $<$<COMPILE_LANGUAGE:CUDA>:FMT_USE_CONSTEXPR=1>)
# --extended-lambda is not asked for: kernels are functions. Device code calls constexpr functions and std::bit_cast.
# Numbers below f32's smallest normal one become 0: their handling costs instructions where memory should be the limit.
target_compile_options(headroom_cuda PRIVATE
  $<$<COMPILE_LANGUAGE:CUDA>:--expt-relaxed-constexpr -ftz=true -Xcompiler=-Wall,-Wextra,-Wno-unknown-pragmas>)
target_include_directories(headroom_cuda SYSTEM PRIVATE ${cuda_includes})
target_link_libraries(headroom_cuda PRIVATE headroom_parallel headroom_tensor headroom_base CUDA::cudart_static
                                            CUDA::cublasLt ${CMAKE_DL_LIBS})
# What it exports are the C functions that the program looks up, nothing of the libraries that it is made of; and it
# keeps no library open that it does not use (OpenMP, MPI).
target_link_options(headroom_cuda PRIVATE -Wl,--version-script=${PROJECT_SOURCE_DIR}/cmake/cuda_exports.map
                                          -Wl,--as-needed -Wl,-z,defs)
set_property(TARGET headroom_cuda APPEND PROPERTY LINK_DEPENDS ${PROJECT_SOURCE_DIR}/cmake/cuda_exports.map)
# Whoever builds the program has the backend beside it.
if(TARGET headroom)
  add_dependencies(headroom headroom_cuda)
endif()
message(STATUS "GPU backend: CUDA ${CUDAToolkit_VERSION} for compute ${CMAKE_CUDA_ARCHITECTURES}${cuda_missing}")
