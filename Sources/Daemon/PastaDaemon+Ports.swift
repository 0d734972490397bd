internal import Datapath
internal import Linux
internal import Settings
internal import Setup

/// Automatic ports: what is opened for them before the process is closed in, and what is told about them afterwards.
extension PastaDaemon {
    /// How to see who listens in the guest's namespace, if anything depends on it.
    func namespacePorts(_ rules: [ForwardRule], from channel: HelperChannel) throws(SetupError) -> PortSide? {
        guard looksIntoNamespace(rules) else { return nil }
        return side(try ListenerLookup.receive(from: channel), of: "the namespace", isAskedFor: scans(rules, inbound: true))
    }

    func looksIntoNamespace(_ rules: [ForwardRule]) -> Bool { options.controlPath != nil || scans(rules, inbound: true) }

    private func scans(_ rules: [ForwardRule], inbound: Bool) -> Bool { rules.contains { $0.scans && $0.kind.isInbound == inbound } }

    /// Likewise on the host.
    func hostPorts(_ rules: [ForwardRule]) -> PortSide? {
        let isAskedFor = scans(rules, inbound: false)
        guard options.controlPath != nil || isAskedFor else { return nil }
        return side(ListenerLookup.own(), of: "the host", isAskedFor: isAskedFor)
    }

    private func side(_ opened: ListenerLookup?, of name: String, isAskedFor: Bool) -> PortSide? {
        guard let opened else {
            let text = "No automatic ports: this kernel does not tell who listens on \(name)"
            if isAskedFor { log.warning(text) } else { log.debug(text) }
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
                reachesNamespaceLoopback: options.hostLoopbackToNamespaceLoopback, isOpen: options.controlPath != nil)
        } catch {
            throw SetupError(.sockets, "Couldn't set up automatic ports", error)
        }
        if namespace != nil { openPorts(&worker, of: .namespace) }
    }

    /// All that are there at the start.
    func openPorts(_ worker: inout PastaWorker, of side: PortSides) { worker.openPorts(of: side) { tell($0) } }

    /// Makes no strings: it runs in a process that is closed in already, too.
    func followPorts(_ worker: inout PastaWorker) {
        worker.followPorts { tell($0) }
    }
}
