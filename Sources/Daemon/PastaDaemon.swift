// Daemon: the story of one run, to be read from top to bottom:
//
//     parse > discover > isolate > open > daemonize > lock down > run
//
// What each step does is written in Setup; what the run itself does, in Datapath. Here is only their order, and why
// it is this one: whatever needs the caller's files or rights comes before what takes them away, and whatever may
// fail comes before the caller is told that all is well.

internal import Datapath
internal import Linux
internal import Settings
internal import Setup
internal import Wire

/// One run of pasta.
struct PastaDaemon: ProgramRun {
    let options: Options
    var log: Log
    let null: Descriptor
    var made = MadeSockets()

    private var command: [String]? {
        if case .command(let words) = options.target { return words }
        return nil
    }

    private var staysInForeground: Bool { options.foreground || command != nil }

    /// Returns the exit status once everything has ended.
    mutating func run() throws(SetupError) -> Int32 {
        let signals = try QuitSignals.install(withCommand: command != nil)
        let mentioned = [targetPath, options.userNamespace] + options.writtenFiles
        try StandardDescriptors.closeInherited(keeping: [null] + [signals.descriptor] + StandardDescriptors.mentioned(in: mentioned))
        try Isolation.limitCapabilities()
        let identity = try UserIdentity.resolve(runAs: options.runAs)
        let files = OpenFileLimit.raise()

        try openLog()
        let (network, plan, interface, resolverRules) = try discover()
        let pidFile = try openPidFile()
        let capture = try openCapture()
        let control = try openControl()
        let rules = options.effectiveForwardRules + resolverRules
        let listeners = try ListenerPlan(network: network).open(rules)
        let commandIdentity = command == nil ? nil : identity.flatMap { mayDropLater($0) ? $0 : nil }
        if command != nil, commandIdentity == nil, let identity { try identity.drop(keeping: rights(toSpawnAs: identity)) }

        let (spawned, target) = try openTarget(commandIdentity, signals, files)
        do throws(SetupError) {
            let watch = options.noNetnsQuit ? nil : try NamespaceWatch(target)
            let helper = try startHelper(in: target, interface, plan, network, rules, identity, isRootInside: commandIdentity != nil)
            let opened = try GuestTap.receive(named: interface, from: helper.channel, log: log)
            target.close()
            if command == nil || commandIdentity != nil { try identity?.drop(keeping: []) }
            var network = network
            network.guestMAC = network.guestMAC ?? opened.mac
            var worker = try makeWorker(opened.tap, network, capture)
            var hostFeed = HostFeed.open(network, &worker, log)
            let namespacePorts = try namespacePorts(rules, from: helper.channel)
            let sockets = try connect(&worker, to: helper, rules)
            try listen(&worker, listeners + sockets)
            try watchPorts(&worker, rules, network, namespace: namespacePorts, host: hostPorts(rules))
            let known = rules.filter { rule in !rule.isImplied || sockets.contains { $0.address == rule.address && $0.isTCP == rule.kind.isTCP } }
            var server = try self.control(&worker, control, network, known, namespaceEphemeral: namespacePorts?.ephemeral)
            try hide()
            // By now the helper has closed itself in, beside us.
            openPorts(&worker, of: .host)
            let readiness = staysInForeground
                ? nil : try Daemonizer.fork(null: null, signals: signals, newPIDNamespace: true)
            // Only now: a descriptor of signals wakes up the process that began to watch it.
            try watchEvents(&worker, signals, hostFeed?.descriptor, control, namespace: watch?.descriptor)
            try Isolation.close()
            try pidFile?.write(readiness?.processID ?? Process.identifier)
            let filter = try SeccompFilter(permissions(watch, spawned)).prepared()
            try tellReady(readiness)
            try filter.install()
            if let spawned {
                spawned.release()
                log.commandStarted()
            }
            log.forwardingStarted()
            return runClosed(&worker, signals, watch, &hostFeed, &server, spawned)
        } catch {
            spawned?.abandon()
            throw error
        }
    }

