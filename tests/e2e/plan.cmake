add_test(NAME e2e.plan COMMAND sh ${CMAKE_CURRENT_SOURCE_DIR}/plan.sh $<TARGET_FILE:banyan>)
set_tests_properties(e2e.plan PROPERTIES TIMEOUT 120 LABELS e2e)
add_test(NAME e2e.memory COMMAND sh ${CMAKE_CURRENT_SOURCE_DIR}/memory.sh $<TARGET_FILE:banyan>)
set_tests_properties(e2e.memory PROPERTIES TIMEOUT 300 LABELS e2e PROCESSORS 2)
