#include "campaign/spec.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <set>

#include "base/file.h"
#include "campaign/fields.h"
#include "campaign/names.h"
#include "trainer/config_table.h"
#include "trainer/hardware.h"

namespace headroom::campaign {
namespace {

using Visit = std::function<void(const std::string& key, const toml::node& value)>;

// Calls `visit` with every config key under the table. Both spellings serve: "optim.lr" = 1 and optim.lr = 1.
void each_config_key(const toml::table& table, const std::string& prefix, const std::filesystem::path& file,
                     const Visit& visit) {
  for (const auto& [key, node] : table) {
    const std::string name = prefix + std::string(key.str());
    if (find_config_key(name) != nullptr) {
      visit(name, node);
    } else if (node.is_table()) {
      each_config_key(*node.as_table(), name + ".", file, visit);
    } else {
      const std::string suggestion = suggest_config_key(name);
      refuse(place_of(node, file), fmt::format("'{}' is no key of a run's config", name),
             (suggestion.empty() ? "" : fmt::format("Did you mean '{}'? ", suggestion)) +
                 "`headroom train --help` lists every key.");
    }
  }
}

// The value in the notation that --set takes. Ranges and kinds are checked where the run's config is read.
std::string literal_of(const toml::node& node, const std::filesystem::path& file) {
  if (const auto* flag = node.as_boolean()) return to_toml_literal(flag->get());
  if (const auto* integer = node.as_integer()) return to_toml_literal(integer->get());
  if (const auto* real = node.as_floating_point()) return to_toml_literal(real->get());
  if (const auto* text = node.as_string()) return to_toml_literal(text->get());
  if (const auto* array = node.as_array()) {
    std::vector<std::string> items;
    for (const toml::node& item : *array) {
      if (!item.is_string()) break;
      items.push_back(item.as_string()->get());
    }
    if (items.size() == array->size()) return to_toml_literal(items);
  }
  refuse(place_of(node, file), "this is no value of a config's key");
}

// Whose keys: of one variant, which may say what reports call it, or of several.
enum class Scope : std::uint8_t { one_variant, several };

// What the campaign itself gives each run.
void refuse_reserved(const std::string& key, const std::string& place, Scope scope) {
  if (key == "name" || key == "runs_dir" || key == "parallel.threads" || key == "parallel.data") {
    refuse(place, fmt::format("the campaign itself sets {}", key),
           key == "name" || key == "runs_dir" ? "Runs are named by variant, axes and seed."
                                              : "Say what a run gets under [resources].");
  }
  if (key == "device") {
    refuse(place, "the campaign itself sets device", "resources.gpus_per_node says whether runs compute on GPUs.");
  }
  if (key == "faults.signal") {
    refuse(place, "the campaign itself sets faults.signal", "Its jobs hand SIGUSR1 on to their ranks.");
  }
  if (key == "seed") refuse(place, "seeds are not set like other keys", "Write seeds = [1, 2, 3] at the top.");
  if (key == "variant" && scope == Scope::several) {
    refuse(place, "one label cannot be several variants'", "Set it in a variant's own keys or config.");
  }
}

std::vector<std::string> settings_of(const toml::table& table, const std::filesystem::path& file, Scope scope) {
  std::vector<std::string> settings;
  each_config_key(table, "", file, [&](const std::string& key, const toml::node& value) {
    refuse_reserved(key, place_of(value, file), scope);
    settings.push_back(fmt::format("{}={}", key, literal_of(value, file)));
  });
  return settings;
}

class SpecReader {
 public:
  explicit SpecReader(const std::filesystem::path& file) { spec_.file = file; }

