// Fuzzing: one program, whose environment variable FUZZ_TARGET says what it feeds to what. Scripts/fuzz builds and
// runs it, in a network namespace of its own, since what the guest's frames ask for is really done.
//
//     frames      a forwarder: frames of the guest, with answers of a real kernel behind its sockets
//     local       ARP, NDP, DHCP, DHCPv6
//     tcp         headers and options
//     machine     a forwarder: what a virtual machine writes to its socket, in pieces of any size
//     memory      a forwarder: the memory of a virtual machine, its rings, and what is said about them (vhost-user)
//     state       a forwarder: the saved state of a machine that comes from another host
//     netlink     what the kernel says of links, addresses, routes, neighbours, and what is made of it
//     diagnosis   what the kernel says of sockets (sock_diag)
//     table       the same as lines of /proc/net/tcp and its like
//     directory   what the kernel says of a directory's files (inotify)
//     options     words of the command line
//     ports       values of -t, -u, -T and -U
//     control     what clients of --conf-path send, and what they are sent
//     resolver    resolv.conf
//
// A crash is any trap: this finds what a guest could use to end the daemon.

import Linux

/// One input. Empty or nonsense is as good as any other.
// SAFETY: libFuzzer runs one thread.
private nonisolated(unsafe) let run: ([UInt8]) -> Void = {
    switch Process.environment("FUZZ_TARGET") {
    case "frames": return FrameTarget().run
    case "local": return LocalTarget().run
    case "tcp": return fuzzTCP
    case "machine": return MachineTarget().run
    case "memory": return MemoryTarget().run
    case "state": return StateTarget().run
    case "netlink": return fuzzNetlink
    case "diagnosis": return fuzzDiagnosis
    case "table": return TableTarget().run
    case "directory": return fuzzDirectory
    case "options": return fuzzOptions
    case "ports": return fuzzPorts
    case "control": return ControlTarget().run
    case "resolver": return fuzzResolver
    default:
        try? Descriptor(2).write("FUZZ_TARGET names no target\n")
        Process.exit(2)
    }
}()

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzOneInput(_ data: UnsafePointer<UInt8>?, _ size: Int) -> CInt {
    // SAFETY: libFuzzer hands over `size` bytes, which are copied.
    unsafe run(Array(UnsafeBufferPointer(start: data, count: size)))
    return 0
}
