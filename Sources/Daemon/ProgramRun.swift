internal import Datapath
internal import Linux
internal import Settings
internal import Setup

/// What the runs of both programs have in common: steps that each of them takes at its own time.
protocol ProgramRun {
    var options: Options { get }
    var log: Log { get set }
    /// Returns the exit status once everything has ended.
    mutating func run() throws(SetupError) -> Int32
}

/// Descriptors of ours in the worker's loop.
enum Watched {
    static var signals: Int { 0 }
    static var namespace: Int { 1 }
    static var neighbours: Int { 2 }
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

    /// What the host looks like, and what the guest is to look like.
    func resolveNetwork() throws(SetupError) -> (Host, ResolvedNetwork) {
        let host = try Host.discover(options: options)
        let resolvers = ResolvConf(path: "/etc/resolv.conf")
        let resolved = Network.resolve(
            options: options, host: host, nameservers: resolvers.addresses, searchDomains: resolvers.searchDomains)
        for warning in resolved.warnings { log.warning(warning) }
        if options.debug { for note in resolved.notes + resolved.network.summary { log.debug(note) } }
        return (host, resolved)
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

    func listen<Work: Worker & ~Copyable>(_ worker: inout Work, _ listeners: [Listener]) throws(SetupError) {
        do throws(Errno) {
            for listener in listeners { _ = try worker.listen(on: ForwardedPort(listener)) }
        } catch {
            throw SetupError(.sockets, "Couldn't watch \(listeners.count) forwarded ports", error)
        }
    }

    func watchEvents<Work: Worker & ~Copyable>(
        _ worker: inout Work, _ signals: QuitSignals, _ neighbours: Descriptor?, namespace: Descriptor? = nil
    ) throws(SetupError) {
        do throws(Errno) {
            try worker.watch(signals.descriptor, number: Watched.signals)
            if let namespace { try worker.watch(namespace, number: Watched.namespace) }
            if let neighbours { try worker.watch(neighbours, number: Watched.neighbours) }
        } catch {
            throw SetupError(.sockets, "Couldn't set up the event loop", error)
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
            log.debug(error.message)
        }
    }

    /// Whoever waits in the foreground may go on. nil: nobody does.
    mutating func tellReady(_ readiness: Readiness?) throws(SetupError) {
        guard let readiness else { return }
        log.wentToBackground(processID: readiness.processID)
        try readiness.ready()
    }

    // These run in a process that is closed in already, hence without making strings.

    func warnOfPing() {
        log.warning("Pings are not forwarded: the host's net.ipv4.ping_group_range leaves this group out, sysctl can widen it")
    }

    func logCounters<Work: Worker & ~Copyable>(_ worker: borrowing Work) {
        log.info("Counters:")
        worker.forEachCounter { label, value in log.info(label, nil, ": ", Int(truncatingIfNeeded: value)) }
    }

    func printStatistics<Work: Worker & ~Copyable>(_ worker: borrowing Work) {
        let output = Descriptor(1)
        worker.forEachCounter { label, value in Log.print(label, Int(truncatingIfNeeded: value), to: output) }
        Log.print("", nil, to: output)
    }
}

extension ForwardedPort {
    init(_ listener: Listener) {
        self.init(
            socket: listener.socket, isTCP: listener.isTCP, isOutbound: listener.isOutbound, address: listener.address, port: listener.port,
            targetPort: listener.targetPort, targetAddress: listener.targetAddress, hasIPv4: listener.hasIPv4, hasIPv6: listener.hasIPv6)
    }
}
