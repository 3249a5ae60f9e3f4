#include "launch/verbs.h"

namespace headroom {

std::vector<std::unique_ptr<Verb>> all_verbs() {
  std::vector<std::unique_ptr<Verb>> verbs;
  verbs.push_back(make_tokenize_verb());
  verbs.push_back(make_preflight_verb());
  verbs.push_back(make_train_verb());
  verbs.push_back(make_plan_verb());
  verbs.push_back(make_doctor_verb());
  verbs.push_back(make_bench_verb());
  verbs.push_back(make_verify_verb());
  verbs.push_back(make_analyze_verb());
  verbs.push_back(make_eval_verb());
  verbs.push_back(make_inspect_verb());
  verbs.push_back(make_convert_verb());
  verbs.push_back(make_forward_verb());
  verbs.push_back(make_generate_verb());
  verbs.push_back(make_rerun_verb());
  verbs.push_back(make_campaign_verb());
  return verbs;
}

}  // namespace headroom
