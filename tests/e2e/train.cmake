# End-to-end tests: shell scripts that run the program on ranks.  Label e2e.
function(banyan_e2e_test name)
  cmake_parse_arguments(ARG "" "TIMEOUT" "COMMAND" ${ARGN})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 300)
  endif()
  add_test(NAME e2e.${name} COMMAND ${ARG_COMMAND})
  set_tests_properties(e2e.${name} PROPERTIES TIMEOUT ${ARG_TIMEOUT} LABELS e2e PROCESSORS 2)
endfunction()

foreach(kind gpt2 llama)
  foreach(variant plain zero sequence recompute all)
    banyan_e2e_test(mesh_equality.${kind}.${variant}
                    COMMAND sh ${CMAKE_CURRENT_SOURCE_DIR}/mesh_equality.sh $<TARGET_FILE:banyan> ${kind} ${variant})
  endforeach()
endforeach()
banyan_e2e_test(resume COMMAND sh ${CMAKE_CURRENT_SOURCE_DIR}/resume.sh $<TARGET_FILE:banyan>)
banyan_e2e_test(train_errors COMMAND sh ${CMAKE_CURRENT_SOURCE_DIR}/train_errors.sh $<TARGET_FILE:banyan>)
banyan_e2e_test(compare COMMAND sh ${CMAKE_CURRENT_SOURCE_DIR}/compare.sh $<TARGET_FILE:banyan>)
