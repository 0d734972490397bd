internal import Datapath
internal import Linux
internal import Settings
internal import Setup

extension PastaDaemon {
    /// The filter's list for this run. Each part says what it needs, beside its code.
    func permissions(_ watch: NamespaceWatch?, _ spawned: SpawnedCommand?) -> [SystemCall.Permission] {
        var calls = PastaWorker.systemCalls + HostFeed.systemCalls + log.systemCalls + SystemCall.end
        let rules = options.effectiveForwardRules
        if !rules.isEmpty { calls += PastaWorker.listenerCalls }
        if rules.contains(where: \.scans) { calls += PastaWorker.portCalls }
        if options.controlPath != nil { calls += PortControlServer.systemCalls + PastaWorker.listenerCalls + PastaWorker.portCalls }
        if options.captureFile != nil { calls += PastaWorker.captureCalls }
        if watch != nil { calls += NamespaceWatch.systemCalls }
        if let spawned { calls += spawned.systemCalls }
        return calls
    }

    /// All that a run with every option has, for command 2 and ourselves as 1.
    static var mostPermissions: [SystemCall.Permission] {
        PastaWorker.systemCalls + PastaWorker.listenerCalls + PastaWorker.portCalls + PastaWorker.captureCalls + PortControlServer.systemCalls + HostFeed.systemCalls + Log.systemCalls(toFile: true, toSystemLog: true)
            + NamespaceWatch.systemCalls + SpawnedCommand.systemCalls(command: 2, own: 1) + SystemCall.end
    }
}
