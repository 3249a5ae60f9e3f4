# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154  # variables that this file and bench/gpu.sh share
# The steps of bench/gpu.sh, which sources this file and says what `limited`, `result`, `note` and `verdict` are.
# What a step prints goes into its log.

gpu_tests='*cuda*:*Cuda*:*CUDA*:*gpu*:*Gpu*:*GPU*'
loss_steps=50
layout_steps=20
if [ $smoke = yes ]; then
  # The emulator takes minutes for all.
  gpu_tests='*Rotary*cuda*:*EveryRecomputation*cuda_f32:GpuEngine.AStepThatIsNotFinite*'
  loss_steps=3
  layout_steps=2
fi

# json_number KEY: of a flat line of JSON on standard input.
json_number() { sed -n "s/.*\"$1\":\([-+0-9.eE]*\).*/\1/p"; }

# The last line of JSON of a log; fails if there is none.
last_json_line() { grep -a '^{.*}$' "$1" | tail -n 1 | grep .; }

# ---- the device ------------------------------------------------------------------------------------------------------
count_devices() { grep -c '^ *device [0-9]' "$work/doctor"; }
# What the backend is made of, as doctor lists it.
library_line() { sed -n '/^ *backend /,$ s/^   *\(CUDA\|cuBLASLt\|cuDNN\|NCCL\)/\1/p' "$work/doctor" | sort -u | paste -s -d ';'; }
device_line() { sed -n 's/^ *device 0 *//p' "$work/doctor" | head -n 1; }

step_doctor() {
  cat "$work/doctor"
  nvidia-smi 2>/dev/null || echo "no nvidia-smi here"
  note="$(count_devices) device(s): $(device_line)"
}

# ---- suites ----------------------------------------------------------------------------------------------------------
# How many tests of a program are about a GPU.
count_gpu_tests() { "$bin/$1" --gtest_list_tests --gtest_filter="$gpu_tests" 2>/dev/null | grep -c '^  '; }

# step_suite PROGRAM RANKS: those tests.
step_suite() {
  local program=$1 ranks=$2 launcher=() listed status=0 passed skipped broken
  listed=$(count_gpu_tests "$program")
  if [ "$listed" = 0 ]; then
    note="$bin/$program is missing, or has no test for a GPU"
    return 1
  fi
  [ "$ranks" = 1 ] || launcher=(mpirun -n "$ranks" --bind-to none)
  limited "${launcher[@]}" "$bin/$program" --gtest_filter="$gpu_tests" --gtest_color=no >"$work/suite" 2>&1 ||
    status=$?
  cat "$work/suite"
  passed=$(sed -n 's/^\[  PASSED  \] \([0-9]*\) test.*/\1/p' "$work/suite" | tail -n 1)
  skipped=$(sed -n 's/^\[  SKIPPED \] \([0-9]*\) test.*/\1/p' "$work/suite" | tail -n 1)
  broken=$(sed -n 's/^\[  FAILED  \] \([0-9]*\) test.*/\1/p' "$work/suite" | tail -n 1)
  note="${passed:-0} of $listed passed${skipped:+, $skipped skipped}${broken:+, $broken failed}"
  result fact "suite $program" "$note"
  if [ $status = 0 ] && [ "${passed:-0}" = 0 ]; then status=1; fi  # all skipped: nothing was tested
  return $status
}

# ---- losses ----------------------------------------------------------------------------------------------------------
# A corpus out of our own documentation: a few hundred pieces, enough for some steps.
make_corpus() {
  limited "$bin/headroom" tokenize README.md CONTRIBUTING.md docs/*.md --out "$work/corpus" --vocab-size 400 \
    --held-out 0.1 >"$work/log" 2>&1 || { echo "gpu: no corpus could be made:" >&2; cat "$work/log" >&2; exit 1; }
}

# train NAME RANKS CONFIG KEY=VALUE...: trains and leaves "step loss" lines in $work/NAME.losses.
train() {
  local name=$1 ranks=$2 config=$3 launcher=() settings=() setting
  shift 3
  [ "$ranks" = 1 ] || launcher=(mpirun -n "$ranks" --bind-to none)
  for setting in "name=$name" "runs_dir=$work/runs" "data.corpus=$work/corpus" "train.steps=$loss_steps" \
    "${small_model[@]}" "${small_probe[@]}" eval.windows=4 eval.every=0 snapshot.every=0 \
    checkpoint.every=0 log.tensorboard=false "$@"; do
    settings+=(--set "$setting")
  done
  echo "-- $name, $ranks rank(s): $config $*"
  limited "${launcher[@]}" "$bin/headroom" train "$config" "${settings[@]}" || return
  sed -n 's/^{"step":\([0-9]*\),.*"loss":\([^,]*\),.*/\1 \2/p' "$work/runs/$name/metrics.jsonl" >"$work/$name.losses"
  rm -rf "$work/runs/$name"
}

