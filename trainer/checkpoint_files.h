// The files of a checkpoint, whoever writes it: a run's ranks (trainer/checkpoint_writer.h), or one process that brings
// a model from elsewhere (trainer/import_model.h).
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "trainer/checkpoint_manifest.h"

namespace headroom {

// The file that holds a rank's share of the tensors.
std::string rank_file(int rank);

// The manifest's entry of a file that has just been written, from what reads back of it. Throws ExitCode::disk_full
// where a stretch reads back other than its hash says.
Manifest::File read_back(const std::filesystem::path& path, std::vector<Manifest::Stretch> stretches);

// Makes a checkpoint of the ranks' files that lie in `directory` and are in `manifest` with all tensors: tensors.h5,
// config.toml and, last, manifest.json. Returns the bytes of all files. Throws ExitCode::disk_full.
std::int64_t complete_files(const std::filesystem::path& directory, Manifest manifest, const std::string& config_toml);

}  // namespace headroom
