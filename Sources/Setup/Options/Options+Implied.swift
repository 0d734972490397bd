internal import Settings

extension Options {
    /// What follows from the options alone. What depends on the host as well is decided when it is known.
    mutating func applyImplied() {
        if spliceOnly {
            hostLoopbackToNamespaceLoopback = true
            noICMP = true
            noDHCP = true
            noDHCPv6 = true
        }
        if configureNetwork { noRA = true }
        if noICMP { noNDP = true }
        if ipv6Only { noDHCP = true }
        if ipv4Only {
            noNDP = true
            noDHCPv6 = true
        }
        // Advertisements are part of what neighbour discovery is.
        if noNDP { noRA = true }
        if case .path = target, userNamespace == nil { netnsOnly = true }
    }
}
