# End-to-end tests: shell scripts that run the program on ranks.  Label e2e.
function(banyan_e2e_test name)
  cmake_parse_arguments(ARG "" "TIMEOUT" "COMMAND" ${ARGN})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 300)
  endif()
  add_test(NAME e2e.${name} COMMAND ${ARG_COMMAND})
  math(EXPR ARG_TIMEOUT "${slower} * ${ARG_TIMEOUT}")
  set_tests_properties(e2e.${name} PROPERTIES TIMEOUT ${ARG_TIMEOUT} LABELS e2e PROCESSORS 2)
endfunction()

foreach(kind gpt2 llama)
  foreach(variant plain zero sequence recompute all bf16)
    banyan_e2e_test(mesh_equality.${kind}.${variant}
                    COMMAND sh ${CMAKE_CURRENT_SOURCE_DIR}/mesh_equality.sh $<TARGET_FILE:banyan> ${kind} ${variant})
  endforeach()
endforeach()
# Other schedules.  In a V both ends of the model are on one stage, and GPT-2's tie them: the hardest case.
foreach(kind gpt2 llama)
  foreach(variant interleaved zb-h1 zb-v)
    banyan_e2e_test(mesh_equality.${kind}.${variant}
                    COMMAND sh ${CMAKE_CURRENT_SOURCE_DIR}/mesh_equality.sh $<TARGET_FILE:banyan> ${kind} ${variant})
  endforeach()
endforeach()
set_tests_properties(e2e.mesh_equality.gpt2.interleaved e2e.mesh_equality.llama.interleaved
                     e2e.mesh_equality.gpt2.zb-h1 e2e.mesh_equality.llama.zb-h1
                     e2e.mesh_equality.llama.zb-v PROPERTIES LABELS soak)
banyan_e2e_test(resume COMMAND sh ${CMAKE_CURRENT_SOURCE_DIR}/resume.sh $<TARGET_FILE:banyan>)
banyan_e2e_test(loop COMMAND sh ${CMAKE_CURRENT_SOURCE_DIR}/loop.sh $<TARGET_FILE:banyan>)
banyan_e2e_test(stop COMMAND sh ${CMAKE_CURRENT_SOURCE_DIR}/stop.sh $<TARGET_FILE:banyan>)
banyan_e2e_test(bad_steps COMMAND sh ${CMAKE_CURRENT_SOURCE_DIR}/bad_steps.sh $<TARGET_FILE:banyan>)
banyan_e2e_test(interval COMMAND sh ${CMAKE_CURRENT_SOURCE_DIR}/interval.sh $<TARGET_FILE:banyan>)
set(with_ucx "")
if(UCX_FOUND AND BANYAN_UCX)
  set(with_ucx ucx)
endif()
banyan_e2e_test(transport COMMAND sh ${CMAKE_CURRENT_SOURCE_DIR}/transport.sh $<TARGET_FILE:banyan> ${with_ucx})
banyan_e2e_test(placement COMMAND sh ${CMAKE_CURRENT_SOURCE_DIR}/placement.sh $<TARGET_FILE:banyan>)
banyan_e2e_test(train_errors COMMAND sh ${CMAKE_CURRENT_SOURCE_DIR}/train_errors.sh $<TARGET_FILE:banyan>)
banyan_e2e_test(compare COMMAND sh ${CMAKE_CURRENT_SOURCE_DIR}/compare.sh $<TARGET_FILE:banyan>)
banyan_e2e_test(listens COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/listens.sh $<TARGET_FILE:banyan>)
set_tests_properties(e2e.listens PROPERTIES SKIP_RETURN_CODE 77)
banyan_e2e_test(eval COMMAND sh ${CMAKE_CURRENT_SOURCE_DIR}/eval.sh $<TARGET_FILE:banyan>)

# What is the same on every mesh, after every resume and in every sample is so over MPI's messages, too.
foreach(kind gpt2 llama)
  banyan_e2e_test(mesh_equality_mpi.${kind}
                  COMMAND sh ${CMAKE_CURRENT_SOURCE_DIR}/mesh_equality.sh $<TARGET_FILE:banyan> ${kind} all)
  banyan_e2e_test(generate_mpi.${kind}
                  COMMAND sh ${CMAKE_CURRENT_SOURCE_DIR}/generate.sh $<TARGET_FILE:banyan> ${kind})
endforeach()
banyan_e2e_test(resume_mpi COMMAND sh ${CMAKE_CURRENT_SOURCE_DIR}/resume.sh $<TARGET_FILE:banyan>)
set_tests_properties(e2e.mesh_equality_mpi.gpt2 e2e.mesh_equality_mpi.llama e2e.generate_mpi.gpt2
                     e2e.generate_mpi.llama e2e.resume_mpi
                     PROPERTIES LABELS soak ENVIRONMENT "BANYAN_TEST_TRANSPORT=mpi")
