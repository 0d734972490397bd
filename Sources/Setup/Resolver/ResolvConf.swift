// The host's resolver configuration. What guests are told and where their queries go is decided in
// Configuration; here is only what the file says, read with more patience than its writers deserve.

public import Linux
public import Wire

/// The content of a resolv.conf file (resolv.conf(5)), as far as it is passed on.
public struct ResolvConf: Sendable, Equatable {
    public struct Nameserver: Sendable, Equatable {
        public var address: IPAddress
        /// The interface's name or number behind the '%' of a link-local address.
        public var scope: String?

        public init(_ address: IPAddress, scope: String? = nil) {
            self.address = address
            self.scope = scope
        }
    }

    /// In the order of the file, each once, `maximumNameservers` at most.
    public var nameservers: [Nameserver] = []
    /// Those of the last `search` or `domain` line, without final dots, each once, `maximumDomains` at most.
    public var searchDomains: [String] = []
    /// Why nothing is known of the file, which is there.
    public private(set) var failure: Errno?

    /// The C library asks the first three only, but files list more.
    public static let maximumNameservers = 16
    public static let maximumDomains = 32

    public init() {}

    /// Never fails: a line that makes no sense is passed over, as resolvers do. Lines end with LF, CRLF or the text, and have any length.
    public init(_ text: [UInt8]) {
        for line in text.split(separator: 0x0a) { read(line) }
    }

    /// A file that does not exist is the same as an empty one, as for the C library.
    public init(path: String) {
        do throws(Errno) {
            self.init(try Descriptor.contents(of: path))
        } catch {
            self.init()
            failure = error.code == 2 ? nil : error  // ENOENT
        }
    }

    /// The addresses that mean something on this interface, which the guest's stands for, or without any: a home's router often names itself by its
    /// link-local address. Where the file names nobody at all, names are asked of this host itself (resolv.conf(5)).
    public func addresses(on interface: Link?) -> [IPAddress] {
        if nameservers.isEmpty { return failure == nil ? [IPAddress(IPv4Address.loopback)] : [] }
        return nameservers.filter { nameserver in
            guard !nameserver.address.isIPv4, nameserver.address.isLinkLocal else { return true }
            guard let interface, let scope = nameserver.scope else { return false }
            return scope == interface.name || scope == "\(interface.index)"
        }.map(\.address)
    }

    private mutating func read(_ line: ArraySlice<UInt8>) {
        var words = line.split { $0 == 0x20 || $0 == 0x09 || $0 == 0x0d }
        // A comment begins with its sign, on a line of its own or behind values.
        if let comment = words.firstIndex(where: { $0.first == UInt8(ascii: "#") || $0.first == UInt8(ascii: ";") }) {
            words.removeSubrange(comment...)
        }
        guard words.count >= 2 else { return }
        switch String(decoding: words[0], as: UTF8.self) {
        case "nameserver": addNameserver(words[1])
        case "search": setDomains(words.dropFirst())
        case "domain": setDomains(words[1...1])
        default: break
        }
    }

    private mutating func addNameserver(_ word: ArraySlice<UInt8>) {
        // The longest that can mean anything: an IPv6 address of 45 characters, '%' and 15 more.
        guard word.count <= 61, nameservers.count < ResolvConf.maximumNameservers else { return }
        let parts = word.split(separator: UInt8(ascii: "%"), maxSplits: 1, omittingEmptySubsequences: false)
        guard var address = IPAddress(String(decoding: parts[0], as: UTF8.self)), !address.isMulticast else { return }
        // The unspecified address leads to this host, as for connect().
        if address.isAny { address = address.isIPv4 ? IPAddress(IPv4Address.loopback) : IPAddress(IPv6Address.loopback) }
        var nameserver = Nameserver(address)
        if parts.count == 2 {
            guard (1...15).contains(parts[1].count), !address.isIPv4, parts[1].allSatisfy({ $0 > 0x20 && $0 < 0x7f }) else { return }
            // Addresses of wider scope need none, whatever is written.
            if address.isLinkLocal { nameserver.scope = String(decoding: parts[1], as: UTF8.self) }
        }
        if !nameservers.contains(nameserver) { nameservers.append(nameserver) }
    }

    private mutating func setDomains(_ words: ArraySlice<ArraySlice<UInt8>>) {
        searchDomains = []
        for word in words where searchDomains.count < ResolvConf.maximumDomains {
            // The root, written as a single dot, adds nothing to a name and is no name here.
            guard let domain = DomainName.normalized(String(decoding: word, as: UTF8.self)) else { continue }
            if !searchDomains.contains(domain) { searchDomains.append(domain) }
        }
    }
}
