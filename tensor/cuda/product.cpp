#include "tensor/cuda/product.h"

#include <cublasLt.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <compare>
#include <cstdlib>
#include <limits>
#include <map>
#include <memory>
#include <string_view>
#include <type_traits>
#include <vector>

#include "tensor/cuda/product_choices.h"

namespace headroom::cuda {
namespace {

void check_blas(cublasStatus_t status, const char* call) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  throw Error(status == CUBLAS_STATUS_ALLOC_FAILED ? ExitCode::out_of_memory : ExitCode::internal,
              fmt::format("{}: {} ({})", call, cublasLtGetStatusName(status), cublasLtGetStatusString(status)),
              "`headroom doctor` lists the driver's and the libraries' versions.");
}

// Lives as long as the process: at its end the driver may be gone before our last word.
cublasLtHandle_t handle() {
  static cublasLtHandle_t made = [] {
    stream();  // the device, chosen before the library looks at it
    cublasLtHandle_t fresh = nullptr;
    check_blas(cublasLtCreate(&fresh), "cublasLtCreate");
    return fresh;
  }();
  return made;
}

// A descriptor of the library, destroyed with its owner.
template <class Pointer, cublasStatus_t (*kDestroy)(Pointer)>
struct Destroy {
  void operator()(Pointer pointer) const { kDestroy(pointer); }
};
template <class Pointer, cublasStatus_t (*kDestroy)(Pointer)>
using Owned = std::unique_ptr<std::remove_pointer_t<Pointer>, Destroy<Pointer, kDestroy>>;
using Operation = Owned<cublasLtMatmulDesc_t, cublasLtMatmulDescDestroy>;
using Layout = Owned<cublasLtMatrixLayout_t, cublasLtMatrixLayoutDestroy>;
using Preference = Owned<cublasLtMatmulPreference_t, cublasLtMatmulPreferenceDestroy>;

template <class T>
void set(const Operation& operation, cublasLtMatmulDescAttributes_t attribute, const T& value) {
  check_blas(cublasLtMatmulDescSetAttribute(operation.get(), attribute, &value, sizeof value),
             "cublasLtMatmulDescSetAttribute");
}
template <class T>
void set(const Preference& preference, cublasLtMatmulPreferenceAttributes_t attribute, const T& value) {
  check_blas(cublasLtMatmulPreferenceSetAttribute(preference.get(), attribute, &value, sizeof value),
             "cublasLtMatmulPreferenceSetAttribute");
}

cudaDataType_t data_type(DType dtype) {
  HEADROOM_CHECK(dtype == DType::f32 || dtype == DType::bf16, "a product on a GPU in {}", name_of(dtype));
  return dtype == DType::f32 ? CUDA_R_32F : CUDA_R_16BF;
}

bool has_bias(Epilogue epilogue) {
  return epilogue == Epilogue::bias || epilogue == Epilogue::bias_gelu;
}
bool has_inner(Epilogue epilogue) {
  return epilogue != Epilogue::none && epilogue != Epilogue::bias;
}

cublasLtEpilogue_t library_epilogue(Epilogue epilogue) {
  switch (epilogue) {
    case Epilogue::none:
      return CUBLASLT_EPILOGUE_DEFAULT;
    case Epilogue::bias:
      return CUBLASLT_EPILOGUE_BIAS;
    case Epilogue::gelu:
      return CUBLASLT_EPILOGUE_GELU_AUX;
    case Epilogue::bias_gelu:
      return CUBLASLT_EPILOGUE_GELU_AUX_BIAS;
    case Epilogue::gelu_derivative:
      return CUBLASLT_EPILOGUE_DGELU;
  }
  return CUBLASLT_EPILOGUE_DEFAULT;
}

std::string_view name_of(Epilogue epilogue) {
  switch (epilogue) {
    case Epilogue::none:
      return "none";
    case Epilogue::bias:
      return "bias";
    case Epilogue::gelu:
      return "gelu";
    case Epilogue::bias_gelu:
      return "bias+gelu";
    case Epilogue::gelu_derivative:
      return "gelu'";
  }
  return "unknown";
}

// The largest power of two that divides an address, up to what one access of a thread moves.
int alignment(const void* address) {
  constexpr std::uintptr_t kAccess = 16;
  return 1 << std::countr_zero(reinterpret_cast<std::uintptr_t>(address) | kAccess);
}

// What a choice of algorithm may depend on.
struct ProductKey {
  std::int64_t m;
  std::int64_t n;
  std::int64_t k;
  Transpose transpose_a;
  Transpose transpose_b;
  DType input;
  DType output;
  Epilogue epilogue;
  bool accumulates;
  std::array<int, 5> alignments;  // a, b, c, bias, inner

