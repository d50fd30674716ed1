#include <kvferry/kvferry.hpp> // it is installed, too

#include "use.c" // NOLINT(bugprone-suspicious-include): the same program, as C++
