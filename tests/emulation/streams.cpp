#include "tests/emulation/streams.h"

#include <chrono>
#include <cstdlib>
#include <deque>
#include <memory>
#include <mutex>
#include <set>
#include <string_view>

struct CUstream_st {
  std::deque<std::function<void()>> work;
  int times_asked = 0;
};

namespace headroom::emulation {
namespace {

// An event may be recorded again before its last recording has been reached, and destroyed before either.
struct Recording {
  CUstream_st* stream = nullptr;
  bool reached = false;
  std::chrono::steady_clock::time_point time;
};

struct Streams {
  std::recursive_mutex mutex;
  bool late = [] {
    const char* named = std::getenv("HEADROOM_EMULATION_STREAMS");
    return named != nullptr && std::string_view(named) == "late";
  }();
  CUstream_st null_stream;
  std::set<CUstream_st*> all{&null_stream};

  CUstream_st* of(cudaStream_t stream) { return stream == nullptr ? &null_stream : stream; }
};
Streams& streams() {
  static auto& made = *new Streams;  // never destroyed: buffers of static objects are released late
  return made;
}

// False if there is nothing to do.
bool do_next(CUstream_st* stream) {
  if (stream->work.empty()) return false;
  const std::function<void()> work = std::move(stream->work.front());
  stream->work.pop_front();
  work();
  return true;
}

void reach(const Recording& recording) {
  while (!recording.reached && do_next(recording.stream)) {
  }
}

// Whoever asks again and again must see progress, but not at once.
void progress_when_asked(CUstream_st* stream) {
  constexpr int kPatience = 16;
  if (++stream->times_asked % kPatience == 0) do_next(stream);
}

}  // namespace

void set_late_streams(bool late) {
  finish_all();
  streams().late = late;
}

void submit(cudaStream_t stream, std::function<void()> work) {
  const std::lock_guard lock(streams().mutex);
  streams().of(stream)->work.push_back(std::move(work));
  if (!streams().late) finish(stream);
}

void finish(cudaStream_t stream) {
  const std::lock_guard lock(streams().mutex);
  while (do_next(streams().of(stream))) {
  }
}

void finish_all() {
  const std::lock_guard lock(streams().mutex);
  for (CUstream_st* stream : streams().all) finish(stream);
}

}  // namespace headroom::emulation

struct CUevent_st {
  std::shared_ptr<headroom::emulation::Recording> last;
};

using namespace headroom::emulation;

cudaError_t cudaStreamCreate(cudaStream_t* stream) {
  const std::lock_guard lock(streams().mutex);
  *stream = new CUstream_st;
  streams().all.insert(*stream);
  return cudaSuccess;
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  return cudaStreamCreate(stream);
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  const std::lock_guard lock(streams().mutex);
  finish(stream);
  streams().all.erase(stream);
  delete stream;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  finish(stream);
  return cudaSuccess;
}
cudaError_t cudaStreamQuery(cudaStream_t stream) {
  const std::lock_guard lock(streams().mutex);
  CUstream_st* const asked = streams().of(stream);
  if (asked->work.empty()) return cudaSuccess;
  progress_when_asked(asked);
  return cudaErrorNotReady;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  if (event->last != nullptr) submit(stream, [recording = event->last] { reach(*recording); });
  return cudaSuccess;
}
cudaError_t cudaDeviceSynchronize() {
  finish_all();
  return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t* event) {
  *event = new CUevent_st;
  return cudaSuccess;
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  return cudaEventCreate(event);
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  const std::lock_guard lock(streams().mutex);
  event->last = std::make_shared<Recording>();
  event->last->stream = streams().of(stream);
  submit(stream, [recording = event->last] {
    recording->reached = true;
    recording->time = std::chrono::steady_clock::now();
  });
  return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  const std::lock_guard lock(streams().mutex);
  if (event->last != nullptr) reach(*event->last);
  return cudaSuccess;
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  const std::lock_guard lock(streams().mutex);
  if (event->last == nullptr || event->last->reached) return cudaSuccess;
  progress_when_asked(event->last->stream);
  return cudaErrorNotReady;
}
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t from, cudaEvent_t to) {
  const std::lock_guard lock(streams().mutex);
  if (from->last == nullptr || to->last == nullptr) return cudaErrorInvalidValue;
  if (!from->last->reached || !to->last->reached) return cudaErrorNotReady;
  *milliseconds = std::chrono::duration<float, std::milli>(to->last->time - from->last->time).count();
  return cudaSuccess;
}
