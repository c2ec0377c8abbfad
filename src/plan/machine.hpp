// A machine as the cost model of a step sees it: what one rank computes and keeps, and the links between ranks.  Read
// from configs/machines/*.ini (configs/machines/README.md describes the format) or measured.  Plain data; parsing is
// pure.
#pragma once

#include <string>
#include <string_view>

#include "comm/tree_cost.hpp"

namespace banyan::plan {

enum class Precision : std::uint8_t { kFp32, kBf16 };
std::string_view name_of(Precision precision);

struct Machine {
  std::string name = "usual links and a given rate";
  std::string source = {};  ///< where the figures come from

  // Arithmetic of one rank; of one core where cores > 0.
  double fp32 = 50e9, bf16 = 0;  ///< peak FLOP/s; 0: cannot
  double gemm_efficiency = 1;    ///< share of the peak that a very large matrix product reaches
  double units = 0;              ///< processors that take tiles of a product in waves; 0: no rounding to waves
  double tile_rows = 1, tile_columns = 1;
  double kernel_seconds = 0;        ///< start and end of one operation, in which nothing is computed
  double attention_efficiency = 1;  ///< of fused attention, share of the peak
  bool fused_attention = true;      ///< false: scores go through memory, and the masked half is computed too

  // Memory of one rank; its rate is that of the whole node where cores > 0.
  double memory_bytes = 0;    ///< 0: unknown
  double reserved_bytes = 0;  ///< of those, what the runtime keeps for itself
  double memory_rate = 1e12;  ///< bytes/s that streaming operations reach

  int ranks_per_node = 0;  ///< 0: all ranks on one node
  int cores = 0;           ///< of a node, shared by its ranks; 0: every rank has a device of its own
  double host_link = 0;    ///< bytes/s of copies between a device and its host, one way, while all of a node copy; 0:
                           ///< unknown
  std::string messages = {};  ///< what carries the devices' memory (device_messages.hpp), for people; empty: no devices
  comm::TreeLinks links{{.ranks = 0, .latency = 2e-6, .rate = 5e9}};

  double wire_efficiency = 1;  ///< share of a cable's rate that messages reach, for networks known by their cables

  // What the software that runs there does.
  double hide_gradients = 1;   ///< share of the last backward pass behind which gradients travel
  double hide_parameters = 0;  ///< share of a forward pass behind which ZeRO's parameters travel
  double hide_tensor = 0;      ///< share of the tensor ranks' traffic that computation hides
  double hide_pipeline = 0;    ///< the same of messages between stages
  int gradient_bytes = 4;      ///< of an element on its way

  double peak(Precision p) const { return p == Precision::kFp32 ? fp32 : bf16; }
};

/// `file` names the text in messages.  ConfigError with file and line for whatever does not belong there, and for what
/// is missing.
Machine parse_machine(std::string_view text, const std::string& file);
/// ConfigError when the file cannot be read.
Machine load_machine(const std::string& path);

}  // namespace banyan::plan
