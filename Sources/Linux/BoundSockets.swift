public import Wire

/// A socket that others may turn to: one of TCP that listens, or one of UDP that is bound and not connected.
public struct BoundSocket: Sendable, Equatable, BitwiseCopyable {
    public var address: IPAddress
    public var port: UInt16
    /// Index of the only interface that it hears; 0: all.
    public var interface: UInt32
    /// Bound to any address of IPv6, it may serve IPv4 as well.
    public var servesBoth: Bool

    @_noAllocation @_noLocks
    public init(address: IPAddress, port: UInt16, interface: UInt32 = 0, servesBoth: Bool = false) {
        self.address = address
        self.port = port
        self.interface = interface
        self.servesBoth = servesBoth
    }
}

/// All bound sockets of one network namespace, to be looked at again and again.
///
/// The kernel is asked for just these (`SocketDiagnosis`). Where it refuses, as under a filter of system calls or without its module, they
/// are picked from the tables of all sockets in procfs (`SocketTable`). Everything is opened before the process is closed in.
public struct BoundSockets: Sendable, BitwiseCopyable {
    public enum Way: UInt8, Sendable, BitwiseCopyable { case diagnosis, tables }

    public let way: Way
    /// The one socket, or the tables of TCP and UDP, first those of IPv4; `.none` where there is none.
    private let files: InlineArray<4, Descriptor>

    /// What a buffer for `forEach` must hold.
    public static var bufferSize: Int { 64 << 10 }

    /// Opens the calling process's namespace. Throws what procfs said where neither works. `tables`: do not even try the first.
    public static func open(tables: Bool = false) throws(Errno) -> BoundSockets {
        if !tables, let diagnosis = try? SocketDiagnosis(), diagnosis.works() { return BoundSockets(.diagnosis, [diagnosis.descriptor]) }
        // IPv4 is always there; IPv6 need not be.
        return BoundSockets(.tables, [
            try SocketTable.open(isTCP: true, isIPv4: true), (try? SocketTable.open(isTCP: true, isIPv4: false)) ?? .none,
            try SocketTable.open(isTCP: false, isIPv4: true), (try? SocketTable.open(isTCP: false, isIPv4: false)) ?? .none,
        ])
    }

    /// From what another process has opened.
    public init(_ way: Way, _ descriptors: [Descriptor]) {
        self.way = way
        files = InlineArray { $0 < descriptors.count ? descriptors[$0] : .none }
    }

    /// What to hand to another process: the last ones may be missing.
    public var descriptors: [Descriptor] { (0..<4).map { files[$0] } }

    /// Calls `note` with each bound socket of a protocol and family. Throws where the kernel stopped half-way: then some are missing.
    /// Allocates nothing. (sendmsg, recvmsg; pread64)
    public func forEach(isTCP: Bool, isIPv4: Bool, buffer: inout Mapping, _ note: (BoundSocket) -> Void) throws(Errno) {
        switch way {
        case .diagnosis:
            try SocketDiagnosis(files[0]).forEach(isTCP: isTCP, isIPv4: isIPv4, buffer: &buffer, note)
        case .tables:
            let file = files[(isTCP ? 0 : 2) + (isIPv4 ? 0 : 1)]
            if file.isOpen { try SocketTable(file).forEach(isTCP: isTCP, buffer: &buffer, note) }
        }
    }

    public func close() {
        for index in 0..<4 { files[index].close() }
    }
}

extension SystemCall {
    /// Looking for bound sockets, either way.
    public static var lookingForSockets: [Permission] { [Permission(.sendmsg), Permission(.recvmsg)] + reading }
}
