// Chooses the plans of a group: what the configuration asks for, or the cheapest by comm/cost.  Pure.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "comm/cost.hpp"
#include "comm/plan_book.hpp"

namespace banyan::comm {

/// What is asked for, by kind: "auto", an algorithm of the kind, kShared or kNative.
using PlanWishes = std::array<std::string, kCollectiveKinds>;
PlanWishes no_wishes();
/// "direct", executed by a window: for groups whose members share a node.
inline constexpr std::string_view kShared = "shared";
/// All that may be asked for.
std::vector<std::string> wishes_for(CollectiveKind kind);

/// `links` as far as they are this group's: what others use at the same time is not.
/// `window`: all members share a node and its memory.  Where they do not, kShared is as "auto".
///
/// "auto" keeps the recipe of choose.hpp unless another one is predicted to take less than two thirds of its time, so
/// that measurements that differ a little from start to start lead to the same choice, and never looks further inside a
/// node with a window, which nothing else comes near.  Groups of more than 1024 are not priced: choose.hpp decides.
GroupPlans choose_plans(const std::string& group, int size, const GroupTree& tree, const Links& links, bool window,
                        const PlanWishes& wishes);

}  // namespace banyan::comm
