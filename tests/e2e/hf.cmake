# Import and export of Hugging Face's layout: against PyTorch (skipped without it), and around with a trained model.
add_executable(hf_logits ${CMAKE_CURRENT_SOURCE_DIR}/hf_logits.cpp)
target_link_libraries(hf_logits PRIVATE banyan_plan banyan_io)
foreach(kind gpt2 gpt2_body llama llama_f16 llama_tied_bf16)
  add_test(NAME e2e.hf_layout.${kind}
           COMMAND /usr/bin/python3 ${CMAKE_CURRENT_SOURCE_DIR}/hf_layout.py $<TARGET_FILE:banyan>
                   $<TARGET_FILE:hf_logits> ${kind})
  set_tests_properties(e2e.hf_layout.${kind} PROPERTIES TIMEOUT 120 LABELS e2e SKIP_RETURN_CODE 77 PROCESSORS 2
                       ENVIRONMENT "OMP_NUM_THREADS=2")
endforeach()
foreach(kind gpt2 llama)
  add_test(NAME e2e.hf.${kind} COMMAND sh ${CMAKE_CURRENT_SOURCE_DIR}/hf.sh $<TARGET_FILE:banyan> ${kind})
  set_tests_properties(e2e.hf.${kind} PROPERTIES TIMEOUT 300 LABELS e2e PROCESSORS 2)
endforeach()
