// Settings: plain immutable values. `Options` is what was asked for, word for word; `Network` is what
// came out of it and of what the host looks like. Options are parsed in Setup and never reach the data
// path; Network is all that the data path ever learns.

public import Wire

/// The program that was called, by name.
public enum Program: Sendable, Equatable {
    /// Connects a network namespace.
    case pasta
    /// Connects a virtual machine.
    case passt
}

/// Where pasta's namespace comes from.
public enum Target: Sendable, Equatable {
    /// A new user and network namespace running a command; an empty list means the user's shell.
    case command([String])
    /// The namespaces of a running process.
    case process(Int32)
    /// A namespace file; a name without a slash was already turned into /run/netns/NAME.
    case path(String)
}

/// An address option that can be switched off.
public enum OptionalAddress<Address: Sendable & Equatable>: Sendable, Equatable {
    case unset
    case none
    case address(Address)
}

/// A list option: not given, `none`, or the values in order.
public enum ListOption<Value: Sendable & Equatable>: Sendable, Equatable {
    case unset
    case none
    case values([Value])
}

/// A port option as it was written.
public struct PortOption: Sendable, Hashable {
    public enum Kind: Sendable, Hashable {
        /// Host to guest.
        case tcpIn, udpIn
        /// The namespace's loopback to the host (pasta).
        case tcpOut, udpOut
    }

    public var kind: Kind
    public var text: String

    public init(_ kind: Kind, _ text: String) {
        self.kind = kind
        self.text = text
    }
}

/// What the command line asked for. Absent values are nil, so that defaults are decided in one place, when the host is known.
public struct Options: Sendable, Equatable {
    public var program = Program.pasta

    // How to run.
    public var debug = false
    public var trace = false
    public var quiet = false
    public var foreground = false
    public var standardError = false
    public var logFile: String?
    /// Bytes at which the log file is rotated in place.
    public var logSize = 1 << 20
    public var pidFile: String?
    /// Where clients change forwarded ports.
    public var controlPath: String?
    public var runAs: String?
    public var captureFile: String?
    /// Names of files that are written to: some may be those of descriptors that the caller has opened, as `>(...)` of a shell is.
    public var writtenFiles: [String?] { [pidFile, logFile, captureFile] }
    /// Seconds between two prints of the counters.
    public var statisticsInterval: Int?
    /// Empty the root with chroot() where pivot_root() does not work, as on an initial ramdisk.
    public var chrootFallback = false
    /// Lines for the user that do not stop the run.
    public var warnings: [String] = []

    // Addresses and routes.
    /// nil: the default of 65520; 0: assign none.
    public var mtu: Int?
    public var address4: IPv4Address?
    /// From `--address ADDR/LEN` or `--netmask`.
    public var prefixLength4: Int?
    public var address6: IPv6Address?
    public var gatewayMAC: MACAddress?
    public var gateway4: IPv4Address?
    public var gateway6: IPv6Address?
    public var interface: String?
    public var outbound4: IPv4Address?
    public var outbound6: IPv6Address?
    public var outboundInterface4: String?
    public var outboundInterface6: String?
    public var mapHostLoopback4 = OptionalAddress<IPv4Address>.unset
    public var mapHostLoopback6 = OptionalAddress<IPv6Address>.unset
    public var noMapGateway = false
    public var mapGuestAddress4 = OptionalAddress<IPv4Address>.unset
    public var mapGuestAddress6 = OptionalAddress<IPv6Address>.unset
    public var ipv4Only = false
    public var ipv6Only = false
    public var freebind = false

    // Names.
    public var resolvers = ListOption<IPAddress>.unset
    public var dnsForward4: IPv4Address?
    public var dnsForward6: IPv6Address?
    public var dnsHost4: IPv4Address?
    public var dnsHost6: IPv6Address?
    public var searchDomains = ListOption<String>.unset
    /// nil: the program's default (passt yes, pasta no).
    public var dhcpDNS: Bool?
    public var dhcpSearch: Bool?
    public var hostname: String?
    public var fqdn: String?

    // Handlers that are switched off.
    public var noTCP = false
    public var noUDP = false
    public var noICMP = false
    public var noDHCP = false
    public var noNDP = false
    public var noDHCPv6 = false
    public var noRA = false

    // The namespace (pasta).
    public var target = Target.command([])
    public var userNamespace: String?
    public var netnsOnly = false
    public var noNetnsQuit = false
    public var configureNetwork = false
    public var noCopyRoutes = false
    public var noCopyAddresses = false
    public var namespaceInterface: String?
    public var namespaceMAC: MACAddress?

    // Ports, in the order of the command line.
    public var portOptions: [PortOption] = []
    /// What they come to.
    public var forwardRules: [ForwardRule] = []
    /// Connections to the host's loopback end at the namespace's loopback, not at its external address.
    public var hostLoopbackToNamespaceLoopback = false
    /// Loopback connections go through the tap like all others.
    public var noSplice = false
    /// No interface: only what is on loopback.
    public var spliceOnly = false

    // The machine's side (passt).
    public var socketPath: String?
    /// A connected socket that was inherited.
    public var socketDescriptor: Int32?
    public var oneOff = false
    /// The machine shares its memory.
    public var vhostUser = false
    /// Where the helper connects that lets TCP connections move with the machine.
    public var repairSocket = RepairSocket.beside
    /// What becomes of connections that have moved away.
    public var exitsAfterMigration = false
    public var closesAfterMigration = false

    public init() {}

    /// A tap device takes frames of 65535 bytes at most, Ethernet header included (drivers/net/tun.c), and passt follows suit.
    public static let maximumMTU = 65521
}

/// A socket for passt-repair.
public enum RepairSocket: Equatable, Sendable {
    /// At the machine's path and `.repair` behind it.
    case beside
    case at(String)
    case none
}