    /// The command must not be root outside of its namespace. We may be until the tap is open, whose device is root's own on some systems; a
    /// namespace of others is entered with all rights that we have.
    private func mayDropLater(_ identity: UserIdentity) -> Bool { !options.netnsOnly && identity.user != 0 && !identity.isCurrent }

    private func openTarget(
        _ identity: UserIdentity?, _ signals: QuitSignals, _ files: OpenFileLimit?
    ) throws(SetupError) -> (SpawnedCommand?, TargetNamespace) {
        guard let command else {
            return (nil, try TargetNamespace.open(options.target, userNamespace: options.userNamespace, netnsOnly: options.netnsOnly))
        }
        let spawned = try NamespaceSpawner.spawn(
            command: command, netnsOnly: options.netnsOnly, as: identity, signals: signals, files: files, log: log)
        return (spawned, spawned.namespace)
    }

    /// Without a user namespace of its own, a command's namespaces take the rights that we have; and root may only be mapped into one
    /// by who has this right (user_namespaces(7)).
    private func rights(toSpawnAs identity: UserIdentity) -> Capabilities {
        if options.netnsOnly { return Isolation.setUp }
        return identity.user == 0 ? [.setFileCapabilities] : []
    }

    private var targetPath: String? {
        if case .path(let path) = options.target { return path }
        return nil
    }

    /// What the host looks like, and what the guest is to look like.
    private func discover() throws(SetupError) -> (Network, NamespacePlan, String?, [ForwardRule]) {
        let (host, resolved, nameservers) = try resolveNetwork()
        let interface = options.spliceOnly ? nil : resolved.namespaceInterface
        let plan = NamespacePlan(options: options, host: host, network: resolved.network, interface: interface)
        return (resolved.network, plan, interface, options.resolverRules(nameservers))
    }

    private func makeWorker(_ tap: Tap, _ network: Network, _ capture: Descriptor?) throws(SetupError) -> PastaWorker {
        do throws(Errno) {
            return try PastaWorker(tap: tap, network: network, capture: capture)
        } catch {
            throw refusal(ofDataPath: error, capture)
        }
    }

    /// All that is opened in the guest's namespace is opened by one process: the tap, what tells who listens in there, the ports of -T and -U.
    /// It stays where sockets of the namespace may be needed later.
    private func startHelper(
        in target: TargetNamespace, _ interface: String?, _ plan: NamespacePlan, _ network: Network, _ rules: [ForwardRule], _ identity: UserIdentity?,
        isRootInside: Bool
    ) throws(SetupError) -> RunningHelper {
        try NamespaceHelper.start(in: target) { (channel) throws(SetupError) in
            try GuestTap.open(named: interface, plan: plan, log: log, sendingOver: channel)
            // Not root outside any longer.
            if isRootInside { try UserIdentity.becomeRootInside() }
            if looksIntoNamespace(rules) { try ListenerLookup.send(over: channel) }
            guard needsSockets(rules) else { return }
            try NamespaceSockets.serve(over: channel, network: network, rules: rules, null: null, as: isRootInside ? nil : identity)
        }
    }

    private func needsSockets(_ rules: [ForwardRule]) -> Bool {
        options.controlPath != nil || rules.contains { !$0.kind.isInbound || !options.noSplice }
    }

    /// Returns the listeners in the namespace.
    private func connect(_ worker: inout PastaWorker, to helper: RunningHelper, _ rules: [ForwardRule]) throws(SetupError) -> [Listener] {
        guard needsSockets(rules) else {
            helper.end()
            return []
        }
        let sockets = try NamespaceSockets.receive(from: helper.channel)
        do throws(Errno) { try worker.connectNamespace(sockets.channel) } catch {
            throw SetupError(.sockets, "Couldn't watch the channel to the namespace", error)
        }
        return sockets.listeners
    }
}