# The largest relative difference of two runs' losses; nan where a step is missing or not finite.
loss_difference() {
  awk '
    FNR == NR { want[$1] = $2; steps++; next }
    { if (!($1 in want) || $2 == "null" || want[$1] == "null" || want[$1] == 0) bad = 1
      else { d = ($2 - want[$1]) / want[$1]; if (d < 0) d = -d; if (d > worst) worst = d; found++ } }
    END { if (bad || found == 0 || found != steps) print "nan"; else printf "%.2e\n", worst }' \
    "$work/$1.losses" "$work/$2.losses"
}

# at_most VALUE LIMIT: nan is not.
at_most() { awk -v value="$1" -v limit="$2" 'BEGIN { exit !(value ~ /^[0-9]/ && value + 0 <= limit + 0) }'; }

# compare MODEL WHAT RUN REFERENCE LIMIT
compare() {
  local difference
  difference=$(loss_difference "$4" "$3")
  result loss "$1" "$2" "$difference" "$5" "$(tail -n 1 "$work/$3.losses" | cut -d ' ' -f 2)"
  if at_most "$difference" "$5"; then return 0; fi
  note+=${note:+; }"$1, $2: $difference, limit $5"
  return 1
}

# The demo's model: 4 layers of width 128. Smaller where the GPU is emulated.
small_model=()
small_probe=(snapshot.calibration_sequences=1 "snapshot.sentences=[]")
if [ $smoke = yes ]; then
  small_model=(model.hidden_size=32 model.n_layers=2 model.ffn_size=48 model.seq_len=16 train.global_batch=4
    snapshot.calibration_tokens=16)
fi

# loss_model NAME CONFIG KEY=VALUE...: 50 steps on the CPU and on the GPU. The limits: f32 sums in another order, which
# the optimizer's first steps (sign-like) amplify; bf16 has eight bits.
loss_model() {
  local name=$1 config=$2 bad=0
  shift 2
  train "$name-cpu" 1 "$config" device=cpu train.dtype=f32 "$@" || return
  train "$name-f32" 1 "$config" device=cuda train.dtype=f32 "$@" || return
  train "$name-bf16" 1 "$config" device=cuda train.dtype=bf16 "$@" || return
  compare "$name" "GPU f32 to CPU f32" "$name-f32" "$name-cpu" 2e-3 || bad=1
  compare "$name" "GPU bf16 to CPU f32" "$name-bf16" "$name-cpu" 3e-2 || bad=1
  compare "$name" "GPU bf16 to GPU f32" "$name-bf16" "$name-f32" 3e-2 || bad=1
  return $bad
}

step_losses() {
  local bad=0
  loss_model llama configs/demo/baseline.toml || bad=1
  loss_model kv-bias-tvr configs/demo/tvr-kv-bias.toml || bad=1
  loss_model dyt configs/demo/dyt.toml train.recompute=block || bad=1
  loss_model gpt2 configs/demo/baseline.toml model.norm=layer model.activation=gelu_tanh model.positions=learned \
    model.tied_head=true model.bias=true init.scheme=gpt2 init.lir=false || bad=1
  [ $bad != 0 ] || note="4 models, $loss_steps steps each: within the limits"
  return $bad
}

# ---- layouts ---------------------------------------------------------------------------------------------------------
# step_layouts TRANSPORT: f32 by `headroom verify`, which compares losses, parameters and snapshots; bf16 by its losses.
step_layouts() {
  local transport=$1 layouts=1x1,2x1,1x2,2x2 wide=4 settings=() setting bad=0
  local config=configs/demo/tvr-kv-bias.toml
  if [ "$transport" = nccl ] && [ "$(count_devices)" -lt 4 ]; then layouts=1x1,2x1,1x2 wide=2; fi
  for setting in device=cuda "parallel.transport=$transport" "data.corpus=$work/corpus" "${small_model[@]}" \
    "${small_probe[@]}" eval.windows=4; do
    settings+=(--set "$setting")
  done
  limited "$bin/headroom" verify "$config" --layouts $layouts --dtype f32 --steps $layout_steps "${settings[@]}" || bad=1
  train "bf16-1" 1 "$config" device=cuda train.dtype=bf16 train.micro_batch=2 || return
  train "bf16-$wide" $wide "$config" device=cuda train.dtype=bf16 "parallel.transport=$transport" parallel.tensor=2 \
    train.micro_batch=2 || return
  compare "layouts, $transport" "bf16, $wide ranks to 1" "bf16-$wide" "bf16-1" 3e-2 || bad=1
  [ $bad != 0 ] || note="$layouts agree in f32, $wide ranks with 1 in bf16"
  return $bad
}

