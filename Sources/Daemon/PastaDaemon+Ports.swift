internal import Datapath
internal import Linux
internal import Settings
internal import Setup

/// Automatic ports: what is opened for them before the process is closed in, and what is told about them afterwards.
extension PastaDaemon {
    /// How to see who listens in the guest's namespace, if anything depends on it.
    func namespacePorts(_ rules: [ForwardRule], from channel: HelperChannel) throws(SetupError) -> PortSide? {
        guard PastaDaemon.looksIntoNamespace(rules) else { return nil }
        return side(try ListenerLookup.receive(from: channel), of: "the namespace")
    }

    static func looksIntoNamespace(_ rules: [ForwardRule]) -> Bool { rules.contains { $0.scans && $0.kind.isInbound } }

    /// Likewise on the host.
    func hostPorts(_ rules: [ForwardRule]) -> PortSide? {
        guard rules.contains(where: { $0.scans && !$0.kind.isInbound }) else { return nil }
        return side(ListenerLookup.own(), of: "the host")
    }

    private func side(_ opened: ListenerLookup?, of name: String) -> PortSide? {
        guard let opened else {
            log.warning("No automatic ports: this kernel does not tell who listens on \(name)")
            return nil
        }
        if opened.sockets.way == .tables { log.debug("Listeners of \(name) are found through /proc/net") }
        return PortSide(sockets: opened.sockets, ephemeral: opened.ephemeral)
    }

    /// Ports that are listened on in the namespace already are forwarded from the start, low ones by the rights that are still there.
    func watchPorts(
        _ worker: inout PastaWorker, _ rules: [ForwardRule], _ network: Network, namespace: PortSide?, host: PortSide?
    ) throws(SetupError) {
        do throws(Errno) {
            try worker.watchPorts(
                rules, network: network, namespace: namespace, host: host,
                reachesNamespaceLoopback: options.hostLoopbackToNamespaceLoopback)
        } catch {
            throw SetupError(.sockets, "Couldn't set up automatic ports", error)
        }
        if namespace != nil { followPorts(&worker, of: .namespace) }
    }

    /// Makes no strings: it runs in a process that is closed in already, too.
    func followPorts(_ worker: inout PastaWorker, of sides: PortSides = [.namespace, .host]) {
        let log = log
        worker.followPorts(of: sides) { news in
            if !log.isEnabled(.debug) { return }
            let kind: StaticString = switch (news.isTCP, news.isIPv4) {
            case (true, true): " for TCP over IPv4"
            case (true, false): " for TCP over IPv6"
            case (false, true): " for UDP over IPv4"
            case (false, false): " for UDP over IPv6"
            }
            switch (news.event, news.isInbound) {
            case (.opened, true): log.write(.debug, "To the guest: opened port ", Int(news.port), kind)
            case (.opened, false): log.write(.debug, "To the host: opened port ", Int(news.port), kind)
            case (.closed, true): log.write(.debug, "To the guest: closed port ", Int(news.port), kind)
            case (.closed, false): log.write(.debug, "To the host: closed port ", Int(news.port), kind)
            case (.failed, true): log.write(.debug, "To the guest: couldn't open port ", Int(news.port), kind)
            case (.failed, false): log.write(.debug, "To the host: couldn't open port ", Int(news.port), kind)
            }
        }
    }
}
