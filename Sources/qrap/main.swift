import Linux
import QEMUWrapper

#if arch(arm64)
let architecture = "aarch64"
#else
let architecture = "x86_64"
#endif

Process.exit(Wrapper.run(Array(CommandLine.arguments.dropFirst()), architecture: architecture))