  auto operator<=>(const ProductKey&) const = default;  // NOLINT(modernize-use-nullptr): it finds a 0 in there
};

ProductKey key_of(const Product& product) {
  return {.m = product.m,
          .n = product.n,
          .k = product.k,
          .transpose_a = product.transpose_a,
          .transpose_b = product.transpose_b,
          .input = product.input,
          .output = product.output,
          .epilogue = product.epilogue,
          .accumulates = product.beta != 0.0F,
          .alignments = {alignment(product.a), alignment(product.b), alignment(product.c), alignment(product.bias),
                         alignment(product.inner)}};
}

// As it stands in messages and in the file of choices.
std::string text(const ProductKey& key) {
  const auto letter = [](Transpose transpose) { return transpose == Transpose::yes ? 'T' : 'N'; };
  return fmt::format("{}x{}x{} {}{} {}>{} {} {} aligned {}", key.m, key.n, key.k, letter(key.transpose_a),
                     letter(key.transpose_b), headroom::name_of(key.input), headroom::name_of(key.output),
                     name_of(key.epilogue), key.accumulates ? "added" : "set", fmt::join(key.alignments, ","));
}

struct Event {
  cudaEvent_t event = nullptr;

  Event() { check(cudaEventCreate(&event), "cudaEventCreate"); }
  ~Event() { cudaEventDestroy(event); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  void record() { check(cudaEventRecord(event, stream()), "cudaEventRecord"); }
};

// Memory for trying algorithms where the product's own result must not be touched yet; null if there is none left.
struct TrialOutput {
  void* memory = nullptr;

  explicit TrialOutput(std::size_t bytes) {
    if (cudaMalloc(&memory, bytes) != cudaSuccess) {
      memory = nullptr;
      cudaGetLastError();  // or the next launch would report it
      return;
    }
    check(cudaMemsetAsync(memory, 0, bytes, stream()), "cudaMemsetAsync");
  }
  ~TrialOutput() { cudaFree(memory); }
  TrialOutput(const TrialOutput&) = delete;
  TrialOutput& operator=(const TrialOutput&) = delete;
};

// A product as the library sees it, and the algorithm that computes it.
//
// The library's matrices are column-major. A row-major [r, c] matrix is its [c, r] with leading dimension c, so what is
// computed is the transposed product: c^T [n, m] = op(b)^T op(a)^T, with b first. That makes c's columns the rows of
// the library's result, as its bias (one number a row) and its auxiliary matrix want it.
class ProductPlan {
 public:
  ProductPlan(const ProductKey& key, const Product& product, void* workspace);

  bool served() const { return served_; }
  void run(const Product& product, void* workspace) const;

 private:
  using Candidate = cublasLtMatmulHeuristicResult_t;

