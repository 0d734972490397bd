internal import Linux
internal import Settings
internal import Wire

/// Forwarded ports that change while the program runs: what `PortTables` finds out is carried out here, a slice at a time, so that traffic goes on
/// however many ports there are. Allocates nothing.
extension Forwarder where Link: ~Copyable, Sockets: ~Copyable {
    /// Listeners compared with all rules, listeners looked at, ports looked at, and sockets opened before others have their turn.
    private static var claimSlice: Int { 256 }
    private static var closeSlice: Int { 512 }
    private static var lookSlice: Int { 4096 }
    private static var openSlice: Int { 32 }

    mutating func allowPortUpdates(_ setup: PortControlSetup, _ inbound: [PortControlRule], _ outbound: [PortControlRule]) throws(Errno) {
        portTables = try PortTables(setup)
        for (table, rules) in [(PortTableName.host, inbound), (.splice, outbound)] {
            for rule in rules.filter({ !$0.isBestEffort }) + rules.filter(\.isBestEffort) {
                guard portTables.adopt(rule, in: table) else { throw Errno(28) }  // ENOSPC
            }
        }
    }

    /// Writes what a client is told first, and returns how long it is. `bytes` has room for `PortControl.mostHelloBytes`.
    func writePortTables(to bytes: inout MutableRawSpan) -> Int {
        PortControl.writeHello(to: &bytes)
        var offset = PortControl.helloByteCount
        for table in PortTableName.allCases where table == .host || portTables.setup.hasNamespace {
            let count = portTables.inForce.count(table)
            PortTableHead.write(table, capabilities(of: table), count: count, to: &bytes, at: offset)
            offset += PortTableHead.byteCount
            for index in 0..<count {
                portTables.inForce[table, index].write(to: &bytes, at: offset)
                offset += PortControlRule.byteCount
            }
        }
        bytes.store(0 as UInt8, at: offset)
        return offset + 1
    }

    private func capabilities(of table: PortTableName) -> PortTableHead.Capabilities {
        let setup = portTables.setup
        var capabilities: PortTableHead.Capabilities = .answers
        if setup.hasIPv4 { capabilities.insert(.ipv4) }
        if setup.hasIPv6 { capabilities.insert(.ipv6) }
        if setup.tcp { capabilities.insert(.tcp) }
        if setup.udp { capabilities.insert(.udp) }
        if setup.endsAtLoopback { capabilities.insert(.endsAtLoopback) }
        if portWatch.canFollow(isInbound: table == .host) { capabilities.insert(.scans) }
        if table == .host { capabilities.insert(.interfaces) }
        return capabilities
    }

    /// Does some of what a request asks for. nil: there is more to do. `tell` hears of automatic ports.
    mutating func continuePortUpdate(now: Int64, _ tell: (PortNews) -> Void) -> PortControlAnswer? {
        switch portTables.step {
        case .idle:
            return PortControlAnswer(.done)
        case .claim(let first):
            claim(from: first)
        case .open:
            openMissing()
            if portTables.step == .follow, !portTables.isReturning, let answer = portTables.unbound() { portTables.fail(answer) }
        case .follow:
            portTables.step = .close(0)
            if followNewRules() {
                followPorts(of: [.namespace, .host], now: now, limit: portSlice, tell)
            } else {
                // Nobody follows half of them.
                portWatch.forgetRules()
                portTables.fail(PortControlAnswer(.tooMany))
            }
        case .close(let first):
            closeUnclaimed(from: first)
            guard portTables.step == .idle else { return nil }
            // What was in the way of automatic ports until now.
            portWatch.startOver()
            followPorts(of: [.namespace, .host], now: now, limit: portSlice, tell)
            return portTables.finish()
        }
        return nil
    }

    private mutating func claim(from first: Int) {
        let end = min(first + Self.claimSlice, listeners.untouched)
        for index in first..<max(end, first) where listeners[index].isUsed && !listeners[index].isAutomatic {
            if let target = portTables.claim(listeners[index]) {
                listeners.redirect(index, to: target)
            } else {
                portTables.setUnclaimed(index)
            }
        }
        portTables.step = end >= listeners.untouched ? .open : .claim(end)
    }

    private mutating func closeUnclaimed(from first: Int) {
        let end = min(first + Self.closeSlice, listeners.untouched)
        for index in first..<max(end, first) where portTables.isUnclaimed(index) { stopListening(index) }
        portTables.step = end >= listeners.untouched ? .idle : .close(end)
    }

