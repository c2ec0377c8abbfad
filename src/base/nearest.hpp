// The nearest known name to a mistyped one.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace banyan {

/// Letters to insert, delete, replace or swap with their neighbour (Damerau-Levenshtein, optimal string alignment).
int edit_distance(std::string_view a, std::string_view b);
/// The candidate with the smallest distance (first of equals), or empty when none is close enough to be meant (at most
/// a third of the length, at least 2).
std::string nearest(std::string_view name, const std::vector<std::string>& candidates);

}  // namespace banyan