  void describe(const ProductKey& key);
  void point_to(const Product& product) const;
  std::vector<Candidate> candidates(const ProductKey& key) const;
  bool works(const cublasLtMatmulAlgo_t& algorithm) const;
  cublasLtMatmulAlgo_t chosen(const std::vector<Candidate>& proposed, const Product& product, void* workspace) const;
  const Candidate& fastest(const std::vector<Candidate>& tried, const Product& product, void* workspace) const;
  double milliseconds(const cublasLtMatmulAlgo_t& algorithm, const Product& product, void* workspace,
                      int launches) const;
  cublasStatus_t launch(const cublasLtMatmulAlgo_t& algorithm, const Product& product, void* workspace) const;

  Operation operation_;
  Layout first_;   // b
  Layout second_;  // a
  Layout result_;  // c
  cublasLtMatmulAlgo_t algorithm_{};
  bool served_ = false;
};

Layout layout(DType dtype, std::int64_t rows, std::int64_t columns) {
  cublasLtMatrixLayout_t fresh = nullptr;
  check_blas(cublasLtMatrixLayoutCreate(&fresh, data_type(dtype), static_cast<std::uint64_t>(columns),
                                        static_cast<std::uint64_t>(rows), columns),
             "cublasLtMatrixLayoutCreate");
  return Layout(fresh);
}

void ProductPlan::describe(const ProductKey& key) {
  // True f32 for f32: no TF32.
  cublasLtMatmulDesc_t fresh = nullptr;
  check_blas(cublasLtMatmulDescCreate(&fresh, CUBLAS_COMPUTE_32F, CUDA_R_32F), "cublasLtMatmulDescCreate");
  operation_.reset(fresh);
  const auto flag = [](Transpose transpose) { return transpose == Transpose::yes ? CUBLAS_OP_T : CUBLAS_OP_N; };
  set(operation_, CUBLASLT_MATMUL_DESC_TRANSA, flag(key.transpose_b));
  set(operation_, CUBLASLT_MATMUL_DESC_TRANSB, flag(key.transpose_a));
  set(operation_, CUBLASLT_MATMUL_DESC_EPILOGUE, library_epilogue(key.epilogue));
  if (has_inner(key.epilogue)) set(operation_, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, key.n);
  const bool flip_a = key.transpose_a == Transpose::yes;
  const bool flip_b = key.transpose_b == Transpose::yes;
  first_ = flip_b ? layout(key.input, key.n, key.k) : layout(key.input, key.k, key.n);
  second_ = flip_a ? layout(key.input, key.k, key.m) : layout(key.input, key.m, key.k);
  result_ = layout(key.output, key.m, key.n);
}

void ProductPlan::point_to(const Product& product) const {
  if (has_bias(product.epilogue)) set(operation_, CUBLASLT_MATMUL_DESC_BIAS_POINTER, product.bias);
  if (has_inner(product.epilogue)) set(operation_, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, product.inner);
}

std::vector<ProductPlan::Candidate> ProductPlan::candidates(const ProductKey& key) const {
  constexpr int kMost = 8;
  cublasLtMatmulPreference_t fresh = nullptr;
  check_blas(cublasLtMatmulPreferenceCreate(&fresh), "cublasLtMatmulPreferenceCreate");
  const Preference preference(fresh);
  set(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, std::uint64_t{product_workspace_bytes()});
  // Besides NONE, which is always allowed. INPLACE and OUTPUT_TYPE would round every part of a sum to bf16.
  set(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, std::uint32_t{CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE});
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, static_cast<std::uint32_t>(key.alignments[1]));
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, static_cast<std::uint32_t>(key.alignments[0]));
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, static_cast<std::uint32_t>(key.alignments[2]));
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, static_cast<std::uint32_t>(key.alignments[2]));

  std::vector<Candidate> found(kMost);
  int count = 0;
  const cublasStatus_t status =
      cublasLtMatmulAlgoGetHeuristic(handle(), operation_.get(), first_.get(), second_.get(), result_.get(),
                                     result_.get(), preference.get(), kMost, found.data(), &count);
  const bool refused = status == CUBLAS_STATUS_NOT_SUPPORTED || status == CUBLAS_STATUS_INVALID_VALUE;
  if (refused && key.epilogue != Epilogue::none) return {};
  check_blas(status, "cublasLtMatmulAlgoGetHeuristic");
  found.resize(static_cast<std::size_t>(count));
  std::erase_if(found, [this](const Candidate& candidate) {
    return candidate.state != CUBLAS_STATUS_SUCCESS || !works(candidate.algo);
  });
  return found;
}

