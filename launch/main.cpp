// The `headroom` program: finds the verb, parses its options, and turns whatever goes wrong into one message, one hint
// and one exit code.
#include <fmt/core.h>

#include <algorithm>

#include "base/suggest.h"
#include "base/version.h"
#include "launch/failure.h"
#include "launch/verbs.h"

namespace headroom {
namespace {

int exit_status(ExitCode code) {
  return static_cast<int>(code);
}

int report(const Failure& failure) {
  print_failure(failure);
  return exit_status(failure.code);
}

// The word that should be a verb is checked by hand, because CLI11 knows no suggestions.
void check_verb(int argc, char** argv, const std::vector<std::unique_ptr<Verb>>& verbs) {
  if (argc < 2) throw Error(ExitCode::usage, "no verb given", "`headroom --help` lists the verbs.");
  if (argv[1][0] == '-') return;
  const std::string word = argv[1];
  std::vector<std::string> names;
  for (const auto& verb : verbs) names.push_back(verb->name());
  if (std::find(names.begin(), names.end(), word) != names.end()) return;
  const std::string nearest = nearest_word(word, names);
  throw Error(ExitCode::usage, fmt::format("unknown verb '{}'", word),
              nearest.empty() ? "`headroom --help` lists the verbs."
                              : fmt::format("Did you mean `headroom {}`? `headroom --help` lists the verbs.", nearest));
}

// Reports a command line that does not parse. An unknown option comes before whatever else CLI11 misses: it is often
// the misspelt form of just that. So does an unknown action of a verb that has some.
int report_usage(const CLI::App& app, const std::string& command, const CLI::ParseError& error) {
  if (const auto actions = app.get_subcommands(); actions.size() == 1) {
    return report_usage(*actions.front(), command + " " + actions.front()->get_name(), error);
  }
  const std::string help = fmt::format("`{} --help`", command);
  std::vector<std::string> known;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) known.push_back("--" + name);
  }
  std::vector<std::string> actions;
  for (const CLI::App* action : app.get_subcommands([](const CLI::App*) { return true; })) {
    actions.push_back(action->get_name());
  }
  if (const auto words = app.remaining(true); !actions.empty() && !words.empty() && words.front()[0] != '-') {
    const std::string nearest = nearest_word(words.front(), actions);
    return report({ExitCode::usage, fmt::format("unknown action '{}'", words.front()),
                   nearest.empty() ? fmt::format("It is one of {}. See {}.", fmt::join(actions, ", "), help)
                                   : fmt::format("Did you mean `{} {}`? See {}.", command, nearest, help)});
  }
  for (const std::string& word : app.remaining(true)) {
    if (!word.starts_with("-")) continue;
    const std::string option = word.substr(0, word.find('='));
    const std::string nearest = nearest_word(option, known);
    return report(
        {ExitCode::usage, fmt::format("unknown option '{}'", option),
         nearest.empty() ? fmt::format("See {}.", help) : fmt::format("Did you mean {}? See {}.", nearest, help)});
  }
  return report({ExitCode::usage, error.what(), fmt::format("See {}.", help)});
}

int run_program(int argc, char** argv) {
  const auto verbs = all_verbs();
  CLI::App app("Headroom pretrains transformer language models and keeps watch over their activations.", "headroom");
  app.set_version_flag("--version", version_line());
  app.require_subcommand(1);
  app.footer("`headroom VERB --help` describes a verb. Exit codes: docs/exit-codes.md.");
  check_verb(argc, argv, verbs);
  std::vector<CLI::App*> subcommands;
  for (const auto& verb : verbs) {
    CLI::App* subcommand = app.add_subcommand(verb->name(), verb->summary());
    verb->declare(*subcommand);
    subcommands.push_back(subcommand);
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& request) {  // --help, --version
    return app.exit(request);
  } catch (const CLI::ParseError& error) {
    for (std::size_t i = 0; i < verbs.size(); ++i) {
      if (subcommands[i]->parsed()) {
        return report_usage(*subcommands[i], "headroom " + verbs[i]->name(), error);
      }
    }
    return report_usage(app, "headroom", error);
  }
  for (std::size_t i = 0; i < verbs.size(); ++i) {
    if (subcommands[i]->parsed()) return exit_status(verbs[i]->run());
  }
  throw Error(ExitCode::internal, "no verb was parsed");
}

}  // namespace
}  // namespace headroom

int main(int argc, char** argv) {
  using namespace headroom;
  try {
    return run_program(argc, argv);
  } catch (...) {
    return report(current_failure());
  }
}
