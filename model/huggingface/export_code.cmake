# The Python files of exported models are embedded in the program, so that `headroom convert` works on any machine.
set(export_code_dir ${PROJECT_SOURCE_DIR}/model/huggingface/export)
set_source_files_properties(${PROJECT_SOURCE_DIR}/model/huggingface/export_code.cpp PROPERTIES
  OBJECT_DEPENDS "${export_code_dir}/configuration_headroom.py;${export_code_dir}/modeling_headroom.py"
  COMPILE_DEFINITIONS "HEADROOM_EXPORT_DIR=\"${export_code_dir}\"")
