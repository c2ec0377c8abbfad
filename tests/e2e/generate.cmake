foreach(kind gpt2 llama)
  add_test(NAME e2e.generate.${kind}
           COMMAND sh ${CMAKE_CURRENT_SOURCE_DIR}/generate.sh $<TARGET_FILE:banyan> ${kind})
  set_tests_properties(e2e.generate.${kind} PROPERTIES TIMEOUT 300 LABELS e2e PROCESSORS 2)
endforeach()