# ---- benchmarks ------------------------------------------------------------------------------------------------------
# Sequences at a time, steps that count, and what else a model's benchmark sets. Where a batch does not fit, half of it.
declare -A first_batch=([gpt2-124m]=32 [llama-1b]=8) bench_steps=([gpt2-124m]=20 [llama-1b]=10)
bench_settings=(device=cuda train.dtype=bf16 train.recompute=none "${small_probe[@]}")
if [ $smoke = yes ]; then
  first_batch=([gpt2-124m]=2 [llama-1b]=2) bench_steps=([gpt2-124m]=1 [llama-1b]=1)
  bench_settings+=(model.vocab_size=64 model.hidden_size=32 model.n_layers=2 model.n_heads=2 model.n_kv_heads=2
    model.ffn_size=48 model.seq_len=16 snapshot.calibration_tokens=16)
fi
declare -A batch_of=()  # what fitted

# fitting WHO MODEL VARIANT COMMAND...: runs COMMAND with every word BATCH replaced, halving the batch while it ends with
# the exit code of memory that ran out; records the line of JSON that it prints last.
fitting() {
  local who=$1 model=$2 variant=$3 batch status line
  shift 3
  batch=${batch_of[$who $model]:-${first_batch[$model]}}
  while true; do
    echo "-- $who $model $variant, batch $batch"
    status=0
    limited "${@//BATCH/$batch}" >"$work/run" 2>&1 || status=$?
    cat "$work/run"
    [ $status = 8 ] && [ "$batch" -gt 1 ] || break
    batch=$((batch / 2))
  done
  [ $status = 0 ] || return $status
  line=$(last_json_line "$work/run") || { echo "no line of JSON came out"; return 1; }
  batch_of[$who $model]=$batch
  result run "$who" "$model" "$variant" "$batch" "$line"
  note="$(json_number tokens_per_second <<<"$line" | cut -d . -f 1) tokens/s at batch $batch"
}

# step_bench MODEL CONFIG VARIANT KEY=VALUE...
step_bench() {
  local model=$1 config=$2 variant=$3 settings=() setting
  shift 3
  # A config that turns one micro-batch into a step, whatever global batch the published run has.
  for setting in train.global_batch=BATCH train.micro_batch=BATCH "train.steps=${bench_steps[$model]}" \
    "${bench_settings[@]}" "$@"; do
    settings+=(--set "$setting")
  done
  fitting headroom "$model" "$variant" "$bin/headroom" bench "configs/$model/$config.toml" "${settings[@]}"
}

