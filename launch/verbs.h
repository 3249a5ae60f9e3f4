// The verbs that exist: a factory each, defined in launch/VERB.cpp.
#pragma once

#include <memory>
#include <vector>

#include "launch/verb.h"

namespace headroom {

std::unique_ptr<Verb> make_tokenize_verb();
std::unique_ptr<Verb> make_preflight_verb();
std::unique_ptr<Verb> make_train_verb();
std::unique_ptr<Verb> make_plan_verb();
std::unique_ptr<Verb> make_doctor_verb();
std::unique_ptr<Verb> make_bench_verb();
std::unique_ptr<Verb> make_verify_verb();
std::unique_ptr<Verb> make_analyze_verb();
std::unique_ptr<Verb> make_eval_verb();
std::unique_ptr<Verb> make_inspect_verb();
std::unique_ptr<Verb> make_convert_verb();
std::unique_ptr<Verb> make_forward_verb();
std::unique_ptr<Verb> make_generate_verb();
std::unique_ptr<Verb> make_rerun_verb();
std::unique_ptr<Verb> make_campaign_verb();

// Every verb, in the order in which `headroom --help` lists them.
std::vector<std::unique_ptr<Verb>> all_verbs();

}  // namespace headroom
