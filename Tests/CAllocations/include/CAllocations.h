// Counts what a thread takes from the heap, for tests that prove that something takes nothing.
#pragma once

/// Counts from here on, on the calling thread.
void allocations_begin(void);

/// Ends counting: how many times memory was asked for since `allocations_begin`.
long allocations_end(void);