# The first Python with a PyTorch that computes here; searched for once.
find_torch() {
  local candidate device=cuda
  [ $smoke = no ] || device=cpu
  for candidate in ${python:+"$python"} "${VIRTUAL_ENV:-/nonexistent}/bin/python3" python3 /usr/bin/python3 \
    /opt/*/.venv/bin/python3 /opt/*/bin/python3 "${CONDA_PREFIX:-/nonexistent}/bin/python3"; do
    command -v "$candidate" >/dev/null || continue
    # A script that does not run under mpirun must not think so, nor take a packed folder's libraries.
    if torch_version=$(limited "$candidate" bench/torch_gpu_peer.py --probe --device $device 2>&1); then
      torch_python=$candidate torch_version=${torch_version##*$'\n'}  # after whatever Python warns of
      return 0
    fi
    echo "$candidate: $torch_version"
  done
  return 1
}
torch_python=""
torch_searched=no

# step_torch MODEL MODE
step_torch() {
  local model=$1 mode=$2 options=()
  if [ $with_torch = no ]; then
    verdict=SKIPPED note="PyTorch was left out (--no-torch)"
    return 0
  fi
  if [ $torch_searched = no ]; then
    torch_searched=yes
    if find_torch; then result fact torch "$torch_version"; fi
  fi
  if [ -z "$torch_python" ]; then
    verdict=SKIPPED note="NO PYTORCH FOR THIS GPU HERE: nothing to compare with (name its Python with --python)"
    return 0
  fi
  options=(--shape "$model" --mode "$mode" --batch BATCH --steps "${bench_steps[$model]}")
  if [ $smoke = yes ]; then
    options+=(--device cpu --vocab-size 64 --hidden-size 32 --layers 2 --heads 2 --ffn-size 48 --seq-len 16)
  fi
  fitting torch "$model" "$mode" "$torch_python" bench/torch_gpu_peer.py "${options[@]}"
}

# bench_model GROUP MODEL: ours and PyTorch's close together in time, the baseline once more at the end, so that a GPU
# that grows warm shows. TVR rescales in every step here, which a run does every 50th.
bench_model() {
  local group=$1 model=$2
  step "$group" "$model" 60 step_bench "$model" baseline baseline
  step "$group" "$model torch.compile" 150 step_torch "$model" compile
  step "$group" "$model torch eager" 60 step_torch "$model" eager
  step "$group" "$model KV bias" 45 step_bench "$model" kv-bias kv-bias
  step "$group" "$model DyT" 45 step_bench "$model" dyt dyt
  step "$group" "$model TVR" 45 step_bench "$model" tvr tvr optim.tvr.interval=1 optim.tvr.threshold=0.5
  step "$group" "$model again" 45 step_bench "$model" baseline again
}

# Every kernel of a step against its roofline.
step_kernels() {
  local model=$1 settings=() setting
  if ! "$bin/headroom" bench --help 2>/dev/null | grep -q -- --kernels; then
    verdict=SKIPPED note="this headroom has no bench --kernels"
    return 0
  fi
  batch_of[kernels $model]=${batch_of[headroom $model]:-${first_batch[$model]}}
  for setting in train.global_batch=BATCH train.micro_batch=BATCH train.steps=3 "${bench_settings[@]}"; do
    settings+=(--set "$setting")
  done
  fitting kernels "$model" table "$bin/headroom" bench "configs/$model/baseline.toml" --kernels "${settings[@]}" || return
  cp "$work/run" "$out/kernels-$model.txt"
  note="kernels-$model.txt"
}

# ---- tools of the CUDA toolkit, where they are -----------------------------------------------------------------------
# has_tool NAME: where it is not, says so.
has_tool() {
  tool=$(command -v "$1" || compgen -G "/usr/local/cuda*/bin/$1" | head -n 1 || true)
  if [ -n "$tool" ] && [ $smoke = no ]; then return 0; fi
  verdict=SKIPPED note="$1 is not on this machine"
  [ $smoke = no ] || note="$1 needs a real GPU"
  return 1
}

step_sanitizer() {
  local status=0 done_tests
  has_tool compute-sanitizer || return 0
  limited "$tool" --tool memcheck --target-processes all --error-exitcode 86 "$bin/tensor_tests" \
    --gtest_filter="$gpu_tests" --gtest_color=no >"$work/suite" 2>&1 || status=$?
  grep -a -v '^\[ RUN ' "$work/suite"
  done_tests=$(grep -a -c '^\[       OK' "$work/suite")
  note="$done_tests tests, $(grep -a -c '^========= \(Invalid\|Uninit\|Race\|Program hit\|Error\)' "$work/suite") complaints"
  if [ $status = 124 ] && [[ $note == *" 0 complaints" ]]; then
    verdict=partial note+=" until the time was over"
    return 0
  fi
  return $status
}

# What runs under a profiler: three steps of GPT-2, at the batch whose products have been timed already.
profiled_bench() {
  local batch=${batch_of[headroom gpt2-124m]:-${first_batch[gpt2-124m]}} setting
  printf '%s\n' "$bin/headroom" bench configs/gpt2-124m/baseline.toml
  for setting in "train.global_batch=$batch" "train.micro_batch=$batch" train.steps=3 "${bench_settings[@]}"; do
    printf '%s\n' --set "$setting"
  done
}

# Kernels by time, and how often a step makes the host wait: synchronising calls in the table of CUDA calls.
step_nsys() {
  local command status=0
  has_tool nsys || return 0
  mapfile -t command < <(profiled_bench)
  limited "$tool" profile --trace=cuda --force-overwrite=true --output="$work/nsys" "${command[@]}" &&
    limited "$tool" stats --report cuda_gpu_kern_sum --report cuda_api_sum "$work/nsys.nsys-rep" || status=$?
  note="kernels and CUDA calls are in log.txt"
  [ $status = 0 ] || verdict=FAILED
  return $status
}

# Speed of light of kernels by hardware counters, after the warm-up.
step_ncu() {
  local command status=0
  has_tool ncu || return 0
  mapfile -t command < <(profiled_bench)
  limited "$tool" --target-processes all --clock-control none --section SpeedOfLight --launch-skip 1200 \
    --launch-count 500 --csv "${command[@]}" >"$out/ncu.csv" || status=$?
  note="ncu.csv"
  if [ $status = 124 ]; then
    verdict=partial note+=", until the time was over"
  elif [ $status != 0 ]; then
    # Counters are often closed to users (ERR_NVGPUCTRPERM); that says nothing of this program.
    grep -a ERR_ "$out/ncu.csv"
    verdict=SKIPPED note="ncu could not measure here (status $status)"
  fi
  return 0
}
