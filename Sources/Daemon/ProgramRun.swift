internal import Datapath
internal import Linux
internal import Settings
internal import Setup
internal import Wire

/// What the runs of both programs have in common: steps that each of them takes at its own time.
protocol ProgramRun {
    var options: Options { get }
    var log: Log { get set }
    /// What goes again where set-up fails.
    var made: MadeSockets { get set }
    /// Returns the exit status once everything has ended.
    mutating func run() throws(SetupError) -> Int32
}

/// Descriptors of ours in the worker's loop.
enum Watched {
    static var signals: Int { 0 }
    static var namespace: Int { 1 }
    static var hostFeed: Int { 2 }
    static var control: Int { 3 }
    static var controlClient: Int { 4 }
}

extension ProgramRun {
    mutating func openLog() throws(SetupError) {
        try log.open(debug: options.debug, trace: options.trace, quiet: options.quiet, file: options.logFile, size: options.logSize)
        for warning in options.warnings { log.warning(warning) }
    }

    func openPidFile() throws(SetupError) -> PidFile? {
        guard let path = options.pidFile else { return nil }
        return try PidFile(path: path)
    }

    /// What the host looks like, what the guest is to look like, and whom the host asks for names.
    func resolveNetwork() throws(SetupError) -> (Host, ResolvedNetwork, [IPAddress]) {
        let host = try Host.discover(options: options)
        let resolvers = ResolvConf(path: "/etc/resolv.conf")
        let nameservers = resolvers.addresses(on: host.linkOfIPv6)
        let resolved = Network.resolve(
            options: options, host: host, nameservers: nameservers, searchDomains: resolvers.searchDomains, unread: resolvers.failure)
        for warning in try resolved.warnings + OutboundProbe.run(resolved.network) { log.warning(warning) }
        for line in resolved.information { log.info(line) }
        if options.debug { for note in resolved.notes + resolved.network.summary { log.debug(note) } }
        return (host, resolved, nameservers)
    }

    /// The file of `--pcap`.
    func openCapture() throws(SetupError) -> Descriptor? {
        guard let path = options.captureFile else { return nil }
        do throws(Errno) {
            return try Descriptor.create(path)
        } catch {
            throw SetupError(.process, "Couldn't open capture file for option --pcap \(path)", error)
        }
    }

    /// Why there is no data path. The capture is its only file: while nothing is in there, all but a lack of memory or descriptors came of writing its beginning.
    func refusal(ofDataPath error: Errno, _ capture: Descriptor?) -> SetupError {
        if let path = options.captureFile, let capture, !error.isLackOfResources, (try? capture.seekToEnd()) ?? 0 == 0 {
            return SetupError(.process, "Couldn't write capture file \(path) for option --pcap", error)
        }
        return SetupError(.sockets, "Couldn't set up the data path", error, hint: error.hintOfMemory)
    }

    func listen<Work: Worker & ~Copyable>(_ worker: inout Work, _ listeners: [Listener]) throws(SetupError) {
        do throws(Errno) {
            for listener in listeners { _ = try worker.listen(on: ForwardedPort(listener)) }
        } catch {
            let hint = error.code == 28 ? "the kernel watches no more for this user, raise fs.epoll.max_user_watches with sysctl" : nil  // ENOSPC
            throw SetupError(.sockets, "Couldn't watch \(listeners.count) forwarded ports", error, hint: hint)
        }
    }

    func watchEvents<Work: Worker & ~Copyable>(
        _ worker: inout Work, _ signals: QuitSignals, _ hostFeed: Descriptor?, _ control: Descriptor?, namespace: Descriptor? = nil
    ) throws(SetupError) {
        do throws(Errno) {
            try worker.watch(signals.descriptor, number: Watched.signals)
            if let namespace { try worker.watch(namespace, number: Watched.namespace) }
            if let hostFeed { try worker.watch(hostFeed, number: Watched.hostFeed) }
            if let control { try worker.watch(control, number: Watched.control) }
        } catch {
            throw SetupError(.sockets, "Couldn't set up the event loop", error)
        }
    }

    /// The socket of `--conf-path`.
    mutating func openControl() throws(SetupError) -> Descriptor? {
        guard let path = options.controlPath else { return nil }
        let socket = try ControlSocket.listen(at: path, option: "--conf-path")
        made.note(path)
        return socket
    }

    /// Lets clients change the ports of `rules`. `namespace`: its automatic ports, where there are any.
    func control<Work: Worker & ~Copyable>(
        _ worker: inout Work, _ socket: Descriptor?, _ network: Network, _ rules: [ForwardRule], namespaceEphemeral: ClosedRange<UInt16>?
    ) throws(SetupError) -> PortControlServer? {
        guard let socket else { return nil }
        let plan = ListenerPlan(network: network)
        let setup = PortControlSetup(
            hasIPv4: plan.hasIPv4, hasIPv6: plan.hasIPv6, tcp: plan.tcp, udp: plan.udp, hostEphemeral: plan.ephemeral,
            namespaceEphemeral: namespaceEphemeral ?? ListenerPlan.usualEphemeralPorts, hasNamespace: options.program == .pasta,
            endsAtLoopback: options.hostLoopbackToNamespaceLoopback || options.spliceOnly)
        let served = rules.filter { $0.kind.isTCP ? plan.tcp : plan.udp }
        let (inbound, outbound) = (served.filter(\.kind.isInbound), served.filter { !$0.kind.isInbound })
        guard max(inbound.count, outbound.count) <= PortControl.mostRules else {
            throw SetupError(.sockets, "With --conf-path, the port options may come to \(PortControl.mostRules) ranges at most in each direction")
        }
        do throws(Errno) {
            try worker.allowPortUpdates(setup, inbound: inbound.map { PortControlRule($0) }, outbound: outbound.map { PortControlRule($0) })
            return try PortControlServer(socket)
        } catch {
            throw SetupError(.sockets, "Couldn't set up --conf-path", error)
        }
    }