  std::vector<Field> fields() {
    Resources& resources = spec_.resources;
    Budget& budget = spec_.budget;
    const auto reads = [this](void (SpecReader::*take)(const toml::table&)) {
      return [this, take](const toml::node& node) {
        if (node.is_table()) (this->*take)(*node.as_table());
        return node.is_table();
      };
    };
    return {
        required(text_field("name", spec_.name, "the campaign's directory, and part of its jobs' names")),
        special_field("base", "the path of a config", "what every run begins with, unless its variant has a config",
                      [this](const toml::node& node) { return read_base(node); }),
        special_field("seeds", "a list of at least one integer, none negative, none twice",
                      "each variant is trained with each of them ([1])",
                      [this](const toml::node& node) { return read_seeds(node); }),
        required(special_field("variants", "a table of variants",
                               "NAME = \"config.toml\", or NAME = { keys over the base }",
                               reads(&SpecReader::read_variants))),
        special_field("axes", "a table of lists", "\"optim.lr\" = [1e-3, 2e-3]: every combination is a run",
                      reads(&SpecReader::read_axes)),
        special_field("set", "a table of config keys", "keys of every run: what to train, evaluate and snapshot",
                      reads(&SpecReader::read_settings)),
        count_field("resources.nodes", resources.nodes, 1, "nodes of a run (1)"),
        count_field("resources.ranks_per_node", resources.ranks_per_node, 1, "ranks on each of them (1)"),
        count_field("resources.threads", resources.threads, 0, "threads of a rank; 0: the cores shared out (0)"),
        count_field("resources.gpus_per_node", resources.gpus_per_node, 0, "GPUs of a node; 0: computed on CPUs (0)"),
        special_field("resources.gpu", "a GPU that `headroom plan` knows", "which, for predictions (h100-sxm)",
                      [&resources](const toml::node& node) {
                        const auto* key = node.as_string();
                        if (key != nullptr) resources.gpu = key->get();
                        return key != nullptr && find_gpu(resources.gpu) != nullptr;
                      }),
        duration_field("resources.time", resources.seconds,
                       "of one job on a cluster; a run that needs longer is requeued until it is done (24:00:00)"),
        duration_field("resources.warning", resources.warning,
                       "how long before a job's end ranks are told to save (00:05:00)"),
        count_field("resources.memory_gb", resources.memory_gb, 0,
                    "memory of a node, GB; 0: as the site's profile says (0)"),
        count_field(
            "resources.at_once", resources.at_once, 0,
            "runs at a time here, seeds of a variant at a time on a cluster; 0: as many as there is room for (0)"),
        number_field("budget.tokens", budget.tokens, "training tokens of all runs together, at most"),
        number_field("budget.node_hours", budget.node_hours, "predicted node hours of all runs together, at most"),
        count_field("budget.restarts", budget.restarts, 0,
                    "times that a run is begun again without a new checkpoint before it is given up (5)"),
        text_field("report.title", spec_.report.title, "heading of the report"),
        number_field("report.abs_threshold", spec_.report.absolute,
                     "a layer is massive when max|h| exceeds this (100)"),
        number_field("report.ratio_threshold", spec_.report.ratio, "and reaches this many times median|h| (1000)"),
        number_field("report.sink_threshold", spec_.report.sink, "mean attention that makes a key a sink (0.3)"),
    };
  }

  Spec read() {
    spec_.text = read_text();
    const toml::table table = parse_toml(spec_.text, spec_.file);
    read_fields(table, fields(), spec_.file);
    check();
    return std::move(spec_);
  }

 private:
  std::string read_text() const {
    try {
      return read_file(spec_.file);
    } catch (const Error& error) {
      throw Error(ExitCode::bad_config, error.what(), "Name a campaign file; configs/campaigns/ has examples.");
    }
  }

  std::filesystem::path beside(const std::string& path) const { return spec_.file.parent_path() / path; }

  bool read_base(const toml::node& node) {
    if (!node.is_string()) return false;
    spec_.base = beside(node.as_string()->get());
    return true;
  }

  bool read_seeds(const toml::node& node) {
    const auto* array = node.as_array();
    if (array == nullptr || array->empty()) return false;
    spec_.seeds.clear();
    for (const toml::node& seed : *array) {
      if (!seed.is_integer() || seed.as_integer()->get() < 0) return false;
      spec_.seeds.push_back(static_cast<std::uint64_t>(seed.as_integer()->get()));
    }
    return std::set(spec_.seeds.begin(), spec_.seeds.end()).size() == spec_.seeds.size();
  }

