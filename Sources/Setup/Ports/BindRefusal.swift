internal import CLinux
package import Linux

/// What can be done about ports that cannot be listened on: tails of lines whose beginnings callers look for.
package struct BindRefusal {
    let isTCP: Bool
    /// In the guest's namespace.
    let isOutbound: Bool
    let freebind: Bool
    /// The first port that takes no rights; nil: the kernel's own setting (`net.ipv4.ip_unprivileged_port_start`).
    let firstFree: Int?
    /// The program that was to listen, if it runs already and has given its rights away; whether it has --freebind is then not known.
    let running: String?

    package init(isTCP: Bool, isOutbound: Bool, freebind: Bool = false, firstFree: Int? = nil, running: String? = nil) {
        self.isTCP = isTCP
        self.isOutbound = isOutbound
        self.freebind = freebind
        self.firstFree = firstFree
        self.running = running
    }

    /// nil where nothing is known.
    package func remedy(_ error: Errno, _ port: UInt16) -> String? {
        let whose = isOutbound ? "namespace" : "host"
        switch error.code {
        case EACCES:
            let first = firstFree ?? Descriptor.setting("net/ipv4/ip_unprivileged_port_start") ?? 1024
            guard Int(port) < first else { return "a security module forbids it" }
            let lower = "a lower net.ipv4.ip_unprivileged_port_start"
            if let running { return "ports below \(first) can only be opened when \(running) starts, or with \(lower)" }
            return "ports below \(first) take root's rights, or \(lower) (sysctl)"
        case EADDRINUSE:
            return "something else listens there, 'ss -l\(isTCP ? "t" : "u")np'\(isOutbound ? " in the namespace" : "") shows what"
        case EADDRNOTAVAIL:
            return "the \(whose) has no such address" + (freebind || running != nil ? "" : ", --freebind listens on those that are still to come")
        case ENODEV:
            return "the \(whose) has no such interface, 'ip link' shows those it has"
        case EMFILE, ENFILE:
            return "each port takes a file descriptor, of which there are too few: a higher limit (ulimit -Hn, LimitNOFILE= of systemd) at the start gives more"
        case ENOTCONN:
            return "the helper in the namespace is gone: start \(running ?? "pasta") again"
        case EAFNOSUPPORT:
            return "the guest does not have this family"
        default:
            return nil
        }
    }
}

/// What came of the ports of one option that need not all be free.
struct BindAttempts {
    private(set) var opened = 0
    private(set) var last: (port: UInt16, error: Errno)?
    /// Ports that the kernel gives to outgoing connections were among them, and not tried.
    private(set) var leftOut = false

    mutating func note(opened count: Int) { opened += count }
    mutating func note(_ port: UInt16, _ error: Errno) { last = (port, error) }
    mutating func noteLeftOut() { leftOut = true }

    /// Why nothing was opened.
    func explain(_ refusal: BindRefusal, ephemeral: ClosedRange<UInt16>) -> String {
        var reasons: [String] = []
        if let (port, error) = last {
            reasons.append("port \(port) was the last one (\(error.text))" + (refusal.remedy(error, port).map { ", " + $0 } ?? ""))
        }
        if leftOut {
            reasons.append("\(ephemeral.lowerBound)-\(ephemeral.upperBound) are left out, since net.ipv4.ip_local_port_range gives them to outgoing connections")
        }
        return reasons.joined(separator: "; ")
    }
}
