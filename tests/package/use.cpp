#include <kvferry/kvferry.hpp> // installed, too

#include "use.c" // NOLINT(bugprone-suspicious-include): the same program, as C++