  void read_variants(const toml::table& table) {
    for (const auto& [key, node] : table) {
      Variant variant;
      variant.key = std::string(key.str());
      variant.place = place_of(node, spec_.file);
      variant.order = order_of(node);
      if (!is_plain_name(variant.key)) {
        refuse(variant.place, fmt::format("'{}' cannot be part of a run's name", variant.key), kPlainNames);
      }
      if (variant.key == kReportName) {
        refuse(variant.place, fmt::format("a variant cannot be called '{}', as the report's own job is", kReportName));
      }
      if (const auto* config = node.as_string()) {
        variant.config = beside(config->get());
      } else if (const auto* settings = node.as_table()) {
        toml::table keys = *settings;
        if (const auto* config_key = keys.get_as<std::string>("config")) {
          variant.config = beside(config_key->get());
          keys.erase("config");
        }
        variant.settings = settings_of(keys, spec_.file, Scope::one_variant);
      } else {
        refuse(variant.place, fmt::format("variants.{} wants a config's path or a table of keys", variant.key));
      }
      spec_.variants.push_back(std::move(variant));
    }
    in_the_files_order(spec_.variants);
  }

  static FileOrder order_of(const toml::node& node) { return {node.source().begin.line, node.source().begin.column}; }

  // A table forgets the order of its keys; in names, reports and tables the file's is what people expect.
  template <typename Entry>
  static void in_the_files_order(std::vector<Entry>& entries) {
    std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) { return a.order < b.order; });
  }

  void read_axes(const toml::table& table) {
    each_config_key(table, "", spec_.file, [&](const std::string& key, const toml::node& node) {
      Axis axis{key, {}, place_of(node, spec_.file), order_of(node)};
      refuse_reserved(key, axis.place, Scope::several);
      const auto* values = node.as_array();
      if (values == nullptr || values->empty()) {
        refuse(axis.place, fmt::format("axes.{} wants a list of values", key));
      }
      for (const toml::node& value : *values) {
        axis.values.push_back(literal_of(value, spec_.file));
        if (std::count(axis.values.begin(), axis.values.end(), axis.values.back()) > 1) {
          refuse(place_of(value, spec_.file), fmt::format("{} has the value {} twice", key, axis.values.back()));
        }
      }
      spec_.axes.push_back(std::move(axis));
    });
    in_the_files_order(spec_.axes);
  }

  void read_settings(const toml::table& table) { spec_.settings = settings_of(table, spec_.file, Scope::several); }

  void check() const {
    const std::string file = spec_.file.string();
    if (!is_plain_name(spec_.name)) {
      refuse(file, fmt::format("name = \"{}\" cannot name a directory", spec_.name), kPlainNames);
    }
    if (spec_.variants.empty()) refuse(file, "[variants] has no variant", "baseline = {} is the base as it is.");
    for (const Variant& variant : spec_.variants) {
      if (variant.config.empty() && spec_.base.empty()) {
        refuse(variant.place, fmt::format("variant {} has no config, and there is no base", variant.key),
               "Write base = \"config.toml\" at the top, or give the variant a config.");
      }
    }
    const Resources& resources = spec_.resources;
    if (resources.warning >= resources.seconds) {
      refuse(file, fmt::format("resources.warning, {} s, is no less than resources.time, {} s", resources.warning,
                               resources.seconds));
    }
    if (resources.gpus_per_node > 0 && resources.gpus_per_node != resources.ranks_per_node) {
      refuse(file,
             fmt::format("{} GPUs and {} ranks on a node: a rank computes on one GPU", resources.gpus_per_node,
                         resources.ranks_per_node),
             "Make resources.gpus_per_node and resources.ranks_per_node agree.");
    }
  }

  Spec spec_;
};

}  // namespace

Spec load_spec(const std::filesystem::path& file) {
  return SpecReader(file).read();
}

std::string describe_spec() {
  return describe_fields(SpecReader("").fields());
}

}  // namespace headroom::campaign
