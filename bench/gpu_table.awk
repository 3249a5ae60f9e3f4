# The table of bench/gpu.sh and its gpu.json, out of lines of fields separated by tabs:
#
#   fact  NAME  VALUE                                     date, version, device, torch, ...
#   step  NAME  VERDICT  SECONDS  NOTE
#   loss  MODEL  WHAT  DIFFERENCE  LIMIT  LAST_LOSS       the largest relative difference of two runs' losses
#   run   WHO  MODEL  VARIANT  BATCH  JSON                WHO: headroom, torch, kernels; JSON: a flat object, one line
#
#   awk -v json=gpu.json -f gpu_table.awk results

BEGIN { FS = "\t" }
$1 == "fact" { fact_names[++facts] = $2; fact[$2] = $3 }
$1 == "step" { step_line[++steps] = $0; verdicts[$3]++ }
$1 == "loss" { loss_line[++losses] = $0 }
$1 == "run" {
  key = $2 " " $3 " " $4
  if (!(key in run)) run_names[++runs] = key
  run[key] = $6
  batch[key] = $5
}

function text(s) { gsub(/\\/, "\\\\", s); gsub(/"/, "\\\"", s); return "\"" s "\"" }

# A number of a run's JSON, "" where there is none.
function number(key, name,   object, at) {
  if (!(key in run)) return ""
  object = run[key]
  at = index(object, "\"" name "\":")
  if (at == 0) return ""
  object = substr(object, at + length(name) + 3)
  sub(/^ +/, "", object)
  return match(object, /^[-+0-9.eE]+/) ? substr(object, 1, RLENGTH) : ""
}

# The smallest number of that name anywhere in a run's JSON.
function smallest(key, name,   object, at, found, value) {
  object = (key in run) ? run[key] : ""
  while ((at = index(object, "\"" name "\":")) > 0) {
    object = substr(object, at + length(name) + 3)
    value = object + 0
    if (found == "" || value < found) found = value
  }
  return found
}

# Model FLOPs over the device's peak, which a GPU's speed of light is; nothing where the device is unknown.
function mfu(key,   value) {
  value = number(key, "speed_of_light")
  return value == 0 ? "" : value
}

function ratio(a, b) { return a == "" || b == "" || b == 0 ? "" : a / b }

# The step of the baseline: of its two turns the mean.
function baseline(model,   first, again) {
  first = number("headroom " model " baseline", "step_seconds")
  again = number("headroom " model " again", "step_seconds")
  return first == "" || again == "" ? first : (first + again) / 2
}
function speed(model) { return ratio(number("headroom " model " baseline", "tokens_per_second") * \
                                     number("headroom " model " baseline", "step_seconds"), baseline(model)) }

# Ratios of a few per cent mean nothing where the same step takes longer half a minute later.
function warn_of_drift(model,   drift) {
  if (fact["smoke"] == "yes") return
  drift = ratio(number("headroom " model " again", "step_seconds"), number("headroom " model " baseline", "step_seconds"))
  if (drift != "" && (drift > 1.02 || drift < 0.98)) warning = warning sprintf("WARNING: %s: the baseline's second turn took %.3f of the first's\n", model, drift)
}

# goal(NAME, VALUE, RELATION, GOAL): "at least" or "at most".
function goal(name, value, relation, wanted,   verdict, shown) {
  verdict = "not measured"
  shown = "-"
  if (fact["smoke"] == "yes") value = ""
  if (value != "") {
    verdict = (relation == "at least" ? value >= wanted : value <= wanted) ? "met" : "MISSED"
    shown = value >= 1000 ? sprintf("%.0f", value) : sprintf("%.3f", value)
  }
  printf "%-50s %10s   %s %s: %s\n", name, shown, relation, wanted, verdict
  goal_json = goal_json (goal_json == "" ? "" : ",") "\n    " text(name) ": {\"value\": " (value == "" ? "null" : value) \
              ", \"relation\": " text(relation) ", \"goal\": " wanted ", \"verdict\": " text(verdict) "}"
}

# A GPU's memory for the same batch in both.
function memory_ratio(model, mode) {
  if (batch["headroom " model " baseline"] != batch["torch " model " " mode]) return ""
  return ratio(number("headroom " model " baseline", "peak_memory_bytes"), number("torch " model " " mode, "peak_memory_bytes"))
}