bool ProductPlan::works(const cublasLtMatmulAlgo_t& algorithm) const {
  cublasLtMatmulHeuristicResult_t facts{};
  return cublasLtMatmulAlgoCheck(handle(), operation_.get(), first_.get(), second_.get(), result_.get(), result_.get(),
                                 &algorithm, &facts) == CUBLAS_STATUS_SUCCESS &&
         facts.workspaceSize <= product_workspace_bytes();
}

cublasStatus_t ProductPlan::launch(const cublasLtMatmulAlgo_t& algorithm, const Product& product,
                                   void* workspace) const {
  return cublasLtMatmul(handle(), operation_.get(), &product.alpha, product.b, first_.get(), product.a, second_.get(),
                        &product.beta, product.c, result_.get(), product.c, result_.get(), &algorithm, workspace,
                        product_workspace_bytes(), stream());
}

// Of one launch; infinity if the algorithm turns out not to work.
double ProductPlan::milliseconds(const cublasLtMatmulAlgo_t& algorithm, const Product& product, void* workspace,
                                 int launches) const {
  Event begin;
  Event end;
  begin.record();
  for (int i = 0; i < launches; ++i) {
    if (launch(algorithm, product, workspace) != CUBLAS_STATUS_SUCCESS) {
      return std::numeric_limits<double>::infinity();
    }
  }
  end.record();
  check(cudaEventSynchronize(end.event), "cudaEventSynchronize");
  float elapsed = 0.0F;
  check(cudaEventElapsedTime(&elapsed, begin.event, end.event), "cudaEventElapsedTime");
  return static_cast<double>(elapsed) / launches;
}

// In rounds over all candidates, so that a clock that changes meets them alike; each one's best time counts. A later
// proposal must win by more than the noise.
const ProductPlan::Candidate& ProductPlan::fastest(const std::vector<Candidate>& tried, const Product& product,
                                                   void* workspace) const {
  constexpr int kRounds = 3;
  constexpr int kMostLaunches = 20;
  constexpr double kRoundMilliseconds = 1.0;
  constexpr double kClearly = 0.98;
  std::vector<double> best(tried.size());
  std::vector<int> launches(tried.size());
  for (std::size_t i = 0; i < tried.size(); ++i) {
    milliseconds(tried[i].algo, product, workspace, 1);  // loads the kernel
    best[i] = milliseconds(tried[i].algo, product, workspace, 1);
    const double wanted = std::isfinite(best[i]) ? kRoundMilliseconds / std::max(best[i], 1e-3) : 1.0;
    launches[i] = std::clamp(static_cast<int>(wanted), 1, kMostLaunches);
  }
  for (int round = 0; round < kRounds; ++round) {
    for (std::size_t i = 0; i < tried.size(); ++i) {
      best[i] = std::min(best[i], milliseconds(tried[i].algo, product, workspace, launches[i]));
    }
  }
  std::size_t winner = 0;
  for (std::size_t i = 1; i < tried.size(); ++i) {
    if (best[i] < kClearly * best[winner]) winner = i;
  }
  return tried[winner];
}

bool tuning() {
  static const bool on = [] {
    const char* const value = std::getenv("HEADROOM_CUBLASLT_TUNE");
    return value == nullptr || std::string_view(value) != "0";
  }();
  return on;
}