    /// Closes what is ours where a socket is to be opened: what no rule wants, what follows others, and, for a port that is named, what a rule has that may leave it out. False: there is none.
    private mutating func makeWay(for candidate: PortTables.Candidate) -> Bool {
        var isCleared = false
        for index in 0..<listeners.untouched where listeners[index].isUsed {
            let entry = listeners[index]
            guard entry.isTCP == candidate.rule.isTCP, entry.isOutbound == (candidate.table == .splice), entry.port == candidate.port else { continue }
            if entry.isAutomatic {
                portWatch.forget(listener: index, port: entry.port, isInbound: !entry.isOutbound)
            } else {
                guard portTables.isUnclaimed(index) || !candidate.rule.isBestEffort && portTables.leaveOut(entry) else { continue }
            }
            stopListening(index)
            portTables.setUnclaimed(index, false)
            isCleared = true
        }
        return isCleared
    }

    /// False: there are too many rules.
    private mutating func followNewRules() -> Bool {
        portWatch.forgetRules()
        let setup = portTables.setup
        let hasRoom = portTables.forEachScan { table, interface, rule in
            portWatch.allow(
                rule, isInbound: table == .host, interface: interface, hasIPv4: setup.hasIPv4, hasIPv6: setup.hasIPv6)
        }
        portTables.forEachOwn { table, rule in portWatch.exclude(rule, isInbound: table == .host) }
        return hasRoom
    }

    private mutating func openMissing() {
        var looks = Self.lookSlice
        // Attempts, since one that fails costs as much.
        var sockets = Self.openSlice
        while sockets > 0, let candidate = portTables.next(looks: &looks) {
            // Another process makes those of the namespace.
            sockets -= candidate.table == .splice ? 4 : 1
            do throws(Errno) {
                do throws(Errno) {
                    try open(candidate)
                } catch {
                    guard error.code == 98, mayMakeWay(for: candidate) else { throw error }  // EADDRINUSE
                    // All listeners are looked at.
                    sockets = 0
                    guard makeWay(for: candidate) else { throw error }
                    try open(candidate)
                }
                portTables.opened(candidate)
            } catch {
                if isHarmless(error, candidate) { continue }
                portTables.fail(PortControlAnswer(
                    .failed, table: candidate.table, isTCP: candidate.rule.isTCP, port: candidate.port, code: error.code, rule: candidate.index))
                if portTables.step != .open { return }
            }
        }
    }

    private func isHarmless(_ error: Errno, _ candidate: PortTables.Candidate) -> Bool {
        // A namespace may do without IPv6 (EADDRNOTAVAIL, EAFNOSUPPORT).
        if candidate.isSecond && (error.code == 99 || error.code == 97) { return true }
        // A helper that does not answer, or is gone, is not asked again (EAGAIN, ENOTCONN).
        return candidate.rule.isBestEffort && !error.isLackOfResources && error.code != 11 && error.code != 107
    }

    /// Whether a listener of ours has the port.
    private func mayMakeWay(for candidate: PortTables.Candidate) -> Bool {
        candidate.table == .host
            ? listeners.ownOnHost.contains(candidate.port, isTCP: candidate.rule.isTCP)
            : listeners.ownInNamespace.contains(candidate.port, isTCP: candidate.rule.isTCP)
    }

    private mutating func open(_ candidate: PortTables.Candidate) throws(Errno) {
        guard let place = candidate.place else { throw Errno(97) }  // EAFNOSUPPORT
        let (rule, port) = (candidate.rule, candidate.port)
        let isOutbound = candidate.table == .splice
        let socket = isOutbound
            ? try openInNamespace(rule, place.address, port) : try openOnHost(rule, place, port, interface: candidate.interface)
        let entry = ListenerEntry(
            socket, isTCP: rule.isTCP, isOutbound: isOutbound, address: place.address, port: port,
            ListenerTarget(port: rule.target(of: port), address: rule.targetAddress), interface: candidate.interface, hasIPv4: place.hasIPv4)
        _ = try listenOrClose(entry)
    }

    private mutating func openInNamespace(_ rule: PortControlRule, _ address: IPAddress, _ port: UInt16) throws(Errno) -> Descriptor {
        // The namespace's interfaces can be named by who is in there only, and the helper has no more than numbers.
        guard rule.interface.isEmpty else { throw Errno(95) }  // EOPNOTSUPP
        return try bypass.openListener(isTCP: rule.isTCP, address, port: port)
    }

    private func openOnHost(
        _ rule: PortControlRule, _ place: ListeningPlaces.Place, _ port: UInt16, interface: Int32
    ) throws(Errno) -> Descriptor {
        let isBesideOwn = !rule.isTCP
            && (place.hasIPv4 && udp.ports.hasFlows(port, isIPv4: true) || place.hasIPv6 && udp.ports.hasFlows(port, isIPv4: false))
        return try ListenerSocket(
            isTCP: rule.isTCP, address: place.address, port: port, servesIPv4: place.hasIPv4, freebind: tcp.translation.freebind,
            interface: interface, isBesideOwn: isBesideOwn
        ).open()
    }
}