    /// Leaves an empty file system. Where the kernel does not let us, as in some containers, what is left to do is said.
    func hide() throws(SetupError) {
        _ = try Isolation.enterUserNamespace(log: log)
        hideFiles()
    }

    func hideFiles() {
        do throws(SetupError) {
            try Isolation.detach()
            try Isolation.hideFiles(chrootFallback: options.chrootFallback)
        } catch {
            log.info("Less isolated, without an empty root directory: \(error.message)")
        }
    }

    /// Set-up is complete. Whoever waits in the foreground may go on; nil: nobody does.
    mutating func tellReady(_ readiness: Readiness?) throws(SetupError) {
        made.keep()
        guard let readiness else { return }
        log.wentToBackground(processID: readiness.processID)
        try readiness.ready()
    }

    // These run in a process that is closed in already, hence without making strings.

    func tell(_ notice: WorkerNotice) {
        switch notice {
        case .pingForbidden:
            log.warning("Pings are not forwarded: the host's net.ipv4.ping_group_range leaves this group out, sysctl can widen it")
        case .helperGone:
            if options.hostLoopbackToNamespaceLoopback || options.spliceOnly {
                log.warning("The namespace's helper is gone: nothing on the namespace's loopback can be reached any more, and no port opened in there; start pasta again")
            } else {
                log.warning("The namespace's helper is gone: connections of the host's loopback go by the guest's interface, and no port can be opened in there; start pasta again")
            }
        case .addressTaken:
            log.warning("--mac-addr names the guest's own address: we use 9a:55:9a:55:9a:55 instead")
        case .descriptorsUsedUp:
            log.warning("Descriptors are used up: new connections wait or are refused, a higher limit (ulimit -Hn, LimitNOFILE= of systemd) at the start gives more")
        case .movesWithoutConnections:
            log.warning("Virtual machine leaves without its TCP connections: no passt-repair that may do so (CAP_NET_ADMIN) was at the socket of --repair-path")
        case .unknownState:
            log.warning("Virtual machine has come without its TCP connections: its state is one of another program or version")
        case .connectionsLost:
            log.warning("Not all TCP connections of the virtual machine could be taken up: that takes a passt-repair at the socket of --repair-path, and on this host the addresses that they have")
        }
    }

    func tell(_ ended: EndedListeners) {
        let text: StaticString = "Somebody has ended a socket that listened for a forwarded port (ss -K?), which must be taken away and added again: port "
        if ended.count == 1 {
            log.write(.warning, text, Int(ended.port), ended.isTCP ? " for TCP" : " for UDP")
        } else {
            log.write(.warning, text, Int(ended.port), ended.isTCP ? " for TCP, and so many others: " : " for UDP, and so many others: ", ended.count - 1)
        }
    }

    /// When `run` has to come back: for the counters, or for a client that changes ports.
    func nextDeadline(_ statistics: Int64?, _ control: Int64?) -> Int64? {
        guard let control, control != .max else { return statistics }
        return min(control, statistics ?? .max)
    }

    func tell(_ news: PortNews) {
        // Not at any other level: who listens in a namespace could fill a log.
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
        case (.failed, true): log.write(.debug, "To the guest: couldn't open automatic port ", Int(news.port), kind)
        case (.failed, false): log.write(.debug, "To the host: couldn't open automatic port ", Int(news.port), kind)
        }
    }

    func tell(_ answer: PortControlAnswer) {
        switch answer.outcome {
        case .done: log.info("Forwarded ports were changed by a client")
        case .failed: log.warning("Forwarded ports stay as they were: a client wanted one that could not be opened, port ", Int(answer.port))
        case .lost: log.warning("A client wanted a forwarded port that could not be opened, and one from before is lost, port ", Int(answer.port))
        default: log.warning("Forwarded ports stay as they were: what a client wanted could not be had")
        }
    }

    func logCounters<Work: Worker & ~Copyable>(_ worker: borrowing Work) {
        log.answer("Counters:")
        worker.forEachCounter { label, value in log.answer(label, nil, ": ", Int(truncatingIfNeeded: value)) }
    }
}

extension ForwardedPort {
    init(_ listener: Listener) {
        self.init(
            socket: listener.socket, isTCP: listener.isTCP, isOutbound: listener.isOutbound, address: listener.address, port: listener.port,
            targetPort: listener.targetPort, targetAddress: listener.targetAddress, hasIPv4: listener.hasIPv4, interface: listener.interface)
    }
}
