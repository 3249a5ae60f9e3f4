#include "tests/emulation/symbols.h"

#include <cxxabi.h>
#include <elf.h>
#include <fmt/format.h>
#include <link.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>

namespace headroom::emulation {
namespace {

struct Symbol {
  std::uintptr_t value;
  std::size_t size;
  std::string name;
};
struct Table {
  std::vector<Symbol> functions;
  std::vector<Symbol> shared;  // value: offset in thread-local memory
};
// The loaded file that an address belongs to.
struct Module {
  std::uintptr_t address;
  std::uintptr_t base = 0;
  std::string path;
  std::byte* thread_local_memory = nullptr;
  bool found = false;
};

int look_for(dl_phdr_info* info, std::size_t, void* context) {
  Module& module = *static_cast<Module*>(context);
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    const ElfW(Phdr)& segment = info->dlpi_phdr[i];
    const std::uintptr_t begin = info->dlpi_addr + segment.p_vaddr;
    if (segment.p_type != PT_LOAD || module.address < begin || module.address >= begin + segment.p_memsz) continue;
    module.base = info->dlpi_addr;
    module.path = info->dlpi_name[0] == '\0' ? "/proc/self/exe" : info->dlpi_name;
    module.thread_local_memory = static_cast<std::byte*>(info->dlpi_tls_data);
    module.found = true;
    return 1;
  }
  return 0;
}

Module module_of(const void* address) {
  Module module{};
  module.address = reinterpret_cast<std::uintptr_t>(address);
  dl_iterate_phdr(look_for, &module);
  return module;
}

Table read_table(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
  Table table;
  if (bytes.size() < sizeof(ElfW(Ehdr))) return table;
  const auto* header = reinterpret_cast<const ElfW(Ehdr)*>(bytes.data());
  const auto* sections = reinterpret_cast<const ElfW(Shdr)*>(bytes.data() + header->e_shoff);
  for (int s = 0; s < header->e_shnum; ++s) {
    if (sections[s].sh_type != SHT_SYMTAB) continue;
    const char* names = bytes.data() + sections[sections[s].sh_link].sh_offset;
    const auto* symbols = reinterpret_cast<const ElfW(Sym)*>(bytes.data() + sections[s].sh_offset);
    for (std::size_t i = 0; i < sections[s].sh_size / sizeof(ElfW(Sym)); ++i) {
      const ElfW(Sym)& symbol = symbols[i];
      const char* name = names + symbol.st_name;
      const int type = ELF64_ST_TYPE(symbol.st_info);
      if (symbol.st_shndx == SHN_UNDEF) continue;
      if (type == STT_FUNC) table.functions.push_back({symbol.st_value, symbol.st_size, name});
      if (type == STT_TLS && std::strncmp(name, "_ZZN8headroom4cuda", 18) == 0) {
        table.shared.push_back({symbol.st_value, symbol.st_size, name});
      }
    }
  }
  return table;
}

const Table& table_of(const std::string& path) {
  static auto& tables = *new std::map<std::string, Table>;  // never destroyed: kernels may run while the program ends
  const auto known = tables.find(path);
  return known != tables.end() ? known->second : tables.emplace(path, read_table(path)).first->second;
}

std::string demangled(const std::string& name) {
  int status = 0;
  const std::unique_ptr<char, decltype(&std::free)> text(abi::__cxa_demangle(name.c_str(), nullptr, nullptr, &status),
                                                         &std::free);
  return status == 0 ? text.get() : name;
}

// "void headroom::cuda::(anonymous namespace)::sum<float>(float const*)" -> "sum<float>"
std::string short_name(std::string name) {
  for (const char* noise : {"void ", "(anonymous namespace)::", "headroom::cuda::", "headroom::"}) {
    for (std::size_t at = name.find(noise); at != std::string::npos; at = name.find(noise)) {
      name.erase(at, std::strlen(noise));
    }
  }
  return name.substr(0, name.find('('));
}

}  // namespace

std::string function_name(const void* address) {
  const Module module = module_of(address);
  if (module.found) {
    for (const Symbol& symbol : table_of(module.path).functions) {
      const std::uintptr_t begin = module.base + symbol.value;
      if (module.address == begin || (module.address > begin && module.address < begin + symbol.size)) {
        return short_name(demangled(symbol.name));
      }
    }
  }
  return fmt::format("{}", address);
}

std::vector<std::span<std::byte>> shared_variables(const void* address) {
  std::vector<std::span<std::byte>> variables;
  const Module module = module_of(address);
  if (!module.found || module.thread_local_memory == nullptr) return variables;
  for (const Symbol& symbol : table_of(module.path).shared) {
    variables.emplace_back(module.thread_local_memory + symbol.value, symbol.size);
  }
  return variables;
}

}  // namespace headroom::emulation
