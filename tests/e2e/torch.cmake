# The model and AdamW against an independent implementation in PyTorch (Debian's python3-torch; skipped without it).
add_executable(torch_dump ${CMAKE_CURRENT_SOURCE_DIR}/torch_dump.cpp)
target_link_libraries(torch_dump PRIVATE banyan_model)
foreach(kind gpt2 llama llama_tied gpt2_bf16 llama_bf16)
  add_test(NAME e2e.torch.${kind}
           COMMAND /usr/bin/python3 ${CMAKE_CURRENT_SOURCE_DIR}/torch_compare.py $<TARGET_FILE:torch_dump> ${kind})
  set_tests_properties(e2e.torch.${kind} PROPERTIES TIMEOUT 120 LABELS e2e SKIP_RETURN_CODE 77 PROCESSORS 2
                       ENVIRONMENT "OMP_NUM_THREADS=2")
endforeach()
