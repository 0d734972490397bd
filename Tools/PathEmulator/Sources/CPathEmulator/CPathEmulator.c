#include "CPathEmulator.h"
