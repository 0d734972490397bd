public import Wire

/// Link-layer addresses of hosts, as the kernel reports them. Of fixed capacity: when it is full, the entries
/// are overwritten in turn, and a host without entry is answered for with the gateway's address.
public struct NeighbourTable: Sendable {
    public static var capacity: Int { 256 }

    private struct Entry {
        var address: IPAddress
        var mac: MACAddress
        var isInUse: Bool
    }

    /// All there at once, so that no later change allocates.
    private var entries: [Entry]
    public private(set) var count = 0
    /// The entry that is overwritten next once the table is full.
    private var victim = 0

    public init() {
        entries = Array(
            repeating: Entry(address: IPAddress(IPv6Address.any), mac: .zero, isInUse: false), count: NeighbourTable.capacity)
    }

    /// A host's address, nil where it is not known.
    public subscript(address: IPAddress) -> MACAddress? {
        index(of: address).map { entries[$0].mac }
    }

    /// The same, of a host that is there by all that is known: not of one that was once.
    func inUse(_ address: IPAddress) -> MACAddress? {
        guard let index = index(of: address), entries[index].isInUse else { return nil }
        return entries[index].mac
    }

    /// Notes what the kernel says; group addresses and zero are not anybody's.
    public mutating func update(_ address: IPAddress, _ mac: MACAddress, isInUse: Bool = true) {
        guard !mac.isMulticast, mac != .zero, !address.isMulticast, !address.isAny else { return }
        let entry = Entry(address: address, mac: mac, isInUse: isInUse)
        if let index = index(of: address) {
            entries[index] = entry
        } else if count < entries.count {
            entries[count] = entry
            count += 1
        } else {
            entries[victim] = entry
            victim = (victim + 1) % entries.count
        }
    }

    public mutating func remove(_ address: IPAddress) {
        guard let index = index(of: address) else { return }
        count -= 1
        entries[index] = entries[count]
    }

    private func index(of address: IPAddress) -> Int? {
        var index = 0
        while index < count {
            if entries[index].address == address { return index }
            index += 1
        }
        return nil
    }
}
