# banyan tokenize: what it makes, read and decoded by Python alone (skipped without h5py), and what it refuses.
add_test(NAME e2e.tokenize COMMAND sh ${CMAKE_CURRENT_SOURCE_DIR}/tokenize.sh $<TARGET_FILE:banyan>)
add_test(NAME e2e.tokenize_decoded
         COMMAND /usr/bin/python3 ${CMAKE_CURRENT_SOURCE_DIR}/tokenize_decoded.py $<TARGET_FILE:banyan>)
set_tests_properties(e2e.tokenize e2e.tokenize_decoded
                     PROPERTIES TIMEOUT 120 LABELS e2e SKIP_RETURN_CODE 77)
