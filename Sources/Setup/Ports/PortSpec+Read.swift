internal import Wire

extension PortSpec {
    init(_ text: String) throws(PortSpecError) {
        do throws(PortSpecError) {
            try read(whole: text)
        } catch {
            throw PortSpec.hint(text).map { PortSpecError(error.reason + ", " + $0) } ?? error
        }
    }

    mutating func read(whole text: String) throws(PortSpecError) {
        if text.isEmpty { throw PortSpecError("ports are needed, or 'none'") }
        if text == "none" {
            isNone = true
            return
        }
        var items = Substring(text)
        if let slash = text.firstIndex(of: "/"), PortSpec.isScope(text[..<slash]) {
            try readScope(text[..<slash])
            items = text[text.index(after: slash)...]
        }
        for item in items.split(separator: ",", omittingEmptySubsequences: false) { try read(item) }
        try check()
    }

    // MARK: Scope

    /// Whether what stands before the first slash says where to listen, and not where to go to: `80:192.0.2.1/8080` has no scope, while
    /// `80:2001:db8::1/8080` can only be read as an address to listen on.
    private static func isScope(_ text: Substring) -> Bool {
        guard let colon = text.firstIndex(of: ":"), !text.hasPrefix("["), !text.hasPrefix("%") else { return true }
        let address = text.split(separator: "%", maxSplits: 1, omittingEmptySubsequences: false)[0]
        if IPAddress(address) != nil { return true }
        let items = text[..<colon].split(separator: ",", omittingEmptySubsequences: false)
        return !items.allSatisfy { $0 == "all" || $0 == "*" || $0 == "auto" || (try? ports($0.drop { $0 == "~" })) != nil }
    }

    private mutating func readScope(_ text: Substring) throws(PortSpecError) {
        var place = text
        if let percent = text.firstIndex(of: "%") {
            let name = String(text[text.index(after: percent)...])
            guard OptionValue.isInterface(name) else {
                throw PortSpecError("\(OptionValue.quoted(name)) is not an interface name")
            }
            interface = name
            place = text[..<percent]
        }
        if place.isEmpty && interface == nil { throw PortSpecError("an address or %interface is needed before '/'") }
        if place.isEmpty || place == "*" { return }
        let address = try PortSpec.address(place)
        if address.isMulticast { throw PortSpecError("a multicast address cannot be listened on") }
        if let ipv4 = address.ipv4, ipv4 == .broadcast || ipv4.isThisNetwork && ipv4 != .any {
            throw PortSpecError("\(address) is no address of a host")
        }
        if !address.isIPv4 && address.isLinkLocal && interface == nil {
            throw PortSpecError("a link-local address needs an interface, as in [\(address)]%eth0/80")
        }
        self.address = address
    }

    /// With brackets around it or without.
    static func address(_ text: Substring) throws(PortSpecError) -> IPAddress {
        var bare = text
        if text.hasPrefix("[") || text.hasSuffix("]") {
            guard text.hasPrefix("["), text.hasSuffix("]"), text.count >= 2 else { throw PortSpecError("unpaired bracket in \(quoted(text))") }
            bare = text.dropFirst().dropLast()
        }
        guard let address = IPAddress(bare) else { throw PortSpecError("\(quoted(text)) is not an IPv4 or IPv6 address") }
        return address
    }

    // MARK: Items

    private mutating func read(_ item: Substring) throws(PortSpecError) {
        if item.isEmpty { throw PortSpecError("a port is missing") }
        if item == "none" { throw PortSpecError("'none' goes with nothing else") }
        if item.hasPrefix("~") {
            if item.contains(":") { throw PortSpecError("an exclusion such as \(PortSpec.quoted(item)) has no target") }
            exclusions.append(try PortSpec.ports(item.dropFirst()))
            return
        }
        let halves = item.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        let target = halves.count == 2 ? halves[1] : nil
        switch halves[0] {
        case "auto":
            if target != nil { throw PortSpecError("'auto' has no target") }
            if hasAuto { throw PortSpecError("'auto' is there twice") }
            hasAuto = true
        case "all", "*":
            if hasAll { throw PortSpecError("'all' is there twice") }
            hasAll = true
            guard let target else { return }
            if target.isEmpty { throw PortSpecError("the target is missing in \(PortSpec.quoted(item))") }
            guard let address = try? PortSpec.address(target) else { throw PortSpecError("the target of 'all' can only be an address") }
            allTarget = try PortSpec.targetAddress(address)
        default:
            var range = Range(ports: try PortSpec.ports(halves[0]))
            if let target { try PortSpec.read(target: target, of: item, into: &range) }
            ranges.append(range)
        }
    }

    private static func read(target: Substring, of item: Substring, into range: inout Range) throws(PortSpecError) {
        if target.isEmpty { throw PortSpecError("the target is missing in \(quoted(item))") }
        var portText: Substring? = target
        if let slash = target.lastIndex(of: "/") {
            range.targetAddress = try targetAddress(address(target[..<slash]))
            portText = target[target.index(after: slash)...]
        } else if target.contains(".") || target.contains(":") || target.contains("[") {
            range.targetAddress = try targetAddress(address(target))
            portText = nil
        }
        guard let portText else { return }
        let ports = try ports(portText)
        guard ports.count == range.ports.count else {
            throw PortSpecError("\(quoted(item)) has \(range.ports.count) ports on one side and \(ports.count) on the other")
        }
        range.targetOffset = Int(ports.lowerBound) - Int(range.ports.lowerBound)
    }

    private static func targetAddress(_ address: IPAddress) throws(PortSpecError) -> IPAddress {
        if let reason = OptionValue.objection(to: address) { throw PortSpecError("target \(address): \(reason)") }
        return address
    }

    /// `a` or `a-b`.
    private static func ports(_ text: some StringProtocol) throws(PortSpecError) -> ClosedRange<UInt16> {
        let ends = text.split(separator: "-", omittingEmptySubsequences: false)
        guard ends.count <= 2 else { throw PortSpecError("\(quoted(text)) is not a range of ports") }
        let first = try port(ends[0], in: text)
        guard ends.count == 2 else { return first...first }
        let last = try port(ends[1], in: text)
        guard first <= last else { throw PortSpecError("the range \(quoted(text)) ends before it begins") }
        return first...last
    }

    private static func port(_ text: some StringProtocol, in whole: some StringProtocol) throws(PortSpecError) -> UInt16 {
        guard let number = OptionValue.decimal(text) else {
            throw PortSpecError("\(quoted(whole)) is not a \(text.utf8.count == whole.utf8.count ? "port" : "range of ports")")
        }
        guard let port = UInt16(exactly: number), port > 0 else { throw PortSpecError("port \(number) is not between 1 and 65535") }
        return port
    }

    static func quoted(_ text: some StringProtocol) -> String { OptionValue.quoted(String(text)) }

    // MARK: The whole

    private mutating func check() throws(PortSpecError) {
        if hasAll && hasAuto { throw PortSpecError("'all' and 'auto' exclude each other") }
        if ranges.isEmpty && !hasAuto { hasAll = true }
        guard let address else { return }
        for target in ranges.map(\.targetAddress) + [allTarget] {
            guard let target, target.isIPv4 != address.isIPv4 else { continue }
            throw PortSpecError("\(address) and \(target) are of different families")
        }
    }
}