function goals_of(model, label, wanted_ratio,   compiled) {
  compiled = number("torch " model " compile", "tokens_per_second")
  goal(label ": tokens/s to torch.compile", ratio(speed(model), compiled), "at least", wanted_ratio)
  if (model == "llama-1b") {
    goal(label ": model FLOP utilisation", mfu("headroom " model " baseline"), "at least", 0.5)
    goal(label ": peak memory to torch.compile, same batch", memory_ratio(model, "compile"), "at most", 1)
  } else {
    goal(label ": tokens/s", speed(model), "at least", 460000)
  }
  goal(label ": step with KV bias to baseline", ratio(number("headroom " model " kv-bias", "step_seconds"), baseline(model)), "at most", 1.03)
  goal(label ": step with DyT to baseline", ratio(number("headroom " model " dyt", "step_seconds"), baseline(model)), "at most", 1.03)
  goal(label ": step with TVR, rescaling, to baseline", ratio(number("headroom " model " tvr", "step_seconds"), baseline(model)), "at most", 1.03)
  goal(label ": the monitor, of a step", number("headroom " model " baseline", "monitor_share"), "at most", 0.01)
  goal(label ": slowest memory-bound kernel to a copy", smallest("kernels " model " table", "of_copy"), "at least", 0.8)
}

END {
  print ""
  for (i = 1; i <= facts; ++i) printf "%-22s %s\n", fact_names[i], fact[fact_names[i]]
  if (fact["smoke"] == "yes") print "SMOKE: tiny sizes on an emulated GPU; no figure below means anything"

  if (losses > 0) {
    printf "\n%-18s %-24s %12s %9s %10s\n", "losses", "compared", "difference", "limit", "last loss"
    for (i = 1; i <= losses; ++i) {
      split(loss_line[i], field, "\t")
      printf "%-18s %-24s %12s %9s %10s\n", field[2], field[3], field[4], field[5], \
             (field[6] ~ /^[0-9]/ ? sprintf("%.4f", field[6]) : field[6])
    }
  }

  if (runs > 0) {
    printf "\n%-36s %6s %12s %10s %12s %6s\n", "training step, bf16", "batch", "tokens/s", "step ms", "memory GiB", "MFU"
    for (i = 1; i <= runs; ++i) {
      key = run_names[i]
      if (key ~ /^kernels /) continue
      split(key, field, " ")
      used = mfu(key)
      if (field[1] == "torch") {  # the same FLOPs a token as ours
        used = mfu("headroom " field[2] " baseline")
        if (used != "") used = used * ratio(number(key, "tokens_per_second"), number("headroom " field[2] " baseline", "tokens_per_second"))
        # Another model would make every ratio void.
        theirs = number(key, "parameters")
        ours = number("headroom " field[2] " baseline", "parameters")
        if (ours != "" && theirs != ours) warning = warning sprintf("WARNING: %s has %s parameters, ours has %s\n", key, theirs, ours)
      }
      printf "%-36s %6s %12.0f %10.2f %12.2f %6s\n", key, batch[key], number(key, "tokens_per_second"), \
             1000 * number(key, "step_seconds"), number(key, "peak_memory_bytes") / 1073741824, \
             (used == "" ? "-" : sprintf("%.3f", used))
    }
    warn_of_drift("gpt2-124m")
    warn_of_drift("llama-1b")
    printf "%s", warning
    printf "\n%-50s %10s   %s\n", "ratio or figure", "value", "goal"
    goals_of("llama-1b", "LLaMA-1B", 1.15)
    goals_of("gpt2-124m", "GPT-2 124M", 1.2)
  }

  printf "\n%d steps: %d ok", steps, verdicts["ok"]
  for (verdict in verdicts) if (verdict != "ok") printf ", %d %s", verdicts[verdict], verdict
  print ""
  for (i = 1; i <= steps; ++i) {
    split(step_line[i], field, "\t")
    if (field[3] != "ok") printf "  %-10s %s: %s\n", field[3], field[2], field[5]
  }

  printf "{\n" > json
  for (i = 1; i <= facts; ++i) printf "  %s: %s,\n", text(fact_names[i]), text(fact[fact_names[i]]) > json
  printf "  \"failed\": %d,\n  \"steps\": [", verdicts["FAILED"] > json
  for (i = 1; i <= steps; ++i) {
    split(step_line[i], field, "\t")
    printf "%s\n    {\"name\": %s, \"verdict\": %s, \"seconds\": %d, \"note\": %s}", (i > 1 ? "," : ""), text(field[2]), \
           text(field[3]), field[4], text(field[5]) > json
  }
  printf "\n  ],\n  \"losses\": [" > json
  for (i = 1; i <= losses; ++i) {
    split(loss_line[i], field, "\t")
    printf "%s\n    {\"model\": %s, \"compared\": %s, \"difference\": %s, \"limit\": %s}", (i > 1 ? "," : ""), text(field[2]), \
           text(field[3]), (field[4] == "nan" ? "null" : field[4]), field[5] > json
  }
  printf "\n  ],\n  \"runs\": [" > json
  for (i = 1; i <= runs; ++i) {
    split(run_names[i], field, " ")
    printf "%s\n    {\"who\": %s, \"model\": %s, \"variant\": %s, \"batch\": %s, \"result\": %s}", (i > 1 ? "," : ""), \
           text(field[1]), text(field[2]), text(field[3]), batch[run_names[i]], run[run_names[i]] > json
  }
  printf "\n  ],\n  \"goals\": {%s\n  }\n}\n", goal_json > json
}
