internal import Settings

extension OptionParser {
    mutating func apply(_ key: OptionKey.Run, _ given: GivenOption) throws(SetupError) {
        switch key {
        case .help, .version: break  // Answered before.
        case .foreground: options.foreground = true
        case .pid: options.pidFile = try OptionValue.filled(given)
        case .quiet: options.quiet = true
        case .debug: options.debug = true
        case .trace:
            options.trace = true
            options.debug = true
        case .stderr:
            options.standardError = true
            options.warnings.append("--stderr will be dropped soon")
        case .logFile: options.logFile = try OptionValue.filled(given)
        // Less than a page would be rewritten with almost every line; more than 2 GiB is a mistake.
        case .logSize: options.logSize = try OptionValue.number(given, in: 4096...Int(Int32.max))
        case .pcap: options.captureFile = try OptionValue.filled(given)
        case .stats:
            guard options.foreground else { throw given.refused("Can't display statistics if not running in foreground, --foreground must come before") }
            options.statisticsInterval = try OptionValue.number(given, in: 1...86400)
        case .runas: options.runAs = try OptionValue.user(given)
        case .chrootFallback: options.chrootFallback = true
        case .confPath: options.controlPath = try OptionValue.socketPath(given)
        }
    }

    mutating func apply(_ key: OptionKey.Handler) {
        switch key {
        case .noTCP: options.noTCP = true
        case .noUDP: options.noUDP = true
        case .noICMP: options.noICMP = true
        case .noDHCP: options.noDHCP = true
        case .noDHCPv6: options.noDHCPv6 = true
        case .noNDP: options.noNDP = true
        case .noRA: options.noRA = true
        }
    }

    mutating func apply(_ key: OptionKey.Machine, _ given: GivenOption) throws(SetupError) {
        switch key {
        case .socket: options.socketPath = try OptionValue.machinePath(given)
        case .fd:
            options.socketDescriptor = Int32(try OptionValue.number(given, in: 0...Int(Int32.max)))
            options.oneOff = true
        case .oneOff: options.oneOff = true
        case .vhostUser: options.vhostUser = true
        case .printCapabilities: break  // Answered before.
        case .repairPath: options.repairSocket = given.value == "none" ? .none : .at(try OptionValue.socketPath(given))
        case .migrateExit: options.exitsAfterMigration = true
        case .migrateNoLinger: options.closesAfterMigration = true
        }
    }

    mutating func apply(_ key: OptionKey.Port, _ given: GivenOption) throws(SetupError) {
        switch key {
        case .tcpPorts: try addPorts(.tcpIn, given)
        case .udpPorts: try addPorts(.udpIn, given)
        case .tcpNs: try addPorts(.tcpOut, given)
        case .udpNs: try addPorts(.udpOut, given)
        case .hostLoToNsLo: options.hostLoopbackToNamespaceLoopback = true
        case .noSplice: options.noSplice = true
        case .spliceOnly: options.spliceOnly = true
        }
    }

    private mutating func addPorts(_ kind: PortOption.Kind, _ given: GivenOption) throws(SetupError) {
        try ports.add(kind, given, program: options.program)
        options.portOptions.append(PortOption(kind, given.value))
        options.forwardRules = ports.rules
    }
}
