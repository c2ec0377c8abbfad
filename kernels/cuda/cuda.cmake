# The CUDA toolkit, where there is one, and the kernels compiled by it.  Sets BANYAN_CUDA and the target banyan_cuda.
#
# Commands of our own instead of CMake's language CUDA: they keep what ptxas says of every kernel (registers, shared
# memory), which tests/cuda_host holds against a budget, and a build of the other compilers (clang for the sanitizers)
# is not checked for whether nvcc bears them.
option(BANYAN_WITH_CUDA "Compile the CUDA backend where the toolkit is installed" ON)
set(BANYAN_CUDA_ARCHITECTURES "80;90" CACHE STRING "GPUs to compile for, as compute capabilities; the last as PTX, too")
set(BANYAN_CUDA OFF)
if(NOT BANYAN_WITH_CUDA)
  message(STATUS "No CUDA: switched off by BANYAN_WITH_CUDA")
  return()
endif()
find_program(NVCC nvcc HINTS ENV CUDA_PATH ENV CUDA_HOME PATHS /usr/local/cuda PATH_SUFFIXES bin)
if(NVCC)
  get_filename_component(cuda_root ${NVCC} REALPATH)
  get_filename_component(cuda_root ${cuda_root} DIRECTORY)
  get_filename_component(cuda_root ${cuda_root} DIRECTORY)
endif()
find_path(CUDA_INCLUDE_DIR cuda_runtime.h HINTS ${cuda_root}/include)
find_library(CUDART_LIBRARY cudart HINTS ${cuda_root}/lib64 ${cuda_root}/lib)
find_library(CUBLASLT_LIBRARY cublasLt HINTS ${cuda_root}/lib64 ${cuda_root}/lib)
if(NOT NVCC OR NOT CUDA_INCLUDE_DIR OR NOT CUDART_LIBRARY OR NOT CUBLASLT_LIBRARY)
  message(STATUS "No CUDA: nvcc with cuda_runtime.h, libcudart and libcublasLt was not found (CUDA_HOME says where it is)")
  return()
endif()
execute_process(COMMAND ${NVCC} --version OUTPUT_VARIABLE nvcc_version ERROR_QUIET)
string(REGEX MATCH "release ([0-9]+)\\.([0-9]+)" nvcc_version "${nvcc_version}")
if(NOT CMAKE_MATCH_1 OR CMAKE_MATCH_1 LESS 12)
  message(STATUS "No CUDA: ${NVCC} is not of CUDA 12 or later, which C++20 needs")
  return()
endif()
set(BANYAN_CUDA ON)
message(STATUS "CUDA ${CMAKE_MATCH_1}.${CMAKE_MATCH_2}: kernels for ${BANYAN_CUDA_ARCHITECTURES}")

set(generate)
foreach(architecture ${BANYAN_CUDA_ARCHITECTURES})
  list(APPEND generate -gencode arch=compute_${architecture},code=sm_${architecture})
endforeach()
list(GET BANYAN_CUDA_ARCHITECTURES -1 newest)
list(APPEND generate -gencode arch=compute_${newest},code=compute_${newest})

file(GLOB cuda_kernels CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/kernels/cuda/*.cu)
file(GLOB cuda_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/kernels/cuda/*.cpp)
set(cuda_objects)
foreach(source ${cuda_kernels})
  get_filename_component(name ${source} NAME_WE)
  set(object ${CMAKE_CURRENT_BINARY_DIR}/cuda/${name}.o)
  # Spills and local memory are errors, and so is double precision but in reduce.cu, which says why.
  set(ptxas -v,--warning-as-error,--warn-on-spills,--warn-on-local-memory-usage)
  if(NOT name STREQUAL reduce)
    string(APPEND ptxas ,--warn-on-double-precision-use)
  endif()
  add_custom_command(
    OUTPUT ${object} ${object}.resources
    COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_CURRENT_BINARY_DIR}/cuda
    COMMAND sh ${PROJECT_SOURCE_DIR}/kernels/cuda/nvcc.sh ${object}.resources ${CCACHE} ${NVCC} -std=c++20
            --expt-relaxed-constexpr -O3 -Werror all-warnings -Xptxas ${ptxas} ${generate} -I${PROJECT_SOURCE_DIR}
            -MD -MF ${object}.d -c ${source} -o ${object}
    DEPENDS ${source} ${PROJECT_SOURCE_DIR}/kernels/cuda/nvcc.sh
    DEPFILE ${object}.d
    COMMENT "Compiling kernels/cuda/${name}.cu for ${BANYAN_CUDA_ARCHITECTURES}"
    COMMAND_EXPAND_LISTS VERBATIM)
  set_source_files_properties(${object} PROPERTIES EXTERNAL_OBJECT TRUE GENERATED TRUE)
  list(APPEND cuda_objects ${object})
endforeach()

add_library(banyan_cuda_host OBJECT ${cuda_sources})
target_include_directories(banyan_cuda_host SYSTEM PUBLIC ${CUDA_INCLUDE_DIR})
target_link_libraries(banyan_cuda_host PUBLIC banyan_base)
add_library(banyan_cuda STATIC ${cuda_objects})
set_target_properties(banyan_cuda PROPERTIES LINKER_LANGUAGE CXX)
target_link_libraries(banyan_cuda PUBLIC banyan_cuda_host banyan_base ${CUBLASLT_LIBRARY} ${CUDART_LIBRARY})
