// The result of a search for people (table, reasons, every term with its formula) and for programs (JSON).  Pure.
#pragma once

#include <cstddef>
#include <string>

#include "src/plan/search.hpp"

namespace banyan::plan {

/// The best `count`, each with the options that choose it or what the program lacks for it, and why others are out.
std::string ranking_table(const SearchResult& result, std::size_t count);
/// Every term of a candidate's price: formula, numbers, seconds.
std::string explain(const SearchResult& result, const Candidate& c);
/// One line of JSON: model, machine, candidates with all terms, rejections.
std::string ranking_json(const SearchResult& result);

}  // namespace banyan::plan