const ProductChoices& kept_choices() {
  static const ProductChoices choices = [] {
    int device = 0;
    cudaDeviceProp facts{};
    check(cudaGetDevice(&device), "cudaGetDevice");
    check(cudaGetDeviceProperties(&facts, device), "cudaGetDeviceProperties");
    const char* const path = std::getenv("HEADROOM_CUBLASLT_CACHE");
    return ProductChoices(path == nullptr ? "" : path,
                          fmt::format("{}, {} multiprocessors, cuBLASLt {}, {} bytes", facts.name,
                                      facts.multiProcessorCount, cublasLtGetVersion(), product_workspace_bytes()));
  }();
  return choices;
}

cublasLtMatmulAlgo_t ProductPlan::chosen(const std::vector<Candidate>& proposed, const Product& product,
                                         void* workspace) const {
  if (proposed.size() == 1) return proposed.front().algo;
  if (product.beta == 0.0F) return fastest(proposed, product, workspace).algo;
  const TrialOutput output(static_cast<std::size_t>(product.m * product.n) * headroom::size_of(product.output));
  if (output.memory == nullptr) return proposed.front().algo;
  Product trial = product;
  trial.c = output.memory;
  return fastest(proposed, trial, workspace).algo;
}

ProductPlan::ProductPlan(const ProductKey& key, const Product& product, void* workspace) {
  using Words = ProductChoices::Algorithm;
  static_assert(sizeof(Words) == sizeof(cublasLtMatmulAlgo_t) && std::is_trivially_copyable_v<cublasLtMatmulAlgo_t>);
  // The auxiliary matrix's leading dimension is a multiple of 8, as documented, and its rows are moved 16 bytes a time.
  if (has_inner(key.epilogue) && (key.n % 8 != 0 || key.alignments[4] < 16)) return;
  describe(key);
  point_to(product);  // the library looks at the pointers' alignment
  const std::string name = text(key);
  if (tuning()) {
    if (const auto kept = kept_choices().find(name)) {
      algorithm_ = std::bit_cast<cublasLtMatmulAlgo_t>(*kept);
      served_ = works(algorithm_);
      if (served_) return;
      throw Error(ExitCode::usage, fmt::format("the algorithm kept for the product {} does not work here", name),
                  "Delete the file that HEADROOM_CUBLASLT_CACHE names.");
    }
  }
  const std::vector<Candidate> proposed = candidates(key);
  served_ = !proposed.empty();
  HEADROOM_CHECK(served_ || key.epilogue != Epilogue::none, "cuBLASLt has no algorithm for the product {}", name);
  if (!served_) return;
  algorithm_ = proposed.front().algo;
  if (!tuning()) return;
  algorithm_ = chosen(proposed, product, workspace);
  algorithm_ = std::bit_cast<cublasLtMatmulAlgo_t>(kept_choices().settle(name, std::bit_cast<Words>(algorithm_)));
}

void ProductPlan::run(const Product& product, void* workspace) const {
  point_to(product);
  check_blas(launch(algorithm_, product, workspace), "cublasLtMatmul");
}

}  // namespace

std::size_t product_workspace_bytes() {
  // What NVIDIA recommends for Hopper; a proposal that would need more is not made.
  return std::size_t{32} << 20;
}

bool try_product(const Product& product, void* workspace) {
  HEADROOM_CHECK(product.m > 0 && product.n > 0 && product.k > 0, "a product of {} x {} x {}", product.m, product.n,
                 product.k);
  static std::map<ProductKey, ProductPlan> plans;
  const ProductKey key = key_of(product);
  auto found = plans.find(key);
  if (found == plans.end()) found = plans.try_emplace(key, key, product, workspace).first;
  if (!found->second.served()) return false;
  found->second.run(product, workspace);
  return true;
}

std::string cublaslt_part() {
  const std::size_t version = cublasLtGetVersion();
  return fmt::format("cuBLASLt {}.{}.{}", version / 10000, version / 100 % 100, version % 100);
}

}  // namespace headroom::cuda
